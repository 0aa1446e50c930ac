//! Times as events carry them (RFC 3339 text) and as people read them.
//!
//! A plugin has no clock and no time zones: what an event says is shown in the offset in which
//! the event says it.

/// Milliseconds since the epoch of an RFC 3339 time, or nothing if the text is none.
///
/// ```
/// use carillon_plugin::time;
/// assert_eq!(time::parse_ms("2025-08-19T14:00:00Z"), Some(1_755_612_000_000));
/// assert_eq!(time::parse_ms("tomorrow"), None);
/// ```
#[must_use]
pub fn parse_ms(text: &str) -> Option<i64> {
    parse(text).map(|time| time.utc_ms)
}

/// A time for a person, `19 Aug 2025, 14:00 UTC`. Text that is no RFC 3339 time is shown as it
/// stands: a person can still make something of it.
#[must_use]
pub fn show(text: &str) -> String {
    parse(text).map_or_else(
        || text.to_owned(),
        |time| format!("{}, {} {}", time.date(), time.clock(), time.zone()),
    )
}

/// Milliseconds since the epoch for a person, `19 Aug 2025, 14:00 UTC`.
#[must_use]
pub fn show_ms(time_ms: i64) -> String {
    let time = Time {
        utc_ms: time_ms,
        offset_minutes: 0,
    };
    format!("{}, {} {}", time.date(), time.clock(), time.zone())
}

/// A stretch of time for a person: `19 Aug 2025, 14:00–16:00 UTC`, with both dates where it
/// crosses midnight.
#[must_use]
pub fn show_range(start: &str, end: &str) -> String {
    let (Some(from), Some(to)) = (parse(start), parse(end)) else {
        return format!("{} – {}", show(start), show(end));
    };
    if from.date() != to.date() || from.offset_minutes != to.offset_minutes {
        return format!("{} – {}", show(start), show(end));
    }
    format!(
        "{}, {}–{} {}",
        from.date(),
        from.clock(),
        to.clock(),
        from.zone()
    )
}

/// What is known of a stretch of time, for a person: the range, `from …`, `until …` or nothing.
#[must_use]
pub fn show_span(start: Option<&str>, end: Option<&str>) -> Option<String> {
    match (start, end) {
        (Some(start), Some(end)) => Some(show_range(start, end)),
        (Some(start), None) => Some(format!("from {}", show(start))),
        (None, Some(end)) => Some(format!("until {}", show(end))),
        (None, None) => None,
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_DAY: i64 = 86_400_000;

struct Time {
    utc_ms: i64,
    offset_minutes: i64,
}

impl Time {
    fn local_ms(&self) -> i64 {
        self.utc_ms
            .saturating_add(self.offset_minutes * MS_PER_MINUTE)
    }

    fn date(&self) -> String {
        let (year, month, day) = civil_from_days(self.local_ms().div_euclid(MS_PER_DAY));
        let month = usize::try_from(month - 1)
            .ok()
            .and_then(|month| MONTHS.get(month))
            .unwrap_or(&"?");
        format!("{day} {month} {year}")
    }

    fn clock(&self) -> String {
        let minutes = self.local_ms().rem_euclid(MS_PER_DAY) / MS_PER_MINUTE;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn zone(&self) -> String {
        if self.offset_minutes == 0 {
            return "UTC".to_owned();
        }
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.abs();
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// RFC 3339, section 5.6: `2025-08-19T14:00:00[.123](Z|+02:00)`.
fn parse(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month, day) = match date.as_bytes() {
        [y @ .., b'-', m1, m2, b'-', d1, d2] => {
            (number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => return None,
    };
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (hour, minute, second) = match clock.as_bytes() {
        [h1, h2, b':', m1, m2, b':', s1, s2] => (
            number(&[*h1, *h2])?,
            number(&[*m1, *m2])?,
            number(&[*s1, *s2])?,
        ),
        _ => return None,
    };
    let (milliseconds, zone) = fraction(rest)?;
    let offset_minutes = offset(zone)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    in_range.then(|| Time {
        utc_ms: days_from_civil(year, month, day) * MS_PER_DAY
            + (hour * 60 + minute - offset_minutes) * MS_PER_MINUTE
            + second * 1000
            + milliseconds,
        offset_minutes,
    })
}

/// The milliseconds of `.123456Z` and the zone behind them.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits_on) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let length = digits_on.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = digits_on.split_at_checked(length)?;
    let mut milliseconds = 0;
    for place in 0..3 {
        let digit = digits.as_bytes().get(place).map_or(0, |byte| byte - b'0');
        milliseconds = milliseconds * 10 + i64::from(digit);
    }
    (length > 0).then_some((milliseconds, zone))
}

fn offset(zone: &str) -> Option<i64> {
    match zone.as_bytes() {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let total = hours * 60 + minutes;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value: i64, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch, in the proleptic Gregorian calendar. The year is taken to begin in
/// March, so that the leap day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_offset_they_were_written_in() {
        for (text, shown) in [
            ("2025-08-19T14:00:00Z", "19 Aug 2025, 14:00 UTC"),
            ("2025-08-19t14:05:59.999z", "19 Aug 2025, 14:05 UTC"),
            ("2025-08-19T23:30:00+02:00", "19 Aug 2025, 23:30 UTC+02:00"),
            ("2025-01-01T00:15:00-03:30", "1 Jan 2025, 00:15 UTC-03:30"),
            ("2024-02-29T00:00:00Z", "29 Feb 2024, 00:00 UTC"),
            ("1969-12-31T23:59:59Z", "31 Dec 1969, 23:59 UTC"),
            ("next Tuesday", "next Tuesday"),
            ("2025-02-29T00:00:00Z", "2025-02-29T00:00:00Z"),
            ("2025-13-01T00:00:00Z", "2025-13-01T00:00:00Z"),
            ("2025-08-19T24:00:00Z", "2025-08-19T24:00:00Z"),
            ("2025-08-19T14:00:00", "2025-08-19T14:00:00"),
            ("2025-08-19T14:00:00.Z", "2025-08-19T14:00:00.Z"),
            ("２０２５-08-19T14:00:00Z", "２０２５-08-19T14:00:00Z"),
            ("", ""),
        ] {
            assert_eq!(show(text), shown);
        }
    }

    #[test]
    fn a_range_names_the_day_once_unless_it_crosses_midnight() {
        for (start, end, shown) in [
            (
                "2025-08-19T14:00:00Z",
                "2025-08-19T16:00:00Z",
                "19 Aug 2025, 14:00–16:00 UTC",
            ),
            (
                "2025-08-19T22:00:00Z",
                "2025-08-20T01:00:00Z",
                "19 Aug 2025, 22:00 UTC – 20 Aug 2025, 01:00 UTC",
            ),
            (
                "2025-08-19T14:00:00Z",
                "2025-08-19T16:00:00+01:00",
                "19 Aug 2025, 14:00 UTC – 19 Aug 2025, 16:00 UTC+01:00",
            ),
            ("noon", "one", "noon – one"),
        ] {
            assert_eq!(show_range(start, end), shown);
        }
    }

    #[test]
    fn milliseconds_count_from_the_epoch_across_offsets_and_fractions() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T01:00:00.25+01:00", Some(250)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2025-08-19", None),
        ] {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_shown_and_read_back() {
        for day in -30_000..120_000 {
            let (year, month, day_of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, day_of_month), day);
        }
        assert_eq!(show_ms(1_755_612_000_000), "19 Aug 2025, 14:00 UTC");
    }
}
