//! What the guests share: each can be told by `eventData` to behave.
//!
//! A guest is an example of this package, one file each, so that there is one manifest for all;
//! `plugins/build.sh --guests` makes `target/guests/NAME.wasm` of `examples/NAME.rs`, with
//! hyphens for underscores.

use carillon_plugin::{Action, Event, Notification};
use serde_json::Value;

/// Whether a hostile guest is to do its worst: always, unless `eventData.misbehave` is `false`.
#[must_use]
pub fn misbehaves(event: &Event) -> bool {
    field(event, "misbehave") != Value::Bool(false)
}

/// A field of `eventData`, or null.
#[must_use]
pub fn field(event: &Event, key: &str) -> Value {
    let mut data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    data.get_mut(key).map(Value::take).unwrap_or_default()
}

/// The event back to its user: title = kind, body = subject. No user, no notification.
#[must_use]
pub fn echo(event: &Event) -> Vec<Action> {
    let Some(user) = &event.user_id else {
        return Vec::new();
    };
    let notification = Notification::to_user(user)
        .category("test")
        .title(&event.kind)
        .body(event.subject_id.as_deref().unwrap_or_default());
    vec![notification.into()]
}

/// What all versions of the greeter say about an event, in their own words.
#[must_use]
pub fn greet(event: &Event, words: &str) -> Vec<Action> {
    let Some(user) = &event.user_id else {
        return Vec::new();
    };
    let notification = Notification::to_user(user)
        .category("test")
        .title(format!("{words} {}", event.kind))
        .body(event.subject_id.as_deref().unwrap_or_default());
    vec![notification.into()]
}
