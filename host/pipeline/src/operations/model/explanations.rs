//! Why somebody was told, and why nobody was.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The story of a notification, an event or a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked for.
    pub id: String,
    /// `notification`, `event` or `record`.
    pub subject: String,
    /// The story, a line for each step, from the record to the socket.
    pub story: Vec<String>,
    /// The record, its place in the log and what it says, where it is still there.
    pub record: Option<Value>,
    /// What each plugin did with the event, and why.
    pub plugins: Vec<PluginStory>,
    /// The notifications that came of it.
    pub notifications: Vec<Value>,
}

/// What one plugin did with an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStory {
    /// The plugin.
    pub plugin: String,
    /// The version that decided.
    pub version: Option<String>,
    /// The SHA-256 of that binary.
    pub sha256: Option<String>,
    /// `handled`, `no-actions`, `dead-letter`, `not-subscribed`, `not-reached`, `retrying`,
    /// `paused`, `quarantined`, `passed-over` or `forgotten`.
    pub outcome: String,
    /// In words.
    pub why: String,
}
