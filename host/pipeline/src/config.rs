//! How lanes behave.

use std::collections::HashMap;

use carillon_sandbox::Limits;
use serde::Deserialize;

/// `[pipeline]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// After this many attempts an event becomes a dead letter of the plugin.
    pub max_attempts: u32,
    /// The pause after the first failed attempt, in milliseconds; it doubles with each.
    pub retry_backoff_ms: u64,
    /// The longest pause between attempts, in milliseconds.
    pub max_retry_backoff_ms: u64,
    /// The most records of one batch.
    pub batch_records: usize,
    /// About the most bytes of one batch.
    pub batch_bytes: usize,
    /// A lane that has not finished its share of a batch after this long leaves the head, in
    /// milliseconds.
    pub patience_ms: u64,
    /// Threads that run plugin code; 0: one for each core, and at least two.
    pub workers: usize,
    /// How many lanes away from the head read Kafka at a time.
    pub readers: usize,
    /// The most shares of one group commit.
    pub group_shares: usize,
    /// How much of a plugin's state is kept in memory, in bytes, beyond what is not committed yet.
    pub state_cache_bytes: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            retry_backoff_ms: 500,
            max_retry_backoff_ms: 60_000,
            batch_records: 512,
            batch_bytes: 1 << 20,
            patience_ms: 100,
            workers: 0,
            readers: 2,
            group_shares: 256,
            state_cache_bytes: 4 << 20,
        }
    }
}

/// `[plugins.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginConfig {
    /// What the plugin may use.
    pub limits: Limits,
    /// What it reads.
    pub settings: HashMap<String, String>,
}
