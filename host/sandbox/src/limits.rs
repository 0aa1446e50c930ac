//! What a plugin may use.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// When instances are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One instance handles many events.
    Warm,
    /// Each event gets a fresh instance.
    Event,
}

/// The limits of one plugin. Each is broken by a guest under `tests/guests/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all(serialize = "camelCase"))]
pub struct Limits {
    /// Processor time of one call, in milliseconds. Processor time, not the wall clock: a
    /// busy machine must not fail an innocent plugin.
    pub cpu_ms: u64,
    /// The ceiling by the wall clock of one call, in milliseconds.
    pub wall_ms: u64,
    /// Linear memory of an instance, all its memories together, in bytes.
    pub memory_bytes: usize,
    /// Elements of each table of an instance.
    pub table_elements: usize,
    /// Actions of one answer.
    pub actions: usize,
    /// Everything that one answer, or one call of the host, lifts out of the guest, in bytes.
    pub output_bytes: usize,
    /// Log lines of one call.
    pub log_lines: u32,
    /// The longest log line, in bytes; the rest is cut off.
    pub log_line_bytes: usize,
    /// Log lines of all events together, in a second; so many may come at once. Lines beyond are
    /// counted and dropped.
    pub log_lines_per_s: u32,
    /// The largest value in the state, in bytes.
    pub state_value_bytes: usize,
    /// Calls of `state` in one call of the plugin.
    pub state_calls: u32,
    /// What one call of the plugin may write to the state, keys and values, in bytes.
    pub state_bytes: usize,
    /// What the plugin's whole state may come to, keys and values, in bytes. Whoever keeps the
    /// state holds it to this: [`State::set`](crate::State::set) then answers false.
    pub state_total_bytes: usize,
    /// After this many calls an instance is replaced.
    pub calls_per_instance: u64,
    /// When instances are made.
    pub isolation: Isolation,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_ms: 50,
            wall_ms: 1_000,
            memory_bytes: 32 << 20,
            table_elements: 20_000,
            actions: 256,
            output_bytes: 1 << 20,
            log_lines: 32,
            log_line_bytes: 1_024,
            log_lines_per_s: 200,
            state_value_bytes: 64 << 10,
            state_calls: 1_000,
            state_bytes: 1 << 20,
            state_total_bytes: 16 << 20,
            calls_per_instance: 10_000,
            isolation: Isolation::Warm,
        }
    }
}

/// The sandbox as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// The largest binary that is loaded, in bytes.
    pub max_binary_bytes: usize,
    /// How many instances may exist at once. Address space is reserved for each; memory is
    /// not.
    pub max_instances: u32,
    /// How many idle instances are kept warm.
    pub max_warm_instances: usize,
    /// How much linear memory idle instances may keep, in bytes, touched or not. Memory does not shrink, so
    /// one large event would otherwise be paid for until the instance is replaced.
    pub max_warm_memory_bytes: usize,
    /// The guest's stack, in bytes.
    pub stack_bytes: usize,
    /// The largest memory grant of any plugin, in bytes.
    pub max_memory_bytes: usize,
    /// The largest table grant of any plugin, in elements.
    pub max_table_elements: usize,
    /// Who is asked for the addresses of hosts that plugins send requests to, as `ip:port`; none:
    /// whom the system asks.
    pub nameservers: Vec<SocketAddr>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            max_binary_bytes: 16 << 20,
            max_instances: 1_200,
            max_warm_instances: 1_024,
            max_warm_memory_bytes: 2 << 30,
            stack_bytes: 512 << 10,
            max_memory_bytes: 128 << 20,
            max_table_elements: 20_000,
            nameservers: Vec::new(),
        }
    }
}
