//! A plugin's log.

use serde::{Deserialize, Serialize};

/// A line of a plugin's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Rises by one with each line.
    pub number: u64,
    /// When it was written.
    pub at_ms: i64,
    /// `trace` to `error`.
    pub level: String,
    /// `plugin`, or `host` for what the host says about the plugin.
    pub from: String,
    /// The version that wrote it.
    pub version: String,
    /// The event that was being handled.
    pub event_id: Option<String>,
    /// Ties it to the request that caused the event.
    pub correlation_id: Option<String>,
    /// The line.
    pub text: String,
}
