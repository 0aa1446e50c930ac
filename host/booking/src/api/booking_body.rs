//! The bodies of `POST /bookings` and `PATCH /bookings/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::faults::Faults;
use super::form::Text;
use super::texts::{Id, ResourceId, Time, Title, UserId};
use crate::changes::{BookingEdit, NewBooking};
use crate::interval::Interval;
use crate::whole;

/// The body of `POST /bookings` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "resourceId": "room-1", "userId": "user-1", "title": "Team meeting", "attendeesCount": 4,
    "startTime": "2031-05-06T09:00:00Z", "endTime": "2031-05-06T10:00:00Z"
}))]
pub(super) struct BookingBody {
    /// What is booked.
    resource_id: ResourceId,
    /// May be left out by a caller with a token, who books for themselves.
    user_id: Option<UserId>,
    title: Title,
    /// When it begins.
    start_time: Time,
    /// When it ends, at most 31 days later: the first moment that is not booked any more.
    end_time: Time,
    /// How many people come.
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default = "one", deserialize_with = "whole::required")]
    attendees_count: i64,
    /// The conflict that is resolved by it: `conflictId` of the answer that refused an earlier one.
    conflict_id: Option<Id>,
}

pub(super) fn one() -> i64 {
    1
}

/// Whom something is for: whoever is named, else the caller.
pub(super) fn user_id(
    faults: &mut Faults,
    named: Option<&UserId>,
    caller: &Caller,
) -> Result<String, Problem> {
    faults.text_if_given("userId", named);
    let Some(user_id) = named.map(AsRef::as_ref).or(caller.user()) else {
        faults.impossible("userId", "it is missing; say whom it is for");
        return Ok(String::new());
    };
    if !caller.may_act_for(user_id) {
        return Err(Problem::forbidden(
            "What is for somebody else needs a token with the role `staff`; leave userId out to ask for yourself.",
        ));
    }
    Ok(user_id.to_owned())
}

/// Checks what is wanted, whether it is booked or waited for; answers its time, which counts only where
/// nothing is wrong.
pub(super) fn meeting(
    faults: &mut Faults,
    title: &Title,
    people: i64,
    (start, end): (&Time, &Time),
) -> Interval {
    faults.text("title", title);
    faults.people("attendeesCount", people);
    let interval = faults.interval(("startTime", start), ("endTime", end));
    interval.unwrap_or(Interval::new(0, 0))
}

impl BookingBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self, caller: &Caller) -> Result<NewBooking, Problem> {
        let mut faults = Faults::default();
        let user_id = user_id(&mut faults, self.user_id.as_ref(), caller)?;
        faults.text("resourceId", &self.resource_id);
        faults.text_if_given("conflictId", self.conflict_id.as_ref());
        let people = self.attendees_count;
        let interval = meeting(
            &mut faults,
            &self.title,
            people,
            (&self.start_time, &self.end_time),
        );
        faults.result()?;
        Ok(NewBooking {
            resource_id: self.resource_id.given(),
            user_id,
            title: self.title.trimmed(),
            interval,
            attendees_count: people,
            conflict_id: self.conflict_id.as_ref().map(Text::given),
        })
    }
}

/// The body of `PATCH /bookings/{id}` as it comes: what is left out stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "title": "Retrospective" }))]
pub(super) struct BookingPatch {
    resource_id: Option<ResourceId>,
    title: Option<Title>,
    start_time: Option<Time>,
    end_time: Option<Time>,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default, deserialize_with = "whole::optional")]
    attendees_count: Option<i64>,
}

impl BookingPatch {
    /// Checks everything that can be checked without the booking.
    pub(super) fn checked(&self) -> Result<BookingEdit, Problem> {
        let mut faults = Faults::default();
        faults.text_if_given("resourceId", self.resource_id.as_ref());
        faults.text_if_given("title", self.title.as_ref());
        if let Some(count) = self.attendees_count {
            faults.people("attendeesCount", count);
        }
        let mut time =
            |field, text: &Option<Time>| text.as_ref().and_then(|text| faults.time(field, text));
        let edit = BookingEdit {
            resource_id: self.resource_id.as_ref().map(Text::given),
            title: self.title.as_ref().map(Text::trimmed),
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
        for (field, value, status, expected) in [
            ("resourceId", json!(""), 400, "empty"),
            ("resourceId", json!("r".repeat(200)), 400, "128"),
            ("userId", json!("a\u{0}"), 400, "control"),
            ("userId", Value::Null, 422, "missing"),
            ("title", json!("  "), 400, "empty"),
            ("title", json!("ä".repeat(201)), 400, "200"),
            ("title", json!("a\nb"), 400, "one line"),
            ("startTime", json!("tomorrow"), 400, "RFC 3339"),
            ("endTime", json!("2026-08-19T16:00"), 400, "RFC 3339"),
            ("endTime", json!("2026-09-31T16:00:00Z"), 400, "RFC 3339"),
            (
                "endTime",
                json!("2026-08-19T14:00:00Z"),
                422,
                "later than startTime",
            ),
            ("endTime", json!("2026-10-19T14:00:00Z"), 422, "31 days"),
            ("attendeesCount", json!(0), 400, "from 1 to 100000"),
            ("attendeesCount", json!(100_001), 400, "from 1 to 100000"),
            ("conflictId", json!(""), 400, "empty"),
        ] {
            let mut body = good();
            body[field] = value;
            let problem = check(body).unwrap_err().to_json();
            assert_eq!(problem["status"], status, "{problem}");
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
        // What has not its form outweighs what cannot be.
        let mut body = good();
        body["title"] = json!("");
        body["endTime"] = body["startTime"].clone();
        let problem = check(body).unwrap_err().to_json();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
        assert_eq!(problem["status"], 400);
        let patch = json!({ "title": "", "attendeesCount": 0, "endTime": "?" });
        let patch: BookingPatch = serde_json::from_value(patch).unwrap();
        let problem = patch.checked().unwrap_err().to_json();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 3);
    }
}
