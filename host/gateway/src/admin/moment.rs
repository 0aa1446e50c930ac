//! A point in time as operators write it.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Milliseconds since 1970; written as such, or as RFC 3339 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ms) = text.parse() {
            return Ok(Self(ms));
        }
        text.parse::<Timestamp>()
            .map(|time| Self(time.as_millisecond()))
            .map_err(|_| {
                format!(
                    "`{text}` is no time: write it as 2031-05-06T09:00:00Z, or in milliseconds since 1970"
                )
            })
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl Visitor<'_> for Reading {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time (RFC 3339, or milliseconds since 1970)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                Moment::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Moment, E> {
                Ok(Moment(ms))
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Moment, E> {
                i64::try_from(ms)
                    .map(Moment)
                    .map_err(|_| E::custom("the time is too far away"))
            }
        }

        deserializer.deserialize_any(Reading)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_or_in_milliseconds() {
        let read = |json: &str| serde_json::from_str::<Moment>(json).map(|moment| moment.0);
        assert_eq!(
            read(r#""2025-08-19T10:40:00Z""#).unwrap(),
            1_755_600_000_000
        );
        assert_eq!(
            read(r#""2025-08-19T12:40:00.5+02:00""#).unwrap(),
            1_755_600_000_500
        );
        assert_eq!(read("1755600000000").unwrap(), 1_755_600_000_000);
        assert_eq!(read(r#""1755600000000""#).unwrap(), 1_755_600_000_000);
        for odd in [
            r#""yesterday""#,
            r#""2025-08-19""#,
            "1.5",
            "null",
            "99999999999999999999",
        ] {
            assert!(read(odd).is_err(), "{odd}");
        }
        let error = read(r#""yesterday""#).unwrap_err().to_string();
        assert!(error.contains("`yesterday` is no time"), "{error}");
    }
}
