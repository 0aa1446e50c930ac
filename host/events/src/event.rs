//! A decoded event.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::Kind;

/// A decoded and validated event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The producer's id of the event, `eventId`.
    pub id: String,
    /// The canonical kind; aliases are resolved.
    pub kind: Kind,
    /// When it happened, by the producer's clock. Milliseconds since the epoch.
    pub time_ms: i64,
    /// The user whom the event is about, or who caused it.
    pub user_id: Option<String>,
    /// The resource (room, desk, device) it is about.
    pub resource_id: Option<String>,
    /// The thing that changed; see [`crate::Subject`] for where it is read.
    pub subject_id: Option<String>,
    /// `eventData`, an object: the text as the producer wrote it.
    pub data: Box<RawValue>,
    /// Ties the event to the request that caused it, `metadata.correlationId`.
    pub correlation_id: Option<String>,
    /// The service that produced it, `metadata.service`.
    pub service: Option<String>,
    /// That service's version, `metadata.version`.
    pub service_version: Option<String>,
}

impl Event {
    /// A number over everything but the id: two events with the same id and the same number are
    /// the same event sent twice, with another number somebody used an id twice.
    ///
    /// It is the beginning of a SHA-256 and the same on every machine and in every version, so
    /// that it can be stored. `eventData` counts as text: a repeat is sent again as it was, it is
    /// not printed anew.
    #[must_use]
    pub fn content_hash(&self) -> u64 {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(self.kind.as_str());
        add(self.data.get());
        for field in [
            &self.user_id,
            &self.resource_id,
            &self.subject_id,
            &self.correlation_id,
            &self.service,
            &self.service_version,
        ] {
            // No identifier is empty, so an absent one cannot be mistaken for another.
            add(field.as_deref().unwrap_or_default());
        }
        hash.update(self.time_ms.to_le_bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.id == other.id
            && self.kind == other.kind
            && self.time_ms == other.time_ms
            && self.user_id == other.user_id
            && self.resource_id == other.resource_id
            && self.subject_id == other.subject_id
            && self.data.get() == other.data.get()
            && self.correlation_id == other.correlation_id
            && self.service == other.service
            && self.service_version == other.service_version
    }
}

impl Eq for Event {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: "e-1".into(),
            kind: Kind::parse("booking.created").unwrap(),
            time_ms: 1_755_597_600_000,
            user_id: Some("user-1".into()),
            resource_id: Some("room-1".into()),
            subject_id: Some("booking-1".into()),
            data: RawValue::from_string(r#"{"title":"Größe"}"#.into()).unwrap(),
            correlation_id: Some("req-1".into()),
            service: Some("booking-service".into()),
            service_version: Some("1.0.0".into()),
        }
    }

    #[test]
    fn the_hash_ignores_the_id_and_nothing_else() {
        let hash = event().content_hash();
        let other_id = Event {
            id: "e-2".into(),
            ..event()
        };
        assert_eq!(other_id.content_hash(), hash);
        let others = [
            Event {
                kind: Kind::parse("booking.updated").unwrap(),
                ..event()
            },
            Event {
                time_ms: event().time_ms + 1,
                ..event()
            },
            Event {
                user_id: None,
                ..event()
            },
            Event {
                resource_id: Some("room-2".into()),
                ..event()
            },
            Event {
                subject_id: None,
                ..event()
            },
            Event {
                user_id: event().resource_id,
                resource_id: event().user_id,
                ..event()
            },
            Event {
                data: RawValue::from_string("{}".into()).unwrap(),
                ..event()
            },
            Event {
                correlation_id: None,
                ..event()
            },
            Event {
                service: None,
                ..event()
            },
            Event {
                service_version: Some("1.0.1".into()),
                ..event()
            },
        ];
        for other in others {
            assert_ne!(other.content_hash(), hash, "{other:?}");
            assert_ne!(other, event());
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        // Stored beside decisions: a change of this number makes every repeat look like a forgery.
        assert_eq!(event().content_hash(), 13_782_259_225_859_453_000);
    }
}
