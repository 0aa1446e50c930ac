//! What is wrong with a request: everything at once, by field.
//!
//! Two kinds are told apart, since only one of them can be avoided by reading the document of the API.
//! 400: something has not the form that the document names. 422: everything has, and yet it cannot be
//! (RFC 9110, section 15.5.21): values that do not go together, or that name what is not there.

use axum::http::StatusCode;
use carillon_web::Problem;
use serde::Serialize;

use super::form::Text;
use super::texts::{Email, Time, ZoneName};
use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;
use crate::rfc3339;

/// The most people that a resource takes.
pub(super) const MAX_PEOPLE: i64 = 100_000;
/// Longest part of an address before the `@`, in bytes (RFC 5321, section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// One thing that is wrong, as a member of the problem document's `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Fault {
    field: &'static str,
    detail: String,
}

/// 422 about one field.
pub(super) fn impossible_at(field: &'static str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    impossible(vec![Fault { field, detail }])
}

/// 422 for two times in a query that are in the wrong order.
pub(super) fn is_no_stretch() -> Problem {
    impossible_at("to", "it must be later than `from`")
}

fn malformed(faults: Vec<Fault>, code: &'static str) -> Problem {
    refusal(StatusCode::BAD_REQUEST, faults).with_code(code)
}

fn impossible(faults: Vec<Fault>) -> Problem {
    refusal(StatusCode::UNPROCESSABLE_ENTITY, faults)
        .with_code("impossible-values")
        .with_title("Impossible values")
}

fn refusal(status: StatusCode, faults: Vec<Fault>) -> Problem {
    let text = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.field, fault.detail))
        .collect::<Vec<_>>()
        .join("; ");
    let first = faults.first().map_or("", |fault| fault.field);
    Problem::new(status, format!("{text}."))
        .with("field", first)
        .with("errors", faults)
}

/// Collects what is wrong, so that one answer names all of it.
#[derive(Default)]
pub(super) struct Faults {
    malformed: Vec<Fault>,
    impossible: Vec<Fault>,
}

impl Faults {
    /// Something has not its form.
    pub(super) fn malformed(&mut self, field: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.malformed.push(Fault { field, detail });
    }

    /// Something has its form, and cannot be.
    pub(super) fn impossible(&mut self, field: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.impossible.push(Fault { field, detail });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.malformed.is_empty() && self.impossible.is_empty()
    }

    /// The problem, if anything is wrong with a body.
    pub(super) fn result(self) -> Result<(), Problem> {
        self.result_as("invalid-body")
    }

    /// The problem, if anything is wrong with a query.
    pub(super) fn result_of_query(self) -> Result<(), Problem> {
        self.result_as("invalid-query")
    }

    fn result_as(mut self, code: &'static str) -> Result<(), Problem> {
        match (self.malformed.is_empty(), self.impossible.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(impossible(self.impossible)),
            (false, _) => {
                self.malformed.append(&mut self.impossible);
                Err(malformed(self.malformed, code))
            }
        }
    }

    /// Whether a text has its form.
    pub(super) fn text<T: Text>(&mut self, field: &'static str, text: &T) -> bool {
        let fault = T::form().fault(text.as_ref());
        let is_formed = fault.is_none();
        if let Some(fault) = fault {
            self.malformed(field, fault);
        }
        is_formed
    }

    /// The same of one that may be left out.
    pub(super) fn text_if_given<T: Text>(&mut self, field: &'static str, text: Option<&T>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    /// How many people come, or fit.
    pub(super) fn people(&mut self, field: &'static str, count: i64) {
        if !(1..=MAX_PEOPLE).contains(&count) {
            self.malformed(field, format!("it must be from 1 to {MAX_PEOPLE}"));
        }
    }

    pub(super) fn time(&mut self, field: &'static str, time: &Time) -> Option<i64> {
        if !self.text(field, time) {
            return None;
        }
        let time_ms = rfc3339::parse(time.as_ref()).ok();
        if time_ms.is_none() {
            self.malformed(field, rfc3339::RULE);
        }
        time_ms
    }

    /// Two times that are a booking's; the fields are named by who asks.
    pub(super) fn interval(
        &mut self,
        start: (&'static str, &Time),
        end: (&'static str, &Time),
    ) -> Option<Interval> {
        let start_ms = self.time(start.0, start.1);
        let end_ms = self.time(end.0, end.1);
        let interval = Interval::new(start_ms?, end_ms?);
        if interval.duration_ms() <= 0 {
            self.impossible(end.0, format!("it must be later than {}", start.0));
        } else if interval.duration_ms() > MAX_DURATION_MS {
            self.impossible(end.0, "a booking lasts 31 days at most");
        }
        Some(interval)
    }

    pub(super) fn email(&mut self, email: &Email) {
        if !self.text("email", email) {
            return;
        }
        let local = email.as_ref().split_once('@').map_or("", |parts| parts.0);
        if local.len() > MAX_LOCAL_BYTES {
            self.impossible(
                "email",
                format!("it must have at most {MAX_LOCAL_BYTES} bytes before the @"),
            );
        }
    }

    /// An IANA time zone, as the database of time zones spells it.
    pub(super) fn time_zone(&mut self, name: &ZoneName) -> String {
        let given = name.as_ref();
        if !self.text("timeZone", name) {
            return given.to_owned();
        }
        let zone = jiff::tz::TimeZone::get(given).ok();
        if zone.is_none() {
            self.impossible(
                "timeZone",
                format!("{given:?} is no IANA time zone, such as `Europe/Berlin`"),
            );
        }
        let spelt = zone.as_ref().and_then(|zone| zone.iana_name());
        spelt.unwrap_or(given).to_owned()
    }
}
