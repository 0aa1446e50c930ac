//! Rules of recurrence (RFC 5545, section 3.3.10), by the wall clock of a time zone.
//!
//! The `rrule` crate walks a rule over times that have no zone; which moments they are is asked of
//! jiff, like everything else about time zones. So 09:00 stays 09:00 whatever the clocks do, there
//! is one database of time zones in the process, and what becomes of times that a clock leaves out
//! or shows twice is decided here, as the RFC has it.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use rrule::RRuleSet;

/// The most occurrences of a series: one a day, for a year.
pub(crate) const MAX_OCCURRENCES: usize = 366;
/// How long after the first the last one may begin, in years.
const MAX_YEARS: i64 = 5;
/// The longest text of a rule, in bytes.
const MAX_RULE_BYTES: usize = 500;
/// How many times of a rule the clocks may leave out. They leave out one or two a year, so that only a
/// zone that nobody has thought of comes here.
const MAX_LEFT_OUT: usize = 100;

const FREQUENCIES: [&str; 4] = ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
/// The parts that a rule may have beside FREQ, COUNT and UNTIL. Those about the time of day are
/// missing: it is the first occurrence's.
const PARTS: [&str; 8] = [
    "INTERVAL",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
];

/// What a rule comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expansion {
    /// When each occurrence begins, by the wall clock and in milliseconds since the epoch.
    pub(crate) starts: Vec<(DateTime, i64)>,
    /// Times that the rule names and the clocks leave out on that day. They are no occurrences and
    /// are not counted (RFC 5545, section 3.3.10).
    pub(crate) left_out: Vec<DateTime>,
}

/// Reads a time without an offset, `2026-10-19T09:00:00`; none where the calendar has no such day.
pub(crate) fn local(text: &str) -> Option<DateTime> {
    text.parse().ok()
}

/// The moment of a local time, in milliseconds since the epoch: the earlier one where it comes twice
/// (RFC 5545, section 3.3.5), none where the clocks leave it out.
pub(crate) fn moment(zone: &TimeZone, local: DateTime) -> Option<i64> {
    let is_left_out = matches!(
        zone.to_ambiguous_timestamp(local).offset(),
        AmbiguousOffset::Gap { .. }
    );
    match is_left_out {
        true => None,
        false => moment_or_after(zone, local),
    }
}

/// The same, and where the clocks leave it out what the offset before the gap makes of it, as RFC
/// 5545, section 3.3.5, reads such a time.
pub(crate) fn moment_or_after(zone: &TimeZone, local: DateTime) -> Option<i64> {
    let moment = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(moment.as_millisecond())
}

/// What the clocks show at a moment.
pub(crate) fn wall_clock(zone: &TimeZone, at_ms: i64) -> Option<DateTime> {
    let at = Timestamp::from_millisecond(at_ms).ok()?;
    Some(zone.to_datetime(at))
}

/// The occurrences of a rule, the first of which is given.
///
/// # Errors
/// A sentence about what is wrong with the rule and what to write instead.
pub(crate) fn expand(rule: &str, first: DateTime, zone: &TimeZone) -> Result<Expansion, String> {
    let rule = Rule::parse(rule, zone)?;
    let bound = first
        .checked_add(MAX_YEARS.years())
        .map_err(|_| "it reaches beyond all calendars".to_owned())?;
    let too_far = || {
        format!(
            "it goes on for longer than {MAX_YEARS} years after the first occurrence; end it sooner with COUNT or UNTIL"
        )
    };
    if let End::Until(until_ms) = rule.end
        && moment_or_after(zone, bound).is_some_and(|bound_ms| until_ms > bound_ms)
    {
        return Err(too_far());
    }
    let mut starts = Vec::new();
    let mut left_out = Vec::new();
    let mut is_complete = matches!(rule.end, End::Until(_));
    for local in &rule.walk(first, bound)? {
        let local = TimeZone::UTC.to_datetime(
            Timestamp::from_second(local.timestamp()).map_err(|error| error.to_string())?,
        );
        if let (End::Until(until_ms), Some(at_ms)) = (&rule.end, moment_or_after(zone, local))
            && at_ms > *until_ms
        {
            break;
        }
        let Some(start_ms) = moment(zone, local) else {
            left_out.push(local);
            if left_out.len() > MAX_LEFT_OUT {
                return Err(too_many());
            }
            continue;
        };
        if starts.len() == MAX_OCCURRENCES {
            return Err(too_many());
        }
        starts.push((local, start_ms));
        if rule.end == End::Count(starts.len()) {
            is_complete = true;
            break;
        }
    }
    match starts.first() {
        Some((local, _)) if *local == first => {}
        Some((local, _)) => {
            return Err(format!(
                "startTime is no occurrence of it; the first one after that would be {local}"
            ));
        }
        None => return Err("it has no occurrence from startTime on".to_owned()),
    }
    match is_complete {
        true => Ok(Expansion { starts, left_out }),
        false => Err(too_far()),
    }
}

fn too_many() -> String {
    format!("it has more than {MAX_OCCURRENCES} occurrences; end it sooner with COUNT or UNTIL")
}

/// A rule: how it goes on, and how it ends.
struct Rule {
    /// The text of it, without COUNT and UNTIL.
    steps: String,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After so many.
    Count(usize),
    /// With the last that begins at this moment or before.
    Until(i64),
}

impl Rule {
    fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        if text.len() > MAX_RULE_BYTES {
            return Err(format!("it must have at most {MAX_RULE_BYTES} bytes"));
        }
        let text = text.trim().to_ascii_uppercase();
        let text = text.strip_prefix("RRULE:").unwrap_or(&text);
        let mut seen: Vec<&str> = Vec::new();
        let mut steps: Vec<&str> = Vec::new();
        let mut end = None;
        for part in text.split(';') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(
                    "it must be a rule as RFC 5545 has it, such as FREQ=WEEKLY;BYDAY=MO;COUNT=10"
                        .to_owned(),
                );
            };
            if seen.contains(&name) {
                return Err(format!("{name} stands in it twice"));
            }
            seen.push(name);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-,".contains(&byte);
            if value.is_empty() || !value.bytes().all(is_plain) {
                return Err(format!("{value:?} is no value of {name}"));
            }
            match name {
                "COUNT" | "UNTIL" if end.is_some() => {
                    return Err("it has COUNT and UNTIL; RFC 5545 allows one of them".to_owned());
                }
                "COUNT" => end = Some(End::Count(count(value)?)),
                "UNTIL" => end = Some(End::Until(until(value, zone)?)),
                "FREQ" if !FREQUENCIES.contains(&value) => {
                    return Err(format!("FREQ must be one of {}", FREQUENCIES.join(", ")));
                }
                "INTERVAL" if !value.parse().is_ok_and(|interval: u16| interval > 0) => {
                    return Err(format!(
                        "INTERVAL must be a whole number from 1 to {}",
                        u16::MAX
                    ));
                }
                "FREQ" => steps.push(part),
                name if PARTS.contains(&name) => steps.push(part),
                "BYHOUR" | "BYMINUTE" | "BYSECOND" => {
                    return Err(format!(
                        "{name} is not taken: the time of day is startTime's; make a series for each time of day"
                    ));
                }
                name => return Err(format!("{name:?} is no part of a rule")),
            }
        }
        if !seen.contains(&"FREQ") {
            return Err("FREQ is missing, such as FREQ=WEEKLY".to_owned());
        }
        let Some(end) = end else {
            return Err("it never ends; add COUNT=10 or UNTIL=20271231T225959Z to it".to_owned());
        };
        Ok(Self {
            steps: steps.join(";"),
            end,
        })
    }

    /// The times of the rule from the first to the bound, as if all clocks showed UTC.
    fn walk(&self, first: DateTime, bound: DateTime) -> Result<RRuleSet, String> {
        let basic = |time: DateTime| time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let text = format!(
            "DTSTART:{}\nRRULE:{};UNTIL={}",
            basic(first),
            self.steps,
            basic(bound)
        );
        let set: RRuleSet = text
            .parse()
            .map_err(|error: rrule::RRuleError| format!("it cannot be read: {error}"))?;
        // It gives up where it finds nothing: FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30.
        Ok(set.limit())
    }
}

fn count(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(count) if (1..=MAX_OCCURRENCES).contains(&count) => Ok(count),
        _ => Err(format!(
            "COUNT must be a whole number from 1 to {MAX_OCCURRENCES}"
        )),
    }
}

/// A moment in UTC, as the RFC asks for; a local time or a day, which it includes, are understood.
fn until(value: &str, zone: &TimeZone) -> Result<i64, String> {
    let wrong = || {
        format!(
            "UNTIL must be a time such as 20271231T225959Z, or a day such as 20271231, and {value:?} is not"
        )
    };
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let moment = match (value.len(), digits) {
        (8, 8) => {
            let day: Date = value.parse().map_err(|_| wrong())?;
            let next = day.tomorrow().map_err(|_| wrong())?;
            let next = zone.to_zoned(next.to_datetime(jiff::civil::Time::midnight()));
            next.map_err(|_| wrong())?.timestamp().as_millisecond() - 1
        }
        (15, 14) => {
            let time: DateTime = value.parse().map_err(|_| wrong())?;
            moment_or_after(zone, time).ok_or_else(wrong)?
        }
        (16, 14) => {
            let time: Timestamp = value.parse().map_err(|_| wrong())?;
            time.as_millisecond()
        }
        _ => return Err(wrong()),
    };
    Ok(moment)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn starts(rule: &str, first: &str, zone_name: &str) -> Vec<String> {
        let expansion = expand(rule, local(first).unwrap(), &zone(zone_name)).unwrap();
        let print = |(_, start_ms): &(DateTime, i64)| crate::rfc3339::print(*start_ms);
        expansion.starts.iter().map(print).collect()
    }

    #[track_caller]
    fn refused(rule: &str, expected: &str) {
        let first = local("2026-10-19T09:00:00").unwrap();
        let reason = expand(rule, first, &zone("Europe/Berlin")).unwrap_err();
        assert!(reason.contains(expected), "{rule}: {reason}");
    }

    #[test]
    fn nine_stays_nine_when_the_clocks_change_in_europe_and_in_america() {
        assert_eq!(
            starts(
                "FREQ=WEEKLY;BYDAY=MO;COUNT=3",
                "2026-10-19T09:00:00",
                "Europe/Berlin"
            ),
            [
                "2026-10-19T07:00:00Z",
                "2026-10-26T08:00:00Z",
                "2026-11-02T08:00:00Z"
            ]
        );
        assert_eq!(
            starts(
                "FREQ=WEEKLY;BYDAY=MO;COUNT=3",
                "2026-10-19T09:00:00",
                "America/New_York"
            ),
            [
                "2026-10-19T13:00:00Z",
                "2026-10-26T13:00:00Z",
                "2026-11-02T14:00:00Z"
            ]
        );
    }

    #[test]
    fn a_time_that_does_not_exist_is_no_occurrence_and_is_not_counted() {
        let first = local("2027-03-27T02:30:00").unwrap();
        let expansion = expand("FREQ=DAILY;COUNT=3", first, &zone("Europe/Berlin")).unwrap();
        let days: Vec<i8> = expansion
            .starts
            .iter()
            .map(|(local, _)| local.day())
            .collect();
        assert_eq!(days, [27, 29, 30]);
        assert_eq!(expansion.left_out, [local("2027-03-28T02:30:00").unwrap()]);
    }

    #[test]
    fn a_time_that_comes_twice_is_the_earlier_one() {
        assert_eq!(
            starts("FREQ=DAILY;COUNT=3", "2026-10-24T02:30:00", "Europe/Berlin"),
            [
                "2026-10-24T00:30:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-26T01:30:00Z"
            ]
        );
    }

    #[test]
    fn a_rule_ends_at_the_moment_the_local_time_or_the_day_that_it_names() {
        for until in ["20261102T080000Z", "20261102T090000", "20261102"] {
            let rule = format!("FREQ=WEEKLY;UNTIL={until}");
            assert_eq!(
                starts(&rule, "2026-10-19T09:00:00", "Europe/Berlin").len(),
                3,
                "{until}"
            );
        }
        let rule = "rrule:freq=weekly;until=20261102T075959Z";
        assert_eq!(
            starts(rule, "2026-10-19T09:00:00", "Europe/Berlin").len(),
            2
        );
    }

    #[test]
    fn the_parts_of_the_rfc_are_understood() {
        // The last weekday of each month.
        assert_eq!(
            starts(
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3",
                "2026-10-30T09:00:00",
                "UTC"
            ),
            [
                "2026-10-30T09:00:00Z",
                "2026-11-30T09:00:00Z",
                "2026-12-31T09:00:00Z"
            ]
        );
        assert_eq!(
            starts(
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;WKST=MO;COUNT=4",
                "2026-10-19T09:00:00",
                "UTC"
            ),
            [
                "2026-10-19T09:00:00Z",
                "2026-10-21T09:00:00Z",
                "2026-11-02T09:00:00Z",
                "2026-11-04T09:00:00Z"
            ]
        );
        // The 31st, where there is one.
        assert_eq!(
            starts("FREQ=MONTHLY;COUNT=3", "2026-10-31T09:00:00", "UTC"),
            [
                "2026-10-31T09:00:00Z",
                "2026-12-31T09:00:00Z",
                "2027-01-31T09:00:00Z"
            ]
        );
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused_with_what_to_write() {
        refused("FREQ=WEEKLY;BYDAY=MO", "add COUNT");
        refused("FREQ=WEEKLY;COUNT=3;UNTIL=20261231", "one of them");
        refused("FREQ=DAILY;COUNT=367", "366");
        refused("FREQ=DAILY;COUNT=0", "366");
        refused("FREQ=DAILY;UNTIL=20271231", "more than 366");
        refused("FREQ=YEARLY;COUNT=7", "5 years");
        refused("FREQ=MONTHLY;UNTIL=20400101", "5 years");
        refused("FREQ=WEEKLY;BYDAY=TU;COUNT=3", "2026-10-20T09:00:00");
        refused("FREQ=WEEKLY;UNTIL=20200101", "no occurrence");
        refused("FREQ=HOURLY;COUNT=3", "DAILY");
        refused("FREQ=DAILY;BYHOUR=9,15;COUNT=3", "time of day");
        refused("FREQ=DAILY;INTERVAL=0;COUNT=3", "INTERVAL");
        refused("FREQ=DAILY;FREQ=DAILY;COUNT=3", "twice");
        refused("FREQ=DAILY;COUNT=3\nDTSTART:19970101T000000Z", "COUNT");
        refused("FREQ=DAILY;BYDAY=XX;COUNT=3", "cannot be read");
        refused("FREQ=DAILY;UNTIL=tomorrow", "UNTIL");
        refused("COUNT=3", "FREQ");
        refused("every day", "RFC 5545");
        refused("", "RFC 5545");
        refused(&"FREQ=DAILY;".repeat(100), "500");
    }

    #[test]
    fn a_rule_that_finds_nothing_gives_up_soon() {
        let start = std::time::Instant::now();
        for freq in ["YEARLY", "MONTHLY", "DAILY"] {
            refused(
                &format!("FREQ={freq};BYMONTH=2;BYMONTHDAY=30;COUNT=3"),
                "no occurrence",
            );
        }
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn a_local_time_is_of_a_day_that_there_is() {
        assert!(local("2028-02-29T09:00:00").is_some());
        assert!(local("2026-02-29T09:00:00").is_none());
    }
}
