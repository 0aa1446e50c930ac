//! Plugins, their limits and their lanes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A plugin in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// One sentence.
    pub summary: String,
    /// `active`, `paused`, `quarantined`, or `missing` if its binary could not be loaded.
    pub state: String,
    /// Why, where the state has a reason.
    pub reason: Option<String>,
    /// Since when it has been in that state.
    pub since_ms: Option<i64>,
    /// What runs beside it.
    pub candidate: Option<CandidateSummary>,
    /// Events that its lanes have still to pass, over all partitions of this host.
    pub lag: u64,
    /// Events a second, over the last ten seconds.
    pub events_per_s: f64,
    /// Calls that were answered with actions, since the process began.
    pub handled: u64,
    /// Traps, limits and `retry`, since the process began.
    pub faults: u64,
    /// Events that became dead letters, since the process began.
    pub dead_letters: u64,
    /// Wall clock of a call, over the last minute or so, in milliseconds.
    pub p99_ms: f64,
    /// Linear memory of its instances, in bytes.
    pub memory_bytes: u64,
}

/// A candidate that runs beside an active version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateSummary {
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// `shadow` or `canary`.
    pub mode: String,
    /// The share of keys that a canary gets, in percent.
    pub percent: Option<u8>,
    /// After how many faults it is taken away.
    pub abort_after: Option<u32>,
    /// Calls that were answered with actions.
    pub handled: u64,
    /// Traps, limits and `retry`.
    pub faults: u64,
    /// Wall clock of a call, in milliseconds.
    pub p99_ms: f64,
    /// Since when.
    pub since_ms: i64,
}

/// Everything about a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginDetails {
    /// As in the list.
    #[serde(flatten)]
    pub plugin: PluginSummary,
    /// What it subscribes to.
    pub subscriptions: Vec<String>,
    /// The number of the load that runs.
    pub load: i64,
    /// When that was loaded.
    pub loaded_ms: i64,
    /// By whom.
    pub loaded_by: String,
    /// Where the binary came from.
    pub origin: String,
    /// Which shape of its state it writes.
    pub state_version: u32,
    /// What its keys and values take in the store, in bytes.
    pub state_bytes: u64,
    /// What it asks for: the interfaces that it imports.
    pub asked: Vec<String>,
    /// What the operator grants, by interface: a sentence for each thing.
    pub granted: BTreeMap<String, Vec<String>>,
    /// Its settings.
    pub settings: Vec<SettingDetails>,
    /// Its limits, and the highest value seen since it was loaded.
    pub limits: Vec<LimitDetails>,
    /// Wall clock of a call, over the last minute or so.
    pub latency: Latency,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
}

/// Wall clock of calls, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many calls.
    pub calls: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// One setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingDetails {
    /// Its key.
    pub key: String,
    /// What it is for.
    pub summary: String,
    /// What the plugin reads.
    pub value: Option<String>,
    /// Where that comes from: `operator`, `configuration`, `default` or `none`.
    pub source: String,
}

/// One limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitDetails {
    /// Its key in `[plugins.NAME.limits]`.
    pub limit: String,
    /// The largest value that is allowed.
    pub granted: u64,
    /// The largest value seen, where that is measured.
    pub highest: Option<u64>,
}

/// One lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// Whose.
    pub plugin: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of its next record.
    pub cursor: i64,
    /// The end of the log, as far as this host knows.
    pub end: i64,
    /// Records between the two.
    pub lag: u64,
    /// `head`, or `own` where it goes on by itself.
    pub place: String,
    /// What it waits for, if it does.
    pub waits: Option<String>,
}
