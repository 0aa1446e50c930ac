//! A stretch of the log that is handled again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which stretch of the log is handled again, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Events logged from this time on, milliseconds since 1970.
    pub from_ms: i64,
    /// Up to but not including this time, milliseconds since 1970.
    pub to_ms: i64,
    /// What is done with the answers.
    pub effects: ReplayEffects,
    /// What becomes of what the plugin writes to its state.
    pub state: ReplayState,
}

/// What a replay does with the plugin's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayEffects {
    /// They are compared with what was sent.
    Compare,
    /// They take effect, as far as they did not already.
    Apply,
}

/// What a replay does with the plugin's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// The plugin sees its state, and what it writes is dropped at the end.
    Leave,
    /// What it writes stays.
    Write,
}

/// How a replay stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// Its number.
    pub id: u64,
    /// The plugin.
    pub plugin: String,
    /// The version that handles the events.
    pub version: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it only compares.
    pub dry_run: bool,
    /// Whether it writes plugin state.
    pub with_state: bool,
    /// From when.
    pub from_ms: i64,
    /// Until when.
    pub to_ms: i64,
    /// Records in the stretch, as offsets tell.
    pub records: u64,
    /// Records that were read so far.
    pub read: u64,
    /// Events that the plugin handled.
    pub handled: u64,
    /// Events that it rejected, or faulted on.
    pub failed: u64,
    /// The first of these, with their reasons.
    pub failures: Vec<String>,
    /// Notifications that are as they were sent.
    pub same: u64,
    /// Notifications that were sent otherwise.
    pub changed: u64,
    /// Notifications that were never sent; a real replay sends them.
    pub new: u64,
    /// Notifications that were sent and would not be now.
    pub missing: u64,
    /// The first of those that are not the same.
    pub differences: Vec<ReplayDifference>,
}

/// One notification that a replay finds otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayDifference {
    /// `new`, `changed` or `missing`.
    pub what: String,
    /// The notification's id.
    pub id: String,
    /// The event's id.
    pub event_id: String,
    /// Whose stream.
    pub stream: String,
    /// What was sent.
    pub sent: Option<Value>,
    /// What would be sent now.
    pub now: Option<Value>,
}
