//! The body of `POST /series`, and what is wrong with it.

use carillon_web::Problem;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::booking_body::{one, user_id};
use super::caller::Caller;
use super::faults::Faults;
use crate::changes::{NewBooking, NewSeries, OnConflict};
use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;
use crate::recurrence::{self, expand, moment};

/// The body of `POST /series` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SeriesBody {
    pub(super) resource_id: String,
    /// May be left out by a caller with a token, who books for themselves.
    user_id: Option<String>,
    title: String,
    #[schema(minimum = 1)]
    #[serde(default = "one")]
    attendees_count: i64,
    /// The first occurrence, by the clocks of `time_zone`.
    #[schema(example = "2031-05-06T09:00:00")]
    start_time: String,
    #[schema(example = "2031-05-06T10:00:00")]
    end_time: String,
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// RFC 5545, section 3.3.10.
    #[schema(example = "FREQ=WEEKLY;BYDAY=TU;COUNT=10")]
    rule: String,
    #[serde(default)]
    conflicts: OnConflict,
    /// The conflict that is resolved by it: `conflictId` of the answer that refused an earlier one.
    conflict_id: Option<String>,
}

impl SeriesBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self, caller: &Caller) -> Result<NewSeries, Problem> {
        let mut faults = Faults::default();
        let user_id = user_id(&mut faults, self.user_id.as_deref(), caller)?;
        faults.id("resourceId", &self.resource_id);
        let title = self.title.trim();
        faults.title(title);
        faults.people(self.attendees_count);
        faults.time_zone("timeZone", &self.time_zone);
        let start = local(&mut faults, "startTime", &self.start_time);
        let end = local(&mut faults, "endTime", &self.end_time);
        let zone = TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC);
        let first = match (faults.is_empty(), start, end) {
            (true, Some(start), Some(end)) => first(&mut faults, &zone, start, end),
            _ => None,
        };
        let expansion = match (first, start) {
            (Some(_), Some(start)) => match expand(&self.rule, start, &zone) {
                Ok(expansion) => Some(expansion),
                Err(reason) => {
                    faults.add("rule", reason);
                    None
                }
            },
            _ => None,
        };
        faults.result()?;
        let (Some(interval), Some(first_local), Some(expansion)) = (first, start, expansion) else {
            return Err(Problem::internal(
                "a series without faults has no occurrences",
            ));
        };
        Ok(NewSeries {
            first: NewBooking {
                resource_id: self.resource_id.clone(),
                user_id,
                title: title.to_owned(),
                interval,
                attendees_count: self.attendees_count,
                conflict_id: self.conflict_id.clone(),
            },
            rule: self.rule.trim().to_owned(),
            time_zone: self.time_zone.clone(),
            first_local,
            expansion,
            on_conflict: self.conflicts,
        })
    }
}

fn local(faults: &mut Faults, field: &'static str, text: &str) -> Option<DateTime> {
    match recurrence::local(text) {
        Ok(local) => Some(local),
        Err(shape) => {
            faults.add(field, format!("it must be {shape}"));
            None
        }
    }
}

fn first(faults: &mut Faults, zone: &TimeZone, start: DateTime, end: DateTime) -> Option<Interval> {
    let mut at = |field, local| {
        let moment = moment(zone, local);
        if moment.is_none() {
            faults.add(
                field,
                "there is no such time on that day: the clocks go forward over it",
            );
        }
        moment
    };
    let (start_ms, end_ms) = (at("startTime", start), at("endTime", end));
    let interval = Interval::new(start_ms?, end_ms?);
    if interval.duration_ms() <= 0 {
        faults.add("endTime", "it must be later than startTime");
    } else if interval.duration_ms() > MAX_DURATION_MS {
        faults.add("endTime", "a booking lasts 31 days at most");
    } else {
        return Some(interval);
    }
    None
}
