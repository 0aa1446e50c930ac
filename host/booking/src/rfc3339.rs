//! Times as the API writes them: RFC 3339 outside, milliseconds since the epoch inside.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::Regex;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, SchemaFormat};

/// The text of a time, for JSON Schema as well: RFC 3339 with an offset or `Z`, of the years 2000 to 8999,
/// so far from the end of all calendars that nothing added to it leaves them. The library reads more of
/// ISO 8601 than that, and other readers would not.
pub(crate) const PATTERN: &str = r"^[2-8][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

macro_rules! shape {
    () => {
        "a time as RFC 3339 has it, from the year 2000 to the year 8999, such as 2026-08-19T14:00:00Z or 2026-08-19T14:00:00+02:00 (in a query string write + as %2B)"
    };
}

/// What a text must be to be read as a time, as a sentence about it.
pub(crate) const RULE: &str = concat!("it must be ", shape!());

/// Reads RFC 3339. What is finer than a millisecond is cut off.
///
/// # Errors
/// A phrase that follows "must be".
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    #[expect(clippy::expect_used, reason = "every test compiles it")]
    static SHAPE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(PATTERN).expect("a pattern that compiles"));
    let time = SHAPE.is_match(text).then(|| text.parse::<Timestamp>().ok());
    let time = time.flatten().ok_or(shape!())?;
    Ok(time.as_millisecond())
}

/// A time, as the description of the API has it in answers.
pub(crate) fn schema() -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2031-05-06T09:00:00Z"]);
    Schema::Object(object.build())
}

/// Writes RFC 3339 in UTC, with milliseconds only where there are any.
pub(crate) fn print(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms)
        // Only times that `parse` let in or the clock gave are printed, and those are in range.
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The same as clocks at a place show it: with the offset that its time zone has then.
pub(crate) fn print_in(zone: &TimeZone, time_ms: i64) -> String {
    let time = Timestamp::from_millisecond(time_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let offset = zone.to_offset(time);
    match offset.is_zero() {
        true => time.to_string(),
        false => time.display_with_offset(offset).to_string(),
    }
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: serde::Serializer>(
    time_ms: &i64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print(*time_ms))
}

/// For serde's `with`: the text that [`serialize`] writes, which may be of a later year than what is read
/// from others: a booking blocks its resource for a while after its end.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<i64, D::Error> {
    let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
    let time: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(time.as_millisecond())
}

/// The same for a time that may be missing.
pub(crate) mod option {
    pub(crate) fn serialize<S: serde::Serializer>(
        time_ms: &Option<i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time_ms {
            Some(time_ms) => super::serialize(time_ms, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rfc_3339_is_read_and_written() {
        assert_eq!(parse("2025-08-19T10:00:00Z").unwrap(), 1_755_597_600_000);
        assert_eq!(
            parse("2025-08-19T12:00:00.5+02:00").unwrap(),
            1_755_597_600_500
        );
        assert_eq!(print(1_755_597_600_000), "2025-08-19T10:00:00Z");
        assert_eq!(print(1_755_597_600_500), "2025-08-19T10:00:00.5Z");
        for edge in ["2000-01-01T00:00:00Z", "8999-12-31T23:59:59.999Z"] {
            assert_eq!(print(parse(edge).unwrap()), edge);
        }
        assert_eq!(
            parse("2026-08-19t14:00:00.123456789z").unwrap(),
            parse("2026-08-19T14:00:00.123+00:00").unwrap()
        );
    }

    #[test]
    fn a_time_is_written_as_the_clocks_of_a_place_show_it() {
        let zone = |name| TimeZone::get(name).unwrap();
        let summer = 1_755_597_600_500;
        assert_eq!(
            print_in(&zone("Europe/Berlin"), summer),
            "2025-08-19T12:00:00.5+02:00"
        );
        assert_eq!(
            print_in(&zone("America/St_Johns"), summer),
            "2025-08-19T07:30:00.5-02:30"
        );
        assert_eq!(print_in(&TimeZone::UTC, summer), print(summer));
        let text = print_in(&zone("Asia/Kathmandu"), summer);
        assert_eq!(parse(&text).unwrap(), summer);
    }

    #[test]
    fn other_ways_to_write_a_time_are_refused() {
        for odd in [
            "",
            "tomorrow",
            "2025-08-19",
            "2025-08-19T10:00Z",
            "2025-08-19T10:00:00",
            "2025-08-19 10:00:00Z",
            "2025-08-19T10:00:00.Z",
            "2025-08-19T10:00:00 02:00",
            "2025-08-19T10:00:00Z[Europe/Berlin]",
            "2025-02-30T10:00:00Z",
            "1999-12-31T23:59:59Z",
            "9000-01-01T00:00:00Z",
            "2025-08-19T10:00:0ä",
            "2025-08-19T10:00:00+24:00",
            "2025-08-19T24:00:00Z",
            "2025-08-19T10:00:00.1234567890Z",
            "2025-08-19T10:00:00Z\n",
        ] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
