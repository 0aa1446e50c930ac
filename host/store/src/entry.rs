//! What stands in a stream, and what is told to those who listen.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::identity::NotificationId;

/// How urgent a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May wait for a digest.
    Low,
    /// The usual.
    Normal,
    /// Before others.
    High,
    /// Ignores quiet hours.
    Critical,
}

impl Priority {
    pub(crate) fn to_row(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_row(value: i64) -> Self {
        match value {
            0 => Self::Low,
            2 => Self::High,
            3 => Self::Critical,
            _ => Self::Normal,
        }
    }
}

/// What a recipient sees. Its JSON form is what clients receive.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The identity; also the idempotency key of every delivery.
    pub id: NotificationId,
    /// `user:<id>` or `group:<name>`.
    pub stream: Arc<str>,
    /// The position in the stream, from 1.
    pub offset: u64,
    /// The plugin that decided on it.
    pub plugin: Arc<str>,
    /// The event that it follows from.
    pub event_id: String,
    /// The kind of that event.
    pub kind: String,
    /// What it is about, in the recipient's preferences.
    pub category: String,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Further data for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Where a click leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// A newer one with the same key replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<String>,
    /// When the event's record was logged, milliseconds since 1970.
    pub created_ms: i64,
    /// Not shown after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// Ties it to the request that caused the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Takes earlier notifications of a stream back.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// The identity of the withdrawal itself.
    pub id: NotificationId,
    /// `user:<id>` or `group:<name>`.
    pub stream: Arc<str>,
    /// The position in the stream, from 1.
    pub offset: u64,
    /// The plugin that took them back.
    pub plugin: Arc<str>,
    /// The event that it follows from.
    pub event_id: String,
    /// Which notifications of this plugin are meant.
    pub collapse_key: String,
    /// When the event's record was logged, milliseconds since 1970.
    pub created_ms: i64,
}

/// One position of a stream.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Entry {
    /// Somebody is told something.
    Notification(Notification),
    /// Something is taken back.
    Withdrawal(Withdrawal),
}

impl Entry {
    /// The stream and the position in it.
    #[must_use]
    pub fn place(&self) -> (&Arc<str>, u64) {
        match self {
            Self::Notification(n) => (&n.stream, n.offset),
            Self::Withdrawal(w) => (&w.stream, w.offset),
        }
    }

    pub(crate) fn publication(&self) -> Publication {
        let (stream, offset) = self.place();
        // Serialising strings, numbers and checked RawValues cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        Publication {
            stream: Arc::clone(stream),
            offset,
            json: json.into(),
        }
    }
}

/// One entry of a stream that has become visible, serialised once for everybody.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The stream.
    pub stream: Arc<str>,
    /// The position, from 1.
    pub offset: u64,
    /// The [`Entry`] as JSON.
    pub json: Arc<str>,
}

/// Hears of everything that becomes visible: after each commit, in the order of
/// commits, so that the offsets of a stream ascend without a gap. Must not block.
pub trait Publisher: Send + Sync + 'static {
    /// Called with the publications of one commit.
    fn published(&self, batch: &[Publication]);
}
