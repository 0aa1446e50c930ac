//! What operators ask and are told about dead letters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A dead letter, for an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// Its number.
    pub id: i64,
    /// The plugin, or `intake` for what is no event.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The topic of the record.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// A short name of the cause.
    pub code: String,
    /// The cause.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the record was logged.
    pub logged_ms: i64,
    /// When it became a dead letter.
    pub created_ms: i64,
    /// The record's key, as text.
    pub key: Option<String>,
    /// The record's value, as text; only where one letter is shown.
    pub value: Option<String>,
    /// The record's headers, as text; only where one letter is shown.
    pub headers: Option<BTreeMap<String, String>>,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Of this plugin; `intake` for what is no event.
    pub plugin: Option<String>,
    /// With this cause.
    pub code: Option<String>,
    /// From this topic.
    pub topic: Option<String>,
}

/// What became of a dead letter that was replayed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterReplayed {
    /// The letter's number.
    pub id: i64,
    /// The plugin that handled it.
    pub plugin: String,
    /// `handled`, or `failed`: then it stays a dead letter.
    pub outcome: String,
    /// Why it failed, or how many notifications came of it.
    pub detail: String,
}
