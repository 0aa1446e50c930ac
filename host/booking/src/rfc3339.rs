//! Times as the API writes them: RFC 3339 outside, milliseconds since the epoch inside.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// 2000-01-01T00:00:00Z, the earliest time of a booking, in milliseconds since the epoch.
const EARLIEST_MS: i64 = 946_684_800_000;

/// 9000-01-01T00:00:00Z, the end of the times of bookings: so far from the end of all calendars that
/// nothing added to it leaves them.
const END_MS: i64 = 221_845_392_000_000;

/// Reads RFC 3339, with an offset or `Z`. What is finer than a millisecond is cut off. The library
/// reads more of ISO 8601 than that; what it reads beyond is refused here, for other readers would.
///
/// # Errors
/// A phrase that follows "must be".
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "a time as RFC 3339 has it, such as 2026-08-19T14:00:00Z or 2026-08-19T14:00:00+02:00 (in a query string write + as %2B)";
    if !is_shaped(text.as_bytes()) {
        return Err(SHAPE);
    }
    let time_ms = text
        .parse::<Timestamp>()
        .map_err(|_| SHAPE)?
        .as_millisecond();
    match (EARLIEST_MS..END_MS).contains(&time_ms) {
        true => Ok(time_ms),
        false => Err("a time from the year 2000 to the year 8999"),
    }
}

fn is_shaped(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked("2026-08-19T14:00:00".len()) else {
        return false;
    };
    let is_time = date_time
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't'),
            other => byte == other,
        });
    let offset = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
            match digits.count() {
                0 => return false,
                count => &fraction[count..],
            }
        }
        None => rest,
    };
    let is_offset = match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    };
    is_time && is_offset
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

/// For serde's `with`: the text that [`serialize`] writes.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<i64, D::Error> {
    let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).map_err(|shape| serde::de::Error::custom(format!("`{text}` must be {shape}")))
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
        assert_eq!(print(EARLIEST_MS), "2000-01-01T00:00:00Z");
        assert_eq!(print(END_MS), "9000-01-01T00:00:00Z");
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
        ] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
