//! A point in time on the command line.

use jiff::{SignedDuration, Timestamp};

/// Milliseconds since 1970, from a time (RFC 3339), from such milliseconds, or from how long ago
/// it is.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    text.parse::<SignedDuration>()
        .ok()
        .filter(|ago| ago.is_positive())
        .and_then(|ago| now.checked_sub(ago).ok())
        .map(Timestamp::as_millisecond)
        .ok_or_else(|| {
            "write a time as 2031-05-06T09:00:00Z, or how long ago it is as 90m or 2h".to_owned()
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_written_out_or_told_by_how_long_ago_it_is() {
        let now = Timestamp::from_millisecond(1_755_600_000_000).unwrap();
        let read = |text: &str| parse_at(text, now);
        assert_eq!(read("1755600000000"), Ok(1_755_600_000_000));
        assert_eq!(read("2025-08-19T10:40:00Z"), Ok(1_755_600_000_000));
        assert_eq!(read("2h"), Ok(1_755_600_000_000 - 7_200_000));
        assert_eq!(read("1h 30m"), Ok(1_755_600_000_000 - 5_400_000));
        for odd in ["yesterday", "-2h", "2025-08-19", ""] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }
}
