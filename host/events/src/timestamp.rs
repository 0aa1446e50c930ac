//! Points in time as the envelope writes them: RFC 3339.

use jiff::Timestamp;

/// The earliest time that an envelope can hold: 0000-01-01T00:00:00Z, since RFC 3339 has years of
/// four digits. Milliseconds since the epoch.
pub const MIN_TIME_MS: i64 = -62_167_219_200_000;

/// The latest time that an envelope can hold: 9999-12-30T22:00:00Z, where the time library ends.
/// Milliseconds since the epoch.
pub const MAX_TIME_MS: i64 = 253_402_207_200_000;

/// Reads RFC 3339, with any fraction of a second (Ballerina's `time:utcToString`, which the first
/// seed uses, writes nine digits) and any offset. Digits below the millisecond are cut off.
pub(crate) fn parse(text: &str) -> Option<i64> {
    // The library reads more of ISO 8601 than RFC 3339 allows: no seconds, week dates, no
    // separators, a time zone in brackets. Accepting those would let records in that other
    // consumers of the same topic refuse.
    let bytes = text.as_bytes();
    let rest = bytes.get(19..)?;
    let shaped = bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':'
        && bytes[0].is_ascii_digit()
        && is_offset(without_fraction(rest)?);
    if !shaped {
        return None;
    }
    let time: Timestamp = text.parse().ok()?;
    let time_ms = time.as_millisecond();
    (MIN_TIME_MS..=MAX_TIME_MS)
        .contains(&time_ms)
        .then_some(time_ms)
}

/// What follows `.123`, or all of it where there is no fraction; nothing where the point has no digit.
fn without_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(digits) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (count > 0).then(|| &digits[count..])
}

/// `Z` or `+02:00`.
fn is_offset(text: &[u8]) -> bool {
    match text {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

/// Writes RFC 3339 in UTC, with milliseconds only where there are any. A time outside
/// [`MIN_TIME_MS`]`..=`[`MAX_TIME_MS`] is moved to the nearer end.
pub(crate) fn print(time_ms: i64) -> String {
    let time_ms = time_ms.clamp(MIN_TIME_MS, MAX_TIME_MS);
    // The clamp leaves only times that the library can hold; the epoch is never reached.
    Timestamp::from_millisecond(time_ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_in_all_its_forms_is_read() {
        let ten = 1_755_597_600_000;
        for (text, time_ms) in [
            ("2025-08-19T10:00:00Z", ten),
            ("2025-08-19T10:00:00.123456789Z", ten + 123),
            ("2025-08-19T10:00:00.5Z", ten + 500),
            ("2025-08-19T12:00:00+02:00", ten),
            ("2025-08-19T10:00:00-00:00", ten),
            ("2025-08-19t10:00:00z", ten),
            ("2025-08-19 10:00:00Z", ten),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0000-01-01T00:00:00Z", MIN_TIME_MS),
            ("9999-12-30T22:00:00Z", MAX_TIME_MS),
        ] {
            assert_eq!(parse(text), Some(time_ms), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_read_as_the_second_before_it() {
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2016-12-31T23:59:59Z"));
    }

    #[test]
    fn other_ways_to_write_a_time_are_refused() {
        for text in [
            "",
            "yesterday",
            "1755597600000",
            "2025-08-19",
            "9999-12-31T23:59:59Z",
            "2025-08-19T10:00Z",
            "2025-08-19T10:00:00",
            "2025-08-19T10:00:00.Z",
            "2025-08-19T10:00:00+02",
            "2025-08-19T10:00:00+0200",
            "2025-08-19T10:00:00Z[Europe/Berlin]",
            "20250819T100000.000Z",
            "2025-W34-2T10:00:00Z",
            "2025-13-01T10:00:00Z",
            "2025-02-30T10:00:00Z",
            "2025-08-19T25:00:00Z",
            "-000001-08-19T10:00:00Z",
            "+002025-08-19T10:00:00Z",
            "Tue, 19 Aug 2025 10:00:00 GMT",
            "２０２５-08-19T10:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for time_ms in [MIN_TIME_MS, -1, 0, 1, 1_755_597_600_123, MAX_TIME_MS] {
            assert_eq!(parse(&print(time_ms)), Some(time_ms));
        }
        assert_eq!(parse(&print(i64::MAX)), Some(MAX_TIME_MS));
        assert_eq!(parse(&print(i64::MIN)), Some(MIN_TIME_MS));
        assert_eq!(print(1_755_597_600_000), "2025-08-19T10:00:00Z");
    }
}
