//! When a resource may be booked, and for how long: rules without any I/O.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::interval::{Interval, merged};
use crate::whole;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// The most that a resource may need between two bookings; the schema holds bookings to it.
pub(crate) const MAX_BUFFER_MINUTES: u32 = 24 * 60;

/// The rules of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// When it is open, by weekday (`monday` …), in its own time zone; a day that is not named is
    /// closed. Without any it is always open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<Day, Stretches>>)]
    pub opening_hours: Option<BTreeMap<Day, Vec<Stretch>>>,
    /// How long before its start a booking must be made at the latest, in minutes.
    #[schema(maximum = 52_560_000)]
    #[serde(deserialize_with = "whole::required")]
    pub min_lead_minutes: u32,
    /// How long before its start a booking may be made at the earliest, in days.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 36_500)]
    pub max_lead_days: Option<u32>,
    /// The shortest booking, in minutes.
    #[schema(maximum = 44_640)]
    #[serde(deserialize_with = "whole::required")]
    pub min_duration_minutes: u32,
    /// The longest booking, in minutes.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 1, maximum = 44_640)]
    pub max_duration_minutes: Option<u32>,
    /// How long it stays blocked after a booking, in minutes.
    #[schema(maximum = 1_440)]
    #[serde(deserialize_with = "whole::required")]
    pub buffer_minutes: u32,
    /// How long after its start a booking counts as missed where nobody has checked in, in minutes;
    /// what is configured for the service where it is not said here.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 44_640)]
    pub no_show_after_minutes: Option<u32>,
}

/// A day of the week.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// The first day of ISO 8601.
    Monday,
    /// The second.
    Tuesday,
    /// The third.
    Wednesday,
    /// The fourth.
    Thursday,
    /// The fifth.
    Friday,
    /// The sixth.
    Saturday,
    /// The seventh.
    Sunday,
}

impl From<Weekday> for Day {
    fn from(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

/// When a day is open.
#[derive(utoipa::ToSchema)]
#[schema(max_items = 10)]
#[allow(dead_code)] // it is described here; serde reads a `Vec`
struct Stretches(Vec<Stretch>);

/// A part of a day, by the wall clock: `{"from": "08:00", "to": "18:00"}`; `24:00` ends a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// When it begins.
    #[schema(value_type = String, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "08:00")]
    pub from: Clock24,
    /// When it ends.
    #[schema(value_type = String, pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", example = "18:00")]
    pub to: Clock24,
}

/// A time of day to the minute, from `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock24(u16);

impl TryFrom<String> for Clock24 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` must be a time of day, from 00:00 to 24:00");
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let digits = |part: &str| -> Option<u16> {
            let is_pair = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            is_pair.then(|| part.parse().ok()).flatten()
        };
        match (digits(hour), digits(minute)) {
            (Some(hour), Some(minute)) if minute < 60 && hour * 60 + minute <= 24 * 60 => {
                Ok(Self(hour * 60 + minute))
            }
            _ => Err(wrong()),
        }
    }
}

impl From<Clock24> for String {
    fn from(time: Clock24) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Clock24 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Why a booking cannot be made at a time, in words for who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    /// A word for programs: `closed`, `too-soon`.
    pub(crate) code: String,
    /// The rule, as a sentence.
    pub(crate) reason: String,
}

fn broken(code: &str, reason: String) -> Result<(), Broken> {
    Err(Broken {
        code: code.to_owned(),
        reason,
    })
}

impl Rules {
    /// Whether a booking may be made now for this time, whoever else has booked.
    pub(crate) fn allow(
        &self,
        wanted: Interval,
        zone: &TimeZone,
        now_ms: i64,
    ) -> Result<(), Broken> {
        not_over(wanted, now_ms)?;
        self.allow_lead(wanted, now_ms)?;
        self.allow_shortness(wanted)?;
        self.allow_length(wanted)?;
        self.allow_hours(wanted, zone)
    }

    /// Whether a booking may be changed now from one time to another, whoever else has booked. What
    /// it has already needs no rule but that of the shortest; the rest is asked for anew.
    pub(crate) fn allow_change(
        &self,
        had: Interval,
        wanted: Interval,
        zone: &TimeZone,
        now_ms: i64,
    ) -> Result<(), Broken> {
        not_over(wanted, now_ms)?;
        self.allow_shortness(wanted)?;
        if had.contains(wanted) {
            return Ok(());
        }
        // Who only stays longer was early enough when they booked.
        if wanted.start_ms != had.start_ms {
            self.allow_lead(wanted, now_ms)?;
        }
        self.allow_length(wanted)?;
        self.allow_hours(wanted, zone)
    }

    fn allow_lead(&self, wanted: Interval, now_ms: i64) -> Result<(), Broken> {
        let lead_ms = wanted.start_ms.saturating_sub(now_ms);
        if self.min_lead_minutes > 0 && lead_ms < i64::from(self.min_lead_minutes) * MINUTE_MS {
            return broken(
                "too-soon",
                format!(
                    "it must be booked at least {} minutes before it begins",
                    self.min_lead_minutes
                ),
            );
        }
        if let Some(days) = self.max_lead_days
            && lead_ms > i64::from(days) * DAY_MS
        {
            return broken(
                "too-early",
                format!("it can be booked at most {days} days before it begins"),
            );
        }
        Ok(())
    }

    fn allow_shortness(&self, wanted: Interval) -> Result<(), Broken> {
        if wanted.duration_ms() < i64::from(self.min_duration_minutes) * MINUTE_MS {
            return broken(
                "too-short",
                format!(
                    "a booking lasts at least {} minutes",
                    self.min_duration_minutes
                ),
            );
        }
        Ok(())
    }

    fn allow_length(&self, wanted: Interval) -> Result<(), Broken> {
        if let Some(minutes) = self.max_duration_minutes
            && wanted.duration_ms() > i64::from(minutes) * MINUTE_MS
        {
            return broken(
                "too-long",
                format!("a booking lasts at most {minutes} minutes"),
            );
        }
        Ok(())
    }

    fn allow_hours(&self, wanted: Interval, zone: &TimeZone) -> Result<(), Broken> {
        let is_open = self
            .open(wanted, zone)
            .iter()
            .any(|open| open.contains(wanted));
        match is_open {
            true => Ok(()),
            false => broken(
                "closed",
                "the resource is closed then; GET /availability shows when it is open".into(),
            ),
        }
    }

    /// When it is open between two moments, merged.
    pub(crate) fn open(&self, bounds: Interval, zone: &TimeZone) -> Vec<Interval> {
        let Some(hours) = &self.opening_hours else {
            return vec![bounds];
        };
        let local_day = |at_ms: i64| {
            Timestamp::from_millisecond(at_ms).map(|at| at.to_zoned(zone.clone()).date())
        };
        let (Ok(mut day), Ok(last)) = (local_day(bounds.start_ms), local_day(bounds.end_ms)) else {
            return Vec::new();
        };
        let mut open = Vec::new();
        while day <= last {
            for stretch in hours.get(&Day::from(day.weekday())).into_iter().flatten() {
                let whole = (at(day, stretch.from, zone), at(day, stretch.to, zone));
                if let (Some(start_ms), Some(end_ms)) = whole {
                    open.extend(Interval::new(start_ms, end_ms).within(bounds));
                }
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        merged(open)
    }

    /// The first moment at which the resource is free again after a booking.
    pub(crate) fn blocked_until_ms(&self, end_ms: i64) -> i64 {
        end_ms + i64::from(self.buffer_minutes.min(MAX_BUFFER_MINUTES)) * MINUTE_MS
    }
}

fn not_over(wanted: Interval, now_ms: i64) -> Result<(), Broken> {
    match wanted.end_ms > now_ms {
        true => Ok(()),
        false => broken("over", "it is over already; choose a time to come".into()),
    }
}

/// A time of day of a date. Where a clock that is put forward leaves it out, it is read by the clock of
/// before: 02:30 is an hour later then, at 03:30 (RFC 5545, section 3.3.5).
fn at(day: Date, time: Clock24, zone: &TimeZone) -> Option<i64> {
    let (day, minutes) = match time.0 {
        1440 => (day.checked_add(1.day()).ok()?, 0),
        minutes => (day, minutes),
    };
    let hour = i8::try_from(minutes / 60).ok()?;
    let minute = i8::try_from(minutes % 60).ok()?;
    let local = day.to_datetime(Time::new(hour, minute, 0, 0).ok()?);
    let zoned = zone.to_ambiguous_zoned(local).compatible().ok()?;
    Some(zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn between(start: &str, end: &str) -> Interval {
        Interval::new(ms(start), ms(end))
    }

    fn office() -> Rules {
        serde_json::from_value(json!({
            "openingHours": {
                "friday": [{"from": "08:00", "to": "12:00"}, {"from": "13:00", "to": "24:00"}],
                "saturday": [{"from": "00:00", "to": "02:30"}],
            },
            "minLeadMinutes": 30, "maxLeadDays": 60,
            "minDurationMinutes": 15, "maxDurationMinutes": 600, "bufferMinutes": 10,
        }))
        .unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    #[track_caller]
    fn refused(wanted: Interval, now: &str, code: &str) {
        let broken = office().allow(wanted, &berlin(), ms(now)).unwrap_err();
        assert_eq!(broken.code, code, "{}", broken.reason);
    }

    #[test]
    fn every_rule_is_kept_and_named() {
        let now = "2026-03-26T12:00:00Z";
        let good = between("2026-03-27T08:00:00Z", "2026-03-27T10:00:00Z");
        office().allow(good, &berlin(), ms(now)).unwrap();
        refused(good, "2026-03-27T10:00:00Z", "over");
        refused(good, "2026-03-27T07:30:01Z", "too-soon");
        refused(good, "2026-01-01T00:00:00Z", "too-early");
        refused(
            between("2026-03-27T08:00:00Z", "2026-03-27T08:14:00Z"),
            now,
            "too-short",
        );
        refused(
            between("2026-03-27T12:00:00Z", "2026-03-27T22:01:00Z"),
            now,
            "too-long",
        );
        // Over the lunch break; and on a day that is not named.
        refused(
            between("2026-03-27T10:00:00Z", "2026-03-27T12:30:00Z"),
            now,
            "closed",
        );
        refused(
            between("2026-03-26T13:00:00Z", "2026-03-26T14:00:00Z"),
            now,
            "closed",
        );
    }

    #[test]
    fn a_day_that_ends_at_midnight_goes_on_in_the_next() {
        let night = between("2026-03-27T22:00:00Z", "2026-03-28T01:00:00Z");
        let open = office().open(night, &berlin());
        assert_eq!(open, [night]);
    }

    #[test]
    fn hours_are_those_of_the_wall_clock_on_either_side_of_a_change() {
        // Clocks go forward on 2026-03-29 in Berlin: 08:00 is 07:00Z before and 06:00Z after it.
        let bounds = between("2026-03-27T00:00:00Z", "2026-04-03T23:00:00Z");
        let open = office().open(bounds, &berlin());
        assert_eq!(open[0].start_ms, ms("2026-03-27T07:00:00Z"));
        assert_eq!(open[2].start_ms, ms("2026-04-03T06:00:00Z"));
        // 02:30 does not exist on the day itself.
        let gap = Clock24::try_from("02:30".to_owned()).unwrap();
        let day = "2026-03-29".parse().unwrap();
        assert_eq!(at(day, gap, &berlin()), Some(ms("2026-03-29T01:30:00Z")));
    }

    #[test]
    fn without_hours_it_is_always_open() {
        let any = between("2026-03-27T03:00:00Z", "2026-03-29T03:00:00Z");
        assert_eq!(Rules::default().open(any, &berlin()), [any]);
    }

    #[test]
    fn a_time_of_day_has_two_digits_and_two_and_ends_at_24() {
        for odd in ["8:00", "08:60", "24:01", "", "08-00", "+8:00"] {
            assert!(Clock24::try_from(odd.to_owned()).is_err(), "{odd}");
        }
    }
}
