//! What the record of a database must say, whatever was done to it and whenever it was killed: no
//! time was given twice, nobody who waited was passed over, and each change was told once.
//!
//! The record is replayed from the first entry to the last, with rules that are written down here a
//! second time and know nothing of the service's code. They are those of the demo's resources: no
//! opening hours, no buffers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;
use sqlx::Row;

use crate::running::{connect, events_in};

/// What a replay has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) holds: usize,
    pub(crate) accepted: usize,
    pub(crate) expired: usize,
    pub(crate) removed: usize,
}

struct Step {
    at: String,
    at_ms: i64,
    correlation: String,
    action: String,
    subject: String,
    id: String,
    after: Value,
}

fn text<'a>(state: &'a Value, field: &str) -> &'a str {
    state[field].as_str().unwrap_or_default()
}

/// RFC 3339 in UTC with whole seconds or a fraction: as text it is not in order, as a number it is.
fn ms(state: &Value, field: &str) -> i64 {
    let time: jiff::Timestamp = text(state, field).parse().unwrap();
    time.as_millisecond()
}

/// Who has left may hold a little more, in which the resource is made ready.
fn holds_its_time(booking: &Value) -> bool {
    ["held", "pending", "confirmed", "checked_in"].contains(&text(booking, "status"))
        || booking["blockedUntil"].is_string()
}

fn overlap(one: &Value, end: &str, other: &Value, other_end: &str) -> bool {
    one["resourceId"] == other["resourceId"]
        && ms(one, "startTime") < ms(other, other_end)
        && ms(other, "startTime") < ms(one, end)
}

/// The less, the sooner.
fn rank(entry: &Value) -> (i64, i64, &str) {
    let priority = entry["priority"].as_i64().unwrap();
    (-priority, ms(entry, "joinedAt"), text(entry, "id"))
}

#[derive(Default)]
struct State {
    bookings: HashMap<String, Value>,
    entries: BTreeMap<String, Value>,
    /// The last change in which something was given to somebody who waited.
    gave: String,
}

impl State {
    fn is_free(&self, wanted: &Value, except: &str) -> bool {
        !self.bookings.values().any(|booking| {
            text(booking, "id") != except
                && holds_its_time(booking)
                && overlap(wanted, "endTime", booking, "blockedUntil")
        })
    }

    fn waiting(&self) -> impl Iterator<Item = &Value> {
        let entries = self.entries.values();
        entries.filter(|entry| entry["status"] == "waiting")
    }

    /// Each entry of the record is a change of its own: nothing is noted, and so told, twice.
    fn check_version(&self, step: &Step) {
        let before = match step.subject.as_str() {
            "booking" => self.bookings.get(&step.id),
            "waitlist" => self.entries.get(&step.id),
            _ => return,
        };
        let version = before.map_or(0, |before| before["version"].as_i64().unwrap());
        let after = step.after["version"].as_i64();
        assert_eq!(after, Some(version + 1), "{}", step.at);
    }

    /// A hold goes to the first of those who wait whose whole time is free then.
    fn check_hold(&self, step: &Step) {
        let held = &step.after;
        assert!(self.is_free(held, &step.id), "{}: given twice", step.at);
        let own = self.waiting().find(|entry| {
            entry["userId"] == held["userId"]
                && entry["resourceId"] == held["resourceId"]
                && entry["startTime"] == held["startTime"]
                && entry["endTime"] == held["endTime"]
        });
        let own = own.unwrap_or_else(|| panic!("{}: nobody waited for it", step.at));
        for other in self.waiting() {
            let passed_over = rank(other) < rank(own)
                && overlap(other, "endTime", held, "endTime")
                && ms(other, "startTime") > step.at_ms
                && self.is_free(other, &step.id);
            assert!(!passed_over, "{}: {own} was asked before {other}", step.at);
        }
    }

    /// Time is given once a change has given up all that it gives up: who waits for more than one
    /// of its times would be passed over otherwise.
    fn check_given_up(&self, step: &Step) {
        let (Some(before), after) = (self.bookings.get(&step.id), &step.after) else {
            return;
        };
        let keeps_it = holds_its_time(after)
            && before["resourceId"] == after["resourceId"]
            && ms(after, "startTime") <= ms(before, "startTime")
            && ms(after, "blockedUntil") >= ms(before, "blockedUntil");
        assert!(
            keeps_it || !holds_its_time(before) || self.gave != step.correlation,
            "{}: others were asked before this time was given up",
            step.at
        );
    }

    /// After each change nobody waits for what they could have.
    fn check_rest(&self, last: &Step) {
        for entry in self.waiting() {
            let forgotten = ms(entry, "startTime") > last.at_ms && self.is_free(entry, "");
            assert!(!forgotten, "after {} {entry} waits for free time", last.at);
        }
    }
}

/// Replays the record and compares it with the tables and the events.
pub(crate) async fn check(folder: &Path) -> Seen {
    let mut database = connect(folder).await;
    let steps = steps(&mut database).await;
    let mut state = State::default();
    let mut seen = Seen::default();
    let mut expected: HashMap<(String, String), usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        state.check_version(step);
        match step.subject.as_str() {
            "booking" => {
                state.check_given_up(step);
                if step.action == "hold.given" {
                    state.check_hold(step);
                    state.gave.clone_from(&step.correlation);
                    seen.holds += 1;
                } else if holds_its_time(&step.after) {
                    let is_free = state.bookings_without(&step.id, &step.after);
                    assert!(is_free, "{}: given twice", step.at);
                }
                state.bookings.insert(step.id.clone(), step.after.clone());
            }
            "waitlist" => {
                match step.action.as_str() {
                    "waitlist.accepted" => seen.accepted += 1,
                    "waitlist.expired" => seen.expired += 1,
                    "waitlist.removed" => seen.removed += 1,
                    _ => {}
                }
                state.entries.insert(step.id.clone(), step.after.clone());
            }
            _ => {}
        }
        let silent = step.action.starts_with("hold.") || step.action == "waitlist.accepted";
        if !silent && ["booking", "waitlist"].contains(&step.subject.as_str()) {
            let key = (step.action.clone(), step.id.clone());
            *expected.entry(key).or_default() += 1;
        }
        let next = steps.get(index + 1);
        if next.is_none_or(|next| next.correlation != step.correlation) {
            state.check_rest(step);
        }
    }

    let mut told: HashMap<(String, String), usize> = HashMap::new();
    for event in events_in(folder).await {
        if ["booking", "waitlist"].contains(&event.kind.family()) {
            let key = (event.kind.to_string(), event.subject_id.clone().unwrap());
            *told.entry(key).or_default() += 1;
        }
    }
    assert_eq!(told, expected, "each change is told once");
    compare(&state, &mut database).await;
    seen
}

impl State {
    fn bookings_without(&self, id: &str, wanted: &Value) -> bool {
        !self.bookings.values().any(|booking| {
            text(booking, "id") != id
                && holds_its_time(booking)
                && overlap(wanted, "blockedUntil", booking, "blockedUntil")
        })
    }
}

async fn steps(database: &mut sqlx::SqliteConnection) -> Vec<Step> {
    let rows = sqlx::query("SELECT * FROM audit ORDER BY seq")
        .fetch_all(database)
        .await
        .unwrap();
    let step = |row: &sqlx::sqlite::SqliteRow| {
        let (seq, action): (i64, String) = (row.get("seq"), row.get("action"));
        Step {
            at: format!("{action} at {seq}"),
            at_ms: row.get("at_ms"),
            correlation: row.get("correlation_id"),
            action,
            subject: row.get("subject_kind"),
            id: row.get("subject_id"),
            after: row
                .get::<Option<&str>, _>("after")
                .map_or(Value::Null, |after| serde_json::from_str(after).unwrap()),
        }
    };
    rows.iter().map(step).collect()
}

/// The tables hold what the record says, and entries and bookings fit each other.
async fn compare(state: &State, database: &mut sqlx::SqliteConnection) {
    let bookings: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT id, status, version FROM bookings")
            .fetch_all(&mut *database)
            .await
            .unwrap();
    assert_eq!(bookings.len(), state.bookings.len());
    for (id, status, version) in &bookings {
        let recorded = &state.bookings[id];
        assert_eq!(
            (text(recorded, "status"), recorded["version"].as_i64()),
            (status.as_str(), Some(*version))
        );
    }
    let entries: Vec<(String, String, Option<String>)> =
        sqlx::query_as("SELECT id, status, booking_id FROM waitlist")
            .fetch_all(&mut *database)
            .await
            .unwrap();
    assert_eq!(entries.len(), state.entries.len());
    let mut held_for_somebody = 0;
    for (id, status, booking_id) in &entries {
        assert_eq!(text(&state.entries[id], "status"), status);
        let booking = booking_id.as_ref().map(|id| &state.bookings[id]);
        if let Some(booking) = booking {
            for field in ["userId", "resourceId", "startTime"] {
                let is_moved = field != "userId" && status == "accepted";
                assert!(is_moved || booking[field] == state.entries[id][field]);
            }
        }
        let booking = booking.map(|booking| text(booking, "status"));
        let fits = match status.as_str() {
            "waiting" => booking.is_none(),
            "promoted" => {
                held_for_somebody += 1;
                booking == Some("held")
            }
            "accepted" => booking.is_some_and(|status| !["held", "expired"].contains(&status)),
            _ => booking.is_none_or(|status| status == "expired"),
        };
        assert!(fits, "an entry that is {status} has {booking:?}");
    }
    let held = bookings.iter().filter(|(_, status, _)| status == "held");
    assert_eq!(held.count(), held_for_somebody, "nobody has this hold");
}
