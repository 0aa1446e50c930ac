//! The bodies of `POST /bookings` and `PATCH /bookings/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::faults::Faults;
use super::openapi::time;
use crate::changes::{BookingEdit, NewBooking};
use crate::interval::Interval;

/// The body of `POST /bookings` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BookingBody {
    /// What is booked.
    #[schema(example = "room-1")]
    resource_id: String,
    /// May be left out by a caller with a token, who books for themselves.
    user_id: Option<String>,
    /// What for, in one line of at most 200 characters.
    #[schema(example = "Team meeting")]
    title: String,
    /// When it begins.
    #[schema(schema_with = time)]
    start_time: String,
    /// When it ends: the first moment that is not booked any more.
    #[schema(schema_with = time)]
    end_time: String,
    /// How many people come.
    #[schema(minimum = 1)]
    #[serde(default = "one")]
    attendees_count: i64,
    /// The conflict that is resolved by it: `conflictId` of the answer that refused an earlier one.
    conflict_id: Option<String>,
}

pub(super) fn one() -> i64 {
    1
}

/// Whom something is for: whoever is named, else the caller.
pub(super) fn user_id(
    faults: &mut Faults,
    named: Option<&str>,
    caller: &Caller,
) -> Result<String, Problem> {
    let Some(user_id) = named.or(caller.user()) else {
        faults.add("userId", "it is missing; say whom it is for");
        return Ok(String::new());
    };
    faults.id("userId", user_id);
    if !caller.may_act_for(user_id) {
        return Err(Problem::forbidden(
            "What is for somebody else needs a token with the role `staff`; leave userId out to ask for yourself.",
        ));
    }
    Ok(user_id.to_owned())
}

impl BookingBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self, caller: &Caller) -> Result<NewBooking, Problem> {
        let mut faults = Faults::default();
        let user_id = user_id(&mut faults, self.user_id.as_deref(), caller)?;
        faults.id("resourceId", &self.resource_id);
        if let Some(id) = &self.conflict_id {
            faults.id("conflictId", id);
        }
        let title = self.title.trim();
        faults.title(title);
        faults.people(self.attendees_count);
        let interval =
            faults.interval(("startTime", &self.start_time), ("endTime", &self.end_time));
        faults.result()?;
        Ok(NewBooking {
            resource_id: self.resource_id.clone(),
            user_id,
            title: title.to_owned(),
            // It is there where nothing is wrong.
            interval: interval.unwrap_or(Interval::new(0, 0)),
            attendees_count: self.attendees_count,
            conflict_id: self.conflict_id.clone(),
        })
    }
}

/// The body of `PATCH /bookings/{id}` as it comes: what is left out stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BookingPatch {
    resource_id: Option<String>,
    title: Option<String>,
    #[schema(schema_with = time)]
    start_time: Option<String>,
    #[schema(schema_with = time)]
    end_time: Option<String>,
    #[schema(minimum = 1)]
    attendees_count: Option<i64>,
}

impl BookingPatch {
    /// Checks everything that can be checked without the booking.
    pub(super) fn checked(&self) -> Result<BookingEdit, Problem> {
        let mut faults = Faults::default();
        if let Some(id) = &self.resource_id {
            faults.id("resourceId", id);
        }
        let title = self.title.as_deref().map(str::trim);
        if let Some(title) = title {
            faults.title(title);
        }
        if let Some(count) = self.attendees_count {
            faults.people(count);
        }
        let mut time = |field, text: &Option<String>| {
            text.as_deref().and_then(|text| faults.time(field, text))
        };
        let edit = BookingEdit {
            resource_id: self.resource_id.clone(),
            title: title.map(str::to_owned),
            start_ms: time("startTime", &self.start_time),
            end_ms: time("endTime", &self.end_time),
            attendees_count: self.attendees_count,
        };
        faults.result()?;
        Ok(edit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "resourceId": "room-1", "userId": "user-1", "title": " Team Meeting ",
            "startTime": "2026-08-19T14:00:00Z", "endTime": "2026-08-19T16:00:00Z", "attendeesCount": 5,
        })
    }

    fn check(body: Value) -> Result<NewBooking, Problem> {
        let body: BookingBody = serde_json::from_value(body).unwrap();
        body.checked(&Caller::for_tests())
    }

    #[test]
    fn a_good_body_passes_with_its_title_trimmed() {
        let checked = check(good()).unwrap();
        assert_eq!(checked.title, "Team Meeting");
        assert_eq!(checked.interval.duration_ms(), 7_200_000);
        let mut alone = good();
        alone.as_object_mut().unwrap().remove("attendeesCount");
        assert_eq!(check(alone).unwrap().attendees_count, 1);
    }

    #[test]
    fn every_wrong_field_is_named_with_what_to_do() {
        for (field, value, expected) in [
            ("resourceId", json!(""), "empty"),
            ("resourceId", json!("r".repeat(200)), "128"),
            ("userId", json!("a\u{0}"), "control"),
            ("userId", Value::Null, "missing"),
            ("title", json!("  "), "empty"),
            ("title", json!("ä".repeat(201)), "200"),
            ("title", json!("a\nb"), "one line"),
            ("startTime", json!("tomorrow"), "RFC 3339"),
            ("endTime", json!("2026-08-19T16:00"), "RFC 3339"),
            (
                "endTime",
                json!("2026-08-19T14:00:00Z"),
                "later than startTime",
            ),
            ("endTime", json!("2026-10-19T14:00:00Z"), "31 days"),
            ("attendeesCount", json!(0), "at least 1"),
            ("conflictId", json!(""), "empty"),
        ] {
            let mut body = good();
            body[field] = value;
            let problem = check(body).unwrap_err().to_json();
            assert_eq!(problem["status"], 400);
            assert_eq!(problem["field"], field);
            assert!(
                problem["detail"].to_string().contains(expected),
                "{problem}"
            );
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut body = good();
        body["title"] = json!("");
        body["attendeesCount"] = json!(-1);
        body["startTime"] = json!("?");
        let problem = check(body).unwrap_err().to_json();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 3);
        let patch = json!({ "title": "", "attendeesCount": 0, "endTime": "?" });
        let patch: BookingPatch = serde_json::from_value(patch).unwrap();
        let problem = patch.checked().unwrap_err().to_json();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 3);
    }
}
