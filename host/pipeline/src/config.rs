//! How lanes behave.

use std::collections::{BTreeMap, HashMap};

use carillon_sandbox::{Grants, HttpGrant, Limits};
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
    /// Threads that run plugins which import `http`; each may wait for the network.
    pub http_workers: usize,
    /// What lanes that catch up may take of the threads' time while lanes at the head have work,
    /// in percent.
    pub catch_up_share: u8,
    /// After this many faults in a row a plugin is quarantined.
    pub quarantine_after: u32,
    /// The pause before a quarantined plugin is tried again, in milliseconds; it doubles with each
    /// probe that fails.
    pub probe_backoff_ms: u64,
    /// The longest pause between probes, in milliseconds.
    pub max_probe_backoff_ms: u64,
    /// How many loads of each plugin can be gone back to.
    pub keep_versions: u32,
    /// How long a load waits for the old version's last calls, in milliseconds.
    pub drain_ms: u64,
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
            http_workers: 8,
            catch_up_share: 50,
            quarantine_after: 10,
            probe_backoff_ms: 10_000,
            max_probe_backoff_ms: 600_000,
            keep_versions: 10,
            drain_ms: 10_000,
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
    /// Which hosts it may ask.
    pub http: HttpGrant,
    /// Whether it gets the empty system that components from other languages expect: WASI 0.2
    /// without files, sockets or environment.
    pub wasi: bool,
}

impl PluginConfig {
    /// What the plugin is granted, with what an operator has set since in the place of settings.
    pub(crate) fn grants(&self, overrides: &BTreeMap<String, String>) -> Grants {
        let mut settings = self.settings.clone();
        settings.extend(overrides.clone());
        Grants {
            limits: self.limits.clone(),
            settings,
            http: self.http.clone(),
            wasi: self.wasi,
        }
    }
}

/// `[watch]`: the folder that plugins are dropped into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Whether the folder is looked at.
    pub enabled: bool,
    /// How often, in milliseconds.
    pub every_ms: u64,
    /// A file is read once it has not changed for so long, in milliseconds.
    pub settle_ms: u64,
    /// A file that is cut off may stay unchanged for so long before it is refused, in
    /// milliseconds: somebody may still be writing it.
    pub incomplete_ms: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            every_ms: 250,
            settle_ms: 500,
            incomplete_ms: 10_000,
        }
    }
}
