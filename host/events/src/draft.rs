//! What a producer writes.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{DecodeError, Event, Kind, decode, scan, timestamp};

/// An event on its way into a topic, in the envelope of the seeds.
///
/// ```
/// use carillon_events::{Draft, Kind, decode};
///
/// let record = Draft::new(Kind::parse("booking.created")?, 1_755_597_600_000)
///     .id("event-1")
///     .user("user-1")
///     .resource("room-1")
///     .subject("booking-123")
///     .data(serde_json::json!({"title": "Team Meeting"}))?
///     .correlation("req-456")
///     .service("booking-service", "1.0.0")
///     .to_json();
/// let event = decode(&record)?;
/// assert_eq!(event.subject_id.as_deref(), Some("booking-123"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Draft {
    id: String,
    kind: Kind,
    time_ms: i64,
    user_id: Option<String>,
    resource_id: Option<String>,
    subject_id: Option<String>,
    data: Option<Box<RawValue>>,
    correlation_id: Option<String>,
    service: Option<(String, String)>,
}

/// Why data cannot be `eventData`.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The value's own serialisation failed.
    #[error("the event's data cannot be written as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The value is not written as a JSON object.
    #[error("the event's data must be a JSON object, but it begins with {0:?}")]
    NotAnObject(String),
    /// No reader would take it.
    #[error("the event's data would be refused by every reader: {0}")]
    Refused(#[from] DecodeError),
}

impl Draft {
    /// An event of this kind that happened at this time (milliseconds since the epoch), with an
    /// id of its own: a UUID version 7. A time outside [`crate::MIN_TIME_MS`]`..=`
    /// [`crate::MAX_TIME_MS`] is written as the nearer end, because the envelope's years have
    /// four digits.
    #[must_use]
    pub fn new(kind: Kind, time_ms: i64) -> Draft {
        Draft {
            id: Uuid::now_v7().to_string(),
            kind,
            time_ms,
            user_id: None,
            resource_id: None,
            subject_id: None,
            data: None,
            correlation_id: None,
            service: None,
        }
    }

    /// The event's id, for producers that have one, such as the key of an outbox row. A record
    /// that is sent again must have the id of the first time.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Draft {
        self.id = id.into();
        self
    }

    /// The user whom the event is about, or who caused it.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Draft {
        self.user_id = Some(id.into());
        self
    }

    /// The resource that the event is about.
    #[must_use]
    pub fn resource(mut self, id: impl Into<String>) -> Draft {
        self.resource_id = Some(id.into());
        self
    }

    /// The thing that changed. It is written as `bookingId`, `waitlistId` or `subjectId`, as the
    /// kind wants it.
    #[must_use]
    pub fn subject(mut self, id: impl Into<String>) -> Draft {
        self.subject_id = Some(id.into());
        self
    }

    /// `eventData`: anything that is written as a JSON object. A [`RawValue`] stays as it is.
    ///
    /// # Errors
    /// [`DraftError`] when it is no object, nests too deeply, or holds U+0000.
    pub fn data(mut self, data: impl Serialize) -> Result<Draft, DraftError> {
        let data = serde_json::value::to_raw_value(&data)?;
        let text = data.get();
        if !text.starts_with('{') {
            return Err(DraftError::NotAnObject(text.chars().take(16).collect()));
        }
        // One level is the envelope's.
        scan::scan(&format!("[{text}]"))?.check()?;
        self.data = Some(data);
        Ok(self)
    }

    /// What ties the event to the request that caused it.
    #[must_use]
    pub fn correlation(mut self, id: impl Into<String>) -> Draft {
        self.correlation_id = Some(id.into());
        self
    }

    /// The producing service and its version.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>, version: impl Into<String>) -> Draft {
        self.service = Some((name.into(), version.into()));
        self
    }

    /// The record's value, in the envelope of the seeds.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "strings, numbers and JSON text always have a JSON form, and a Vec takes every byte"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        let subject = self.subject_id.as_deref();
        let written_as = self.kind.subject().written_as();
        let (service, version) = match &self.service {
            Some((service, version)) => (Some(&**service), Some(&**version)),
            None => (None, None),
        };
        let has_metadata = self.service.is_some() || self.correlation_id.is_some();
        let record = Record {
            event_id: &self.id,
            event_type: self.kind.as_str(),
            booking_id: subject.filter(|_| written_as == "bookingId"),
            waitlist_id: subject.filter(|_| written_as == "waitlistId"),
            subject_id: subject.filter(|_| written_as == "subjectId"),
            user_id: self.user_id.as_deref(),
            resource_id: self.resource_id.as_deref(),
            timestamp: timestamp::print(self.time_ms),
            event_data: self.data.as_deref(),
            metadata: has_metadata.then_some(RecordMetadata {
                service,
                version,
                correlation_id: self.correlation_id.as_deref(),
            }),
        };
        serde_json::to_vec(&record).expect("a record always has a JSON form")
    }

    /// The event that a reader will see, or why it will refuse the record: for producers that
    /// take identifiers from outside and want to fail before they send.
    ///
    /// # Errors
    /// [`DecodeError`], as [`decode`] answers it.
    pub fn to_event(&self) -> Result<Event, DecodeError> {
        decode(&self.to_json())
    }
}

/// The envelope in the order of the seeds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    event_id: &'a str,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waitlist_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<&'a str>,
    timestamp: String,
    #[serde(serialize_with = "object_or_empty")]
    event_data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<RecordMetadata<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

/// Readers other than this one may not know that a missing `eventData` means `{}`.
fn object_or_empty<S: serde::Serializer>(
    data: &Option<&RawValue>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match data {
        Some(data) => data.serialize(serializer),
        None => serializer.collect_map(std::iter::empty::<((), ())>()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draft(kind: &str) -> Draft {
        Draft::new(Kind::parse(kind).unwrap(), 1_755_597_600_000).id("e-1")
    }

    fn text(draft: &Draft) -> String {
        String::from_utf8(draft.to_json()).unwrap()
    }

    #[test]
    fn a_booking_is_written_as_the_first_seed_shows_it() {
        let draft = draft("booking.created")
            .user("user-1")
            .resource("room-1")
            .subject("booking-123")
            .data(json!({"id": "booking-123"}))
            .unwrap()
            .correlation("req-456")
            .service("booking-service", "1.0.0");
        assert_eq!(
            text(&draft),
            r#"{"eventId":"e-1","eventType":"booking.created","bookingId":"booking-123","userId":"user-1","resourceId":"room-1","timestamp":"2025-08-19T10:00:00Z","eventData":{"id":"booking-123"},"metadata":{"service":"booking-service","version":"1.0.0","correlationId":"req-456"}}"#
        );
    }

    #[test]
    fn what_is_not_given_is_not_written_except_empty_data() {
        assert_eq!(
            text(&draft("user.created")),
            r#"{"eventId":"e-1","eventType":"user.created","timestamp":"2025-08-19T10:00:00Z","eventData":{}}"#
        );
    }

    #[test]
    fn the_subject_goes_where_the_kind_wants_it() {
        for (kind, field) in [
            ("booking.teleported", "\"bookingId\":\"s\""),
            ("conflict.detected", "\"bookingId\":\"s\""),
            ("waitlist.added", "\"waitlistId\":\"s\""),
            ("user.updated", "\"subjectId\":\"s\""),
            ("resource.updated", "\"subjectId\":\"s\""),
            ("garden.watered", "\"subjectId\":\"s\""),
        ] {
            let draft = draft(kind).subject("s").user("actor").resource("place");
            assert!(text(&draft).contains(field), "{}", text(&draft));
            assert_eq!(draft.to_event().unwrap().subject_id.as_deref(), Some("s"));
        }
    }

    #[test]
    fn data_that_no_reader_would_take_is_refused_at_once() {
        assert!(matches!(
            draft("a.b").data([1, 2]).unwrap_err(),
            DraftError::NotAnObject(_)
        ));
        assert!(matches!(
            draft("a.b").data(json!({"title": "a\u{0}b"})).unwrap_err(),
            DraftError::Refused(DecodeError::NullCharacter { .. })
        ));
        let deep = (0..crate::MAX_DEPTH).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(matches!(
            draft("a.b").data(deep).unwrap_err(),
            DraftError::Refused(DecodeError::TooDeep)
        ));
    }

    #[test]
    fn drafts_without_an_id_get_one_each() {
        let kind = Kind::parse("a.b").unwrap();
        let first = Draft::new(kind.clone(), 0).to_event().unwrap();
        let second = Draft::new(kind, 0).to_event().unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(first.content_hash(), second.content_hash());
    }

    #[test]
    fn an_identifier_that_readers_refuse_is_told_before_sending() {
        let error = draft("a.b").user("a\nb").to_event().unwrap_err();
        assert_eq!(
            error.to_string(),
            "userId holds the control character U+000A, which no identifier may hold"
        );
    }
}
