//! Numbers and times as people read them.

use jiff::Timestamp;

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 event`, `12,345 events`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", count(number)),
    }
}

/// `12.3 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Shown with one digit behind the point: what a float loses is not seen.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.021 ms`, `1.25 ms`, `210 ms`, `12.3 s`.
pub(crate) fn ms(ms: f64) -> String {
    match ms {
        0.0 => "0 ms".to_owned(),
        ms if ms < 0.1 => format!("{ms:.3} ms"),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// `210 ms`, `12.3 s`.
pub(crate) fn whole_ms(whole: u64) -> String {
    match whole {
        0..10_000 => format!("{whole} ms"),
        // Shown with one digit behind the point: what a float loses is not seen.
        #[allow(clippy::cast_precision_loss)]
        _ => ms(whole as f64),
    }
}

/// `0`, `0.3`, `12`: events a second.
pub(crate) fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        per_s if per_s < 10.0 => format!("{per_s:.1}"),
        per_s => format!("{per_s:.0}"),
    }
}

/// How long ago: `12 s`, `5 min`, `3 h`, `4 d`.
pub(crate) fn age(at_ms: i64) -> String {
    age_at(at_ms, Timestamp::now().as_millisecond())
}

fn age_at(at_ms: i64, now_ms: i64) -> String {
    let s = now_ms.saturating_sub(at_ms).max(0) / 1000;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// `2031-05-06T09:00:00Z`: sorts, and can be given to `--from`.
pub(crate) fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |time| format!("{time:.0}"))
}

/// With milliseconds.
pub(crate) fn exact_time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |time| format!("{time:.3}"))
}

/// The beginning of a SHA-256, enough to tell two loads apart and to go back to one.
pub(crate) fn sha(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// At most so many characters, on one line.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    let line = text.replace(['\n', '\r'], " ");
    if line.chars().count() <= chars {
        return line;
    }
    let mut cut: String = line.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sized() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(counted(2_000, "event"), "2,000 events");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(32 << 20), "32.0 MiB");
    }

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        assert_eq!(ms(0.0), "0 ms");
        assert_eq!(ms(0.0213), "0.021 ms");
        assert_eq!(ms(1.254), "1.25 ms");
        assert_eq!(ms(210.4), "210 ms");
        assert_eq!(ms(12_345.0), "12.3 s");
        assert_eq!(whole_ms(3), "3 ms");
        assert_eq!(whole_ms(12_345), "12.3 s");
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(1999.6), "2000");
        assert_eq!(time(1_755_600_000_500), "2025-08-19T10:40:00Z");
        assert_eq!(exact_time(1_755_600_000_500), "2025-08-19T10:40:00.500Z");
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_matters() {
        for (s, told) in [
            (0, "0 s"),
            (119, "119 s"),
            (300, "5 min"),
            (7_200, "2 h"),
            (200_000, "2 d"),
        ] {
            assert_eq!(age_at(1_000, 1_000 + s * 1_000), told);
        }
        assert_eq!(age_at(5_000, 1_000), "0 s");
    }

    #[test]
    fn a_long_text_is_cut_to_one_line() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("two\nlines", 20), "two lines");
        assert_eq!(cut("größenordnung", 6), "größe…");
    }
}
