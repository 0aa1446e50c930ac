//! From the bytes of a record to an event: the rules of validation.

use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::envelope::{DataIdentifiers, Envelope, Metadata, Producer, Value};
use crate::error::excerpt;
use crate::{DecodeError, Event, Kind, Subject, scan, timestamp};

/// The largest record, in bytes: Kafka's own default for the largest message. A larger one could
/// only arrive where an operator raised that, and would be copied for each plugin that hears it.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// How deep arrays and objects may nest, the record itself counting as one. The seeds' events
/// need three; plugins' JSON parsers, which may recurse on a small stack, are safe at 64.
pub const MAX_DEPTH: usize = 64;

/// The longest identifier, in bytes. Identifiers are keys in the store and names of streams.
pub const MAX_IDENTIFIER_BYTES: usize = 256;

/// Decodes and validates the value of a record.
///
/// The envelope is parsed once; `eventData` is kept as the text it came in, down to its white
/// space. Fields that the envelope does not define are ignored. `eventData` may be missing or
/// `null`, which means `{}`; so may every field but `eventId`, `eventType` and `timestamp`, and an
/// empty string in one of these counts as missing.
///
/// # Errors
/// [`DecodeError`] with a sentence for whoever looks at the dead letter.
pub fn decode(value: &[u8]) -> Result<Event, DecodeError> {
    if value.len() > MAX_RECORD_BYTES {
        return Err(DecodeError::TooLarge { bytes: value.len() });
    }
    let text = std::str::from_utf8(value).map_err(|error| DecodeError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    if text.trim_ascii().is_empty() {
        return Err(DecodeError::Empty);
    }
    let escapes = scan::scan(text)?;
    let envelope = parse(text)?;
    escapes.check()?;
    judge(&envelope)
}

/// Parses the envelope. What fails here is not JSON, or no object.
fn parse(text: &str) -> Result<Envelope<'_>, DecodeError> {
    // Any JSON value that is no object is named as what it is, but only when it is JSON: the
    // record `[1,` is cut off before it is an array.
    if !text.trim_ascii_start().starts_with('{') {
        let value: Value<'_> =
            serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
        return Err(DecodeError::NotAnObject {
            found: match value {
                Value::Text(_) => "a string",
                Value::Other(found) => found,
                Value::Null | Value::Absent => "null",
            },
        });
    }
    serde_json::from_str(text).map_err(|error| not_json(text, &error))
}

/// How much of a record that is no JSON its reason shows: enough to recognise Avro, XML or a log line.
const BEGINNING_CHARACTERS: usize = 16;

fn not_json(text: &str, error: &serde_json::Error) -> DecodeError {
    let reason = error.to_string();
    if error.classify() != Category::Eof {
        return DecodeError::NotJson {
            reason,
            beginning: text.chars().take(BEGINNING_CHARACTERS).collect(),
        };
    }
    let inside = if reason.contains("an object") {
        "an object"
    } else if reason.contains("a list") {
        "an array"
    } else if reason.contains("a string") {
        "a string"
    } else {
        "a value"
    };
    DecodeError::CutOff {
        bytes: text.len(),
        inside,
    }
}

/// Applies the rules to what was parsed, the most telling one first: a record without
/// `eventType` is no event at all, so that is said before anything about its time.
fn judge(envelope: &Envelope<'_>) -> Result<Event, DecodeError> {
    if let Some(field) = envelope.duplicate {
        return Err(DecodeError::Duplicate { field });
    }
    let event_type = required("eventType", &envelope.event_type)?;
    let kind = Kind::parse(event_type).map_err(|reason| DecodeError::InvalidKind {
        text: excerpt(event_type),
        reason,
    })?;
    let id = required("eventId", &envelope.event_id)?;
    if id.is_empty() {
        return Err(DecodeError::EmptyIdentifier { field: "eventId" });
    }
    let id = checked("eventId", id)?.to_owned();
    let time = required("timestamp", &envelope.timestamp)?;
    let time_ms = timestamp::parse(time).ok_or_else(|| DecodeError::InvalidTime {
        text: excerpt(time),
    })?;
    let user_id = identifier("userId", &envelope.user_id)?;
    let resource_id = identifier("resourceId", &envelope.resource_id)?;
    let data = event_data(envelope.event_data)?;
    let subject_id = subject_id(kind.subject(), envelope, data)?;
    let absent = Producer::default();
    let producer = match &envelope.metadata {
        Some(Metadata::Object(producer)) => producer,
        None | Some(Metadata::Other(Value::Null)) => &absent,
        Some(Metadata::Other(other)) => {
            return Err(DecodeError::WrongType {
                field: "metadata",
                expected: "an object",
                found: other.name(),
            });
        }
    };
    Ok(Event {
        id,
        kind,
        time_ms,
        user_id: owned(user_id),
        resource_id: owned(resource_id),
        subject_id,
        data: data.to_owned(),
        correlation_id: owned(identifier(
            "metadata.correlationId",
            &producer.correlation_id,
        )?),
        service: owned(identifier("metadata.service", &producer.service)?),
        service_version: owned(identifier("metadata.version", &producer.version)?),
    })
}

impl Value<'_> {
    /// What it is, with its article.
    fn name(&self) -> &'static str {
        match self {
            Value::Absent => "missing",
            Value::Null => "null",
            Value::Text(_) => "a string",
            Value::Other(found) => found,
        }
    }
}

/// A string that every event has.
fn required<'a>(field: &'static str, value: &'a Value<'_>) -> Result<&'a str, DecodeError> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Absent => Err(DecodeError::Missing { field }),
        other => Err(DecodeError::WrongType {
            field,
            expected: "a string",
            found: other.name(),
        }),
    }
}

/// An identifier that may be missing.
fn identifier<'a>(
    field: &'static str,
    value: &'a Value<'_>,
) -> Result<Option<&'a str>, DecodeError> {
    if matches!(value, Value::Absent | Value::Null) {
        return Ok(None);
    }
    let text = required(field, value)?;
    if text.is_empty() {
        return Ok(None);
    }
    checked(field, text).map(Some)
}

/// The bounds of identifiers.
fn checked<'a>(field: &'static str, text: &'a str) -> Result<&'a str, DecodeError> {
    if text.len() > MAX_IDENTIFIER_BYTES {
        return Err(DecodeError::LongIdentifier {
            field,
            bytes: text.len(),
        });
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(DecodeError::ControlCharacter {
            field,
            character: character.into(),
        }),
        None => Ok(text),
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// `eventData`, which must be an object; `{}` where there is none.
fn event_data(data: Option<&RawValue>) -> Result<&RawValue, DecodeError> {
    let Some(data) = data else {
        return Ok(empty_object());
    };
    let found = match data.get().as_bytes().first() {
        Some(b'{') => return Ok(data),
        Some(b'n') => return Ok(empty_object()),
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    };
    Err(DecodeError::WrongType {
        field: "eventData",
        expected: "an object",
        found,
    })
}

#[expect(clippy::expect_used, reason = "`{}` is JSON")]
fn empty_object() -> &'static RawValue {
    serde_json::from_str("{}").expect("`{}` is JSON")
}

/// The identifier of what the event is about: `subjectId`, else where [`Subject`] says.
fn subject_id(
    subject: Subject,
    envelope: &Envelope<'_>,
    data: &RawValue,
) -> Result<Option<String>, DecodeError> {
    if let Some(id) = identifier("subjectId", &envelope.subject_id)? {
        return Ok(Some(id.to_owned()));
    }
    let own = match subject {
        Subject::Booking | Subject::ConflictingBooking => {
            identifier("bookingId", &envelope.booking_id)?
        }
        Subject::WaitlistEntry => identifier("waitlistId", &envelope.waitlist_id)?,
        Subject::Resource => identifier("resourceId", &envelope.resource_id)?,
        Subject::User => match subject_in_data(subject, data)? {
            Some(id) => return Ok(Some(id)),
            None => identifier("userId", &envelope.user_id)?,
        },
        Subject::Other => return Ok(None),
    };
    match own {
        Some(id) => Ok(Some(id.to_owned())),
        None => subject_in_data(subject, data),
    }
}

/// The identifier in `eventData`, for records whose envelope has none. What is there but is no
/// string is not an identifier, and not an error either: the inside of `eventData` belongs to
/// producers and plugins.
fn subject_in_data(subject: Subject, data: &RawValue) -> Result<Option<String>, DecodeError> {
    let found: DataIdentifiers<'_> =
        serde_json::from_str(data.get()).map_err(|error| not_json(data.get(), &error))?;
    if let Some(field) = found.duplicate {
        return Err(DecodeError::Duplicate { field });
    }
    let (field, value) = match subject {
        Subject::ConflictingBooking => ("eventData.bookingId", &found.booking_id),
        _ => ("eventData.id", &found.id),
    };
    match value {
        Value::Text(_) => Ok(owned(identifier(field, value)?)),
        _ => Ok(None),
    }
}
