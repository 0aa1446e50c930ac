//! The words in which a story is told.

use carillon_bus::LogRecord;
use carillon_store::{DecisionRecord, NotificationRecord, Outcome, StoredDeadLetter};
use serde_json::{Value, json};

use super::Spot;
use crate::counted::counted;
use crate::operations::model::PluginStory;

/// What a record's value is cut to, in bytes, where it is shown.
const SHOWN_BYTES: usize = 16 << 10;

pub(super) fn decided(decision: &DecisionRecord) -> String {
    let attempts = match decision.attempts {
        0 | 1 => String::new(),
        n => format!(" at attempt {n}"),
    };
    format!(
        "plugin {} {} decided on it{attempts}: {}",
        decision.plugin_name,
        decision.version,
        match (decision.outcome, decision.actions) {
            (Outcome::DeadLettered, _) => "it became a dead letter".to_owned(),
            (Outcome::Handled, 0) => "nothing is to be done".to_owned(),
            (Outcome::Handled, n) => counted(n, "action"),
        }
    )
}

pub(super) fn story_of(decision: &DecisionRecord) -> PluginStory {
    let outcome = match (decision.outcome, decision.actions) {
        (Outcome::DeadLettered, _) => "dead-letter",
        (Outcome::Handled, 0) => "no-actions",
        (Outcome::Handled, _) => "handled",
    };
    PluginStory {
        plugin: decision.plugin_name.to_string(),
        version: Some(decision.version.clone()).filter(|version| !version.is_empty()),
        sha256: Some(decision.sha256.clone()).filter(|sum| !sum.is_empty()),
        outcome: outcome.to_owned(),
        why: decided(decision),
    }
}

pub(super) fn letter_story(letter: &StoredDeadLetter) -> PluginStory {
    PluginStory {
        plugin: letter.plugin_name.to_string(),
        version: Some(letter.plugin_version.clone()).filter(|version| !version.is_empty()),
        sha256: None,
        outcome: "dead-letter".to_owned(),
        why: format!(
            "dead letter {}, after {}: {}: {}",
            letter.row.0,
            counted(letter.letter.attempts, "attempt"),
            letter.letter.code,
            letter.letter.reason
        ),
    }
}

pub(super) fn shown(notification: &NotificationRecord) -> Vec<String> {
    let mut story = Vec::new();
    let what = if notification.withdraws {
        "withdrawal"
    } else {
        "notification"
    };
    story.push(match (notification.stream_offset, notification.visible_ms) {
        (Some(offset), Some(visible_ms)) => format!(
            "{what} {} became visible {} as number {offset} of the stream {}",
            notification.id,
            time(visible_ms),
            notification.stream
        ),
        _ if notification.hidden => format!(
            "{what} {} for {} never became visible: it had expired, or a newer one took its place",
            notification.id, notification.stream
        ),
        _ => format!(
            "{what} {} for {} waits until {}",
            notification.id,
            notification.stream,
            notification.deliver_at_ms.map_or_else(|| "its time".to_owned(), time)
        ),
    });
    if notification.hidden && notification.stream_offset.is_some() && !notification.withdraws {
        story.push(
            "it is not in the inbox any more: it was taken back, or a newer one replaced it"
                .to_owned(),
        );
    }
    story
}

pub(super) fn record_line(record: &Result<LogRecord, String>) -> String {
    match record {
        Ok(record) => format!(
            "the record is still in the log ({} bytes)",
            record.size_bytes()
        ),
        Err(gone) => gone.clone(),
    }
}

pub(super) fn record_json(spot: &Spot, record: &LogRecord) -> Value {
    let text = |bytes: &[u8]| {
        let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
        String::from_utf8_lossy(cut).into_owned()
    };
    let headers: serde_json::Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value).into()))
        .collect();
    json!({
        "topic": &*spot.partition.topic, "partition": spot.partition.partition, "offset": spot.offset,
        "loggedMs": record.timestamp_ms, "key": record.key.as_deref().map(text),
        "value": record.value.as_deref().map(text), "headers": headers,
    })
}

pub(super) fn json(notification: &NotificationRecord) -> Value {
    serde_json::to_value(notification).unwrap_or_default()
}

pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}
