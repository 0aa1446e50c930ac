//! One entry of a stream on its way to clients, in the form each transport sends.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use carillon_store::Publication;
use serde::Deserialize;

/// What an entry costs a queue beside its text: the shared frame and its place in the queue.
const OVERHEAD_BYTES: usize = 128;

/// An entry, shared by all who get it. Each transport's form is made once, by whoever
/// needs it first.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) stream: Arc<str>,
    pub(crate) offset: u64,
    json: Arc<str>,
    websocket: OnceLock<Utf8Bytes>,
    event: OnceLock<Event>,
}

/// The name of an entry on an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    Notification,
    Withdrawal,
}

impl Event {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Withdrawal => "withdrawal",
        }
    }
}

impl Push {
    pub(crate) fn new(publication: &Publication) -> Self {
        let Publication {
            stream,
            offset,
            json,
        } = publication;
        let json = match on_one_line(json) {
            Cow::Borrowed(_) => Arc::clone(json),
            Cow::Owned(text) => text.into(),
        };
        Self {
            stream: Arc::clone(stream),
            offset: *offset,
            json,
            websocket: OnceLock::new(),
            event: OnceLock::new(),
        }
    }

    /// The entry as JSON, on one line.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// What it counts for in a queue that is bounded in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.json.len() + self.stream.len() + OVERHEAD_BYTES
    }

    /// The text frame of the Centrifuge protocol: the same bytes for every subscriber.
    pub(crate) fn websocket_frame(&self) -> Utf8Bytes {
        self.websocket
            .get_or_init(|| {
                let channel = serde_json::Value::from(&*self.stream);
                let (data, offset) = (&self.json, self.offset);
                format!(r#"{{"push":{{"channel":{channel},"pub":{{"data":{data},"offset":{offset}}}}}}}"#).into()
            })
            .clone()
    }

    /// The event's name on an event stream.
    pub(crate) fn event(&self) -> Event {
        #[derive(Deserialize)]
        struct Tag {
            r#type: Event,
        }
        *self.event.get_or_init(|| {
            serde_json::from_str::<Tag>(&self.json).map_or(Event::Notification, |tag| tag.r#type)
        })
    }
}

/// Both transports end a message at a line feed. JSON text has line breaks only between
/// its tokens (RFC 8259, section 7: within strings they are escaped), where a space means the same;
/// a plugin's `data` passes through as it was written and may contain them.
pub(crate) fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(json: &str) -> Push {
        Push::new(&Publication {
            stream: "user:\"7\"".into(),
            offset: 3,
            json: json.into(),
        })
    }

    #[test]
    fn a_frame_is_one_line_whatever_the_plugin_wrote() {
        let push = push("{\"type\":\"withdrawal\",\n\"data\": {\r\n\"a\": \"b\\n\"}}");
        assert_eq!(
            push.websocket_frame().as_str(),
            r#"{"push":{"channel":"user:\"7\"","pub":{"data":{"type":"withdrawal", "data": {  "a": "b\n"}},"offset":3}}}"#,
        );
        assert_eq!(push.event(), Event::Withdrawal);
    }

    #[test]
    fn a_frame_is_made_once_and_shared() {
        let push = push(r#"{"type":"notification"}"#);
        assert_eq!(
            push.websocket_frame().as_str().as_ptr(),
            push.websocket_frame().as_str().as_ptr()
        );
        assert_eq!(push.event().name(), "notification");
    }
}
