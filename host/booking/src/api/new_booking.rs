//! The body of `POST /bookings`, and what is wrong with it.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use crate::queries::MAX_DURATION_MS;
use crate::rfc3339;

/// Longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// Longest id that is looked up, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The body as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewBooking {
    resource_id: String,
    /// May be left out by a caller with a token, who books for themselves.
    user_id: Option<String>,
    title: String,
    start_time: String,
    end_time: String,
    #[serde(default = "one")]
    attendees_count: i64,
}

fn one() -> i64 {
    1
}

/// The body once it is known to make sense.
#[derive(Debug)]
pub(super) struct CheckedBooking {
    pub(super) resource_id: String,
    pub(super) user_id: String,
    pub(super) title: String,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) attendees_count: i64,
}

/// One thing that is wrong, as a member of the problem document's `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Fault {
    field: &'static str,
    detail: String,
}

/// A problem about one field.
pub(super) fn fault_at(field: &'static str, detail: String) -> Problem {
    refusal(vec![Fault { field, detail }])
}

fn refusal(faults: Vec<Fault>) -> Problem {
    let text = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.field, fault.detail))
        .collect::<Vec<_>>()
        .join("; ");
    let first = faults.first().map_or("", |fault| fault.field);
    Problem::bad_request(format!("{text}."))
        .with_code("invalid-body")
        .with("field", first)
        .with("errors", faults)
}

/// Collects what is wrong, so that one answer names all of it.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, field: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.0.push(Fault { field, detail });
    }

    fn id(&mut self, field: &'static str, id: &str) {
        if id.is_empty() {
            self.add(field, "it must not be empty");
        } else if id.len() > MAX_ID_BYTES {
            self.add(field, format!("it must have at most {MAX_ID_BYTES} bytes"));
        } else if id.chars().any(char::is_control) {
            self.add(field, "it must not hold control characters");
        }
    }

    fn title(&mut self, title: &str) {
        if title.is_empty() {
            self.add("title", "it must not be empty");
        } else if title.chars().count() > MAX_TITLE_CHARS {
            self.add(
                "title",
                format!("it must have at most {MAX_TITLE_CHARS} characters"),
            );
        } else if title.chars().any(char::is_control) {
            self.add("title", "it must be one line without control characters");
        }
    }

    fn time(&mut self, field: &'static str, text: &str) -> Option<i64> {
        match rfc3339::parse(text) {
            Ok(time_ms) => Some(time_ms),
            Err(shape) => {
                self.add(field, format!("it must be {shape}"));
                None
            }
        }
    }

    fn order(&mut self, start_ms: i64, end_ms: i64) {
        if end_ms <= start_ms {
            self.add("endTime", "it must be later than startTime");
        } else if end_ms - start_ms > MAX_DURATION_MS {
            self.add("endTime", "a booking lasts 31 days at most");
        }
    }
}

impl NewBooking {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(self, caller: &Caller) -> Result<CheckedBooking, Problem> {
        let mut faults = Faults::default();
        let user_id = match (self.user_id, caller.user()) {
            (Some(user_id), _) => user_id,
            (None, Some(own)) => own.to_owned(),
            (None, None) => {
                faults.add("userId", "it is missing; say whom the booking is for");
                String::new()
            }
        };
        if faults.0.is_empty() {
            faults.id("userId", &user_id);
        }
        faults.id("resourceId", &self.resource_id);
        let title = self.title.trim();
        faults.title(title);
        if self.attendees_count < 1 {
            faults.add("attendeesCount", "it must be at least 1");
        }
        let start_ms = faults.time("startTime", &self.start_time);
        let end_ms = faults.time("endTime", &self.end_time);
        let (Some(start_ms), Some(end_ms)) = (start_ms, end_ms) else {
            return Err(refusal(faults.0));
        };
        faults.order(start_ms, end_ms);
        if !faults.0.is_empty() {
            return Err(refusal(faults.0));
        }
        if !caller.may_act_for(&user_id) {
            return Err(Problem::forbidden(
                "A booking for somebody else needs a token with the role `admin`; leave userId out to book for yourself.",
            ));
        }
        Ok(CheckedBooking {
            resource_id: self.resource_id,
            user_id,
            title: title.to_owned(),
            start_ms,
            end_ms,
            attendees_count: self.attendees_count,
        })
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

    fn check(body: Value) -> Result<CheckedBooking, Problem> {
        let body: NewBooking = serde_json::from_value(body).unwrap();
        body.checked(&Caller::Anybody)
    }

    #[test]
    fn a_good_body_passes_with_its_title_trimmed() {
        let checked = check(good()).unwrap();
        assert_eq!(checked.title, "Team Meeting");
        assert_eq!(checked.end_ms - checked.start_ms, 7_200_000);
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
    }
}
