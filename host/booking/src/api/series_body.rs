//! The body of `POST /series`, and what is wrong with it.

use carillon_web::Problem;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::booking_body::{one, user_id};
use super::caller::Caller;
use super::faults::Faults;
use super::form::Text as _;
use super::texts::{LocalTime, RecurrenceRule, ResourceId, Title, UserId, ZoneName};
use crate::changes::{NewBooking, NewSeries, OnConflict};
use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;
use crate::recurrence::{self, expand, moment};
use crate::whole;

/// The body of `POST /series` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "resourceId": "room-1", "userId": "user-1", "title": "Team meeting", "attendeesCount": 4,
    "startTime": "2031-05-06T09:00:00", "endTime": "2031-05-06T10:00:00",
    "timeZone": "Europe/Berlin", "rule": "FREQ=WEEKLY;BYDAY=TU;COUNT=10", "conflicts": "skip"
}))]
pub(super) struct SeriesBody {
    resource_id: ResourceId,
    /// May be left out by a caller with a token, who books for themselves.
    user_id: Option<UserId>,
    title: Title,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default = "one", deserialize_with = "whole::required")]
    attendees_count: i64,
    /// The first occurrence, by the clocks of `time_zone`.
    start_time: LocalTime,
    /// At most 31 days later.
    end_time: LocalTime,
    time_zone: ZoneName,
    rule: RecurrenceRule,
    #[serde(default)]
    conflicts: OnConflict,
    /// The conflict that is resolved by it: `conflictId` of the answer that refused an earlier one.
    conflict_id: Option<String>,
}

impl SeriesBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self, caller: &Caller) -> Result<NewSeries, Problem> {
        let mut faults = Faults::default();
        let user_id = user_id(&mut faults, self.user_id.as_ref(), caller)?;
        faults.text("resourceId", &self.resource_id);
        faults.text("title", &self.title);
        faults.people("attendeesCount", self.attendees_count);
        faults.text("rule", &self.rule);
        faults.time_zone(&self.time_zone);
        let start = local(&mut faults, "startTime", &self.start_time);
        let end = local(&mut faults, "endTime", &self.end_time);
        let zone = TimeZone::get(self.time_zone.as_ref()).unwrap_or(TimeZone::UTC);
        let first = match (faults.is_empty(), start, end) {
            (true, Some(start), Some(end)) => first(&mut faults, &zone, start, end),
            _ => None,
        };
        let expansion = match (first, start) {
            (Some(_), Some(start)) => match expand(self.rule.as_ref(), start, &zone) {
                Ok(expansion) => Some(expansion),
                Err(reason) => {
                    faults.impossible("rule", reason);
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
                resource_id: self.resource_id.given(),
                user_id,
                title: self.title.trimmed(),
                interval,
                attendees_count: self.attendees_count,
                conflict_id: self.conflict_id.clone(),
            },
            rule: self.rule.trimmed(),
            time_zone: self.time_zone.given(),
            first_local,
            expansion,
            on_conflict: self.conflicts,
        })
    }
}

fn local(faults: &mut Faults, field: &'static str, time: &LocalTime) -> Option<DateTime> {
    if !faults.text(field, time) {
        return None;
    }
    let local = recurrence::local(time.as_ref());
    if local.is_none() {
        faults.impossible(field, "the calendar has no such day");
    }
    local
}

fn first(faults: &mut Faults, zone: &TimeZone, start: DateTime, end: DateTime) -> Option<Interval> {
    let mut at = |field, local| {
        let moment = moment(zone, local);
        if moment.is_none() {
            faults.impossible(
                field,
                "there is no such time on that day: the clocks go forward over it",
            );
        }
        moment
    };
    let (start_ms, end_ms) = (at("startTime", start), at("endTime", end));
    let interval = Interval::new(start_ms?, end_ms?);
    if interval.duration_ms() <= 0 {
        faults.impossible("endTime", "it must be later than startTime");
    } else if interval.duration_ms() > MAX_DURATION_MS {
        faults.impossible("endTime", "a booking lasts 31 days at most");
    } else {
        return Some(interval);
    }
    None
}
