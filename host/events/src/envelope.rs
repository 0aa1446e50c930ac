//! The envelope as it stands in a record: parsed once, borrowed from it, not yet judged.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of the envelope that Carillon reads.
#[derive(Default)]
pub(crate) struct Envelope<'a> {
    pub(crate) event_id: Value<'a>,
    pub(crate) event_type: Value<'a>,
    pub(crate) timestamp: Value<'a>,
    pub(crate) user_id: Value<'a>,
    pub(crate) resource_id: Value<'a>,
    pub(crate) booking_id: Value<'a>,
    pub(crate) waitlist_id: Value<'a>,
    pub(crate) subject_id: Value<'a>,
    pub(crate) event_data: Option<&'a RawValue>,
    pub(crate) metadata: Option<Metadata<'a>>,
    /// The first field that stands in the envelope or its metadata twice.
    pub(crate) duplicate: Option<&'static str>,
}

/// `metadata` of the envelope.
pub(crate) enum Metadata<'a> {
    /// An object, as it should be.
    Object(Producer<'a>),
    /// Something else.
    Other(Value<'a>),
}

/// Who wrote the record.
#[derive(Default)]
pub(crate) struct Producer<'a> {
    pub(crate) service: Value<'a>,
    pub(crate) version: Value<'a>,
    pub(crate) correlation_id: Value<'a>,
    duplicate: Option<&'static str>,
}

/// A value where a string is wanted. Other types are remembered by name instead of ending the
/// parse, so that the reason names the most important field and not the first one in the text.
#[derive(Default)]
pub(crate) enum Value<'a> {
    /// The field is not there.
    #[default]
    Absent,
    /// `null`, which counts as absent.
    Null,
    /// A string.
    Text(Cow<'a, str>),
    /// Something else, by name and with its article.
    Other(&'static str),
}

/// The identifiers in `eventData` that can name an event's subject.
#[derive(Default)]
pub(crate) struct DataIdentifiers<'a> {
    pub(crate) id: Value<'a>,
    pub(crate) booking_id: Value<'a>,
    pub(crate) duplicate: Option<&'static str>,
}

/// The fields that are read, wherever they stand.
#[derive(Clone, Copy)]
enum Field {
    EventId,
    EventType,
    Timestamp,
    UserId,
    ResourceId,
    BookingId,
    WaitlistId,
    SubjectId,
    EventData,
    Metadata,
    Service,
    Version,
    CorrelationId,
    Id,
    Ignored,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        struct FieldVisitor;
        impl Visitor<'_> for FieldVisitor {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "eventId" => Field::EventId,
                    "eventType" => Field::EventType,
                    "timestamp" => Field::Timestamp,
                    "userId" => Field::UserId,
                    "resourceId" => Field::ResourceId,
                    "bookingId" => Field::BookingId,
                    "waitlistId" => Field::WaitlistId,
                    "subjectId" => Field::SubjectId,
                    "eventData" => Field::EventData,
                    "metadata" => Field::Metadata,
                    "service" => Field::Service,
                    "version" => Field::Version,
                    "correlationId" => Field::CorrelationId,
                    "id" => Field::Id,
                    _ => Field::Ignored,
                })
            }
        }
        deserializer.deserialize_str(FieldVisitor)
    }
}

/// Reads the next value into its place. A second value for the same place is read past, and the
/// field's name kept.
fn fill<'de, M: MapAccess<'de>>(
    place: &mut Value<'de>,
    name: &'static str,
    duplicate: &mut Option<&'static str>,
    map: &mut M,
) -> Result<(), M::Error> {
    let value = map.next_value()?;
    if matches!(place, Value::Absent) {
        *place = value;
    } else {
        duplicate.get_or_insert(name);
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Envelope<'de>, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Envelope<'de>, M::Error> {
        let mut envelope = Envelope::default();
        let mut duplicate = None;
        while let Some(field) = map.next_key()? {
            let (place, name) = match field {
                Field::EventId => (&mut envelope.event_id, "eventId"),
                Field::EventType => (&mut envelope.event_type, "eventType"),
                Field::Timestamp => (&mut envelope.timestamp, "timestamp"),
                Field::UserId => (&mut envelope.user_id, "userId"),
                Field::ResourceId => (&mut envelope.resource_id, "resourceId"),
                Field::BookingId => (&mut envelope.booking_id, "bookingId"),
                Field::WaitlistId => (&mut envelope.waitlist_id, "waitlistId"),
                Field::SubjectId => (&mut envelope.subject_id, "subjectId"),
                Field::EventData => {
                    if envelope.event_data.replace(map.next_value()?).is_some() {
                        duplicate.get_or_insert("eventData");
                    }
                    continue;
                }
                Field::Metadata => {
                    if envelope.metadata.replace(map.next_value()?).is_some() {
                        duplicate.get_or_insert("metadata");
                    }
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            fill(place, name, &mut duplicate, &mut map)?;
        }
        if let Some(Metadata::Object(producer)) = &envelope.metadata {
            duplicate = duplicate.or(producer.duplicate);
        }
        envelope.duplicate = duplicate;
        Ok(envelope)
    }
}

impl<'de> Deserialize<'de> for DataIdentifiers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DataVisitor;
        impl<'de> Visitor<'de> for DataVisitor {
            type Value = DataIdentifiers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut found = DataIdentifiers::default();
                while let Some(field) = map.next_key()? {
                    let (place, name) = match field {
                        Field::Id => (&mut found.id, "eventData.id"),
                        Field::BookingId => (&mut found.booking_id, "eventData.bookingId"),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    fill(place, name, &mut found.duplicate, &mut map)?;
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(DataVisitor)
    }
}

impl<'de> Deserialize<'de> for Metadata<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata<'de>, D::Error> {
        deserializer.deserialize_any(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Metadata<'de>, M::Error> {
        let mut producer = Producer::default();
        while let Some(field) = map.next_key()? {
            let (place, name) = match field {
                Field::Service => (&mut producer.service, "metadata.service"),
                Field::Version => (&mut producer.version, "metadata.version"),
                Field::CorrelationId => (&mut producer.correlation_id, "metadata.correlationId"),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            fill(place, name, &mut producer.duplicate, &mut map)?;
        }
        Ok(Metadata::Object(producer))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Metadata::Other(Value::Other("a string")))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        ValueVisitor.visit_unit().map(Metadata::Other)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        ValueVisitor.visit_bool(value).map(Metadata::Other)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        ValueVisitor.visit_i64(value).map(Metadata::Other)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        ValueVisitor.visit_u64(value).map(Metadata::Other)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        ValueVisitor.visit_f64(value).map(Metadata::Other)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Self::Value, S::Error> {
        ValueVisitor.visit_seq(seq).map(Metadata::Other)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other("a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Value<'de>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an array"))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value<'de>, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}
