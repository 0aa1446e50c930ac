//! What is wrong with a body: everything at once, by field.

use carillon_web::Problem;
use serde::Serialize;

use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;
use crate::rfc3339;

/// Longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// Longest id that is looked up, in bytes.
const MAX_ID_BYTES: usize = 128;

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
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, field: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.0.push(Fault { field, detail });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problem, if anything is wrong.
    pub(super) fn result(self) -> Result<(), Problem> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(refusal(self.0)),
        }
    }

    pub(super) fn id(&mut self, field: &'static str, id: &str) {
        if id.is_empty() {
            self.add(field, "it must not be empty");
        } else if id.len() > MAX_ID_BYTES {
            self.add(field, format!("it must have at most {MAX_ID_BYTES} bytes"));
        } else if id.chars().any(char::is_control) {
            self.add(field, "it must not hold control characters");
        }
    }

    /// One line that people read; `most` characters.
    pub(super) fn line(&mut self, field: &'static str, text: &str, most: usize) {
        if text.is_empty() {
            self.add(field, "it must not be empty");
        } else if text.chars().count() > most {
            self.add(field, format!("it must have at most {most} characters"));
        } else if text.chars().any(char::is_control) {
            self.add(field, "it must be one line without control characters");
        }
    }

    pub(super) fn title(&mut self, title: &str) {
        self.line("title", title, MAX_TITLE_CHARS);
    }

    pub(super) fn people(&mut self, count: i64) {
        if count < 1 {
            self.add("attendeesCount", "it must be at least 1");
        }
    }

    pub(super) fn time(&mut self, field: &'static str, text: &str) -> Option<i64> {
        match rfc3339::parse(text) {
            Ok(time_ms) => Some(time_ms),
            Err(shape) => {
                self.add(field, format!("it must be {shape}"));
                None
            }
        }
    }

    /// Two times that are a booking's; the fields are named by who asks.
    pub(super) fn interval(
        &mut self,
        start: (&'static str, &str),
        end: (&'static str, &str),
    ) -> Option<Interval> {
        let start_ms = self.time(start.0, start.1);
        let end_ms = self.time(end.0, end.1);
        let interval = Interval::new(start_ms?, end_ms?);
        if interval.duration_ms() <= 0 {
            self.add(end.0, format!("it must be later than {}", start.0));
        } else if interval.duration_ms() > MAX_DURATION_MS {
            self.add(end.0, "a booking lasts 31 days at most");
        }
        Some(interval)
    }

    pub(super) fn time_zone(&mut self, field: &'static str, name: &str) {
        if jiff::tz::TimeZone::get(name).is_err() {
            self.add(
                field,
                format!("{name:?} is no IANA time zone, such as `Europe/Berlin`"),
            );
        }
    }
}
