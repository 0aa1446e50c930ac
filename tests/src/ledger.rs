//! What the booking service wrote into its database, read from outside, and what it told in Kafka:
//! the audit record is the truth that the rest is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

use crate::child::wait_until;
use crate::kafka::Kafka;

/// A change, as its entry or its event has it: the kind, the request that it was done for, and more.
type What<'a> = (&'a str, &'a str, Vec<&'a Value>);

/// How long the relay may need for what is left when a test has come to its end.
const RELAY_BOUND: Duration = Duration::from_secs(60);

/// One entry of the audit record.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The request that it was done for.
    pub correlation_id: String,
    /// What was done.
    pub action: String,
    /// What it was done to: `booking`, `waitlist`.
    pub subject_kind: String,
    /// Which of them.
    pub subject_id: String,
    /// How it was before; null where it was not.
    pub before: Value,
    /// How it is after.
    pub after: Value,
}

/// What the booking database holds.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The audit record, in the order in which things were done.
    pub audit: Vec<Noted>,
    /// Pairs of bookings that hold one resource at one time.
    pub double_bookings: i64,
    /// Conflicts that were told, and those of them that were resolved.
    pub conflicts: (i64, i64),
}

/// One event in Kafka.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The key of its record.
    pub key: String,
    /// The request that it follows from.
    pub correlation_id: String,
    /// The user whom it is about.
    pub user: String,
    /// `eventData`.
    pub data: Value,
    /// Partition and offset.
    pub position: (i32, i64),
}

/// The events of a topic.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    /// Each once, where it stands first.
    pub events: Vec<Told>,
    /// Records that say again what an earlier one has said.
    pub repeats: usize,
}

/// A stretch of time of a resource: the resource, when it begins, and the first moment after it.
pub type Place = (String, String, String);

impl Ledger {
    /// Reads the booking database of a data folder; the service may run meanwhile.
    ///
    /// # Errors
    /// When there is none, or it is not as expected.
    pub async fn read(data: &Path) -> Result<Self> {
        let mut database = open(data).await?;
        let mut database = database.begin().await?;
        let rows = sqlx::query(
            "SELECT at_ms, correlation_id, action, subject_kind, subject_id, before, after
             FROM audit ORDER BY seq",
        );
        let rows = rows.fetch_all(&mut *database).await?;
        let json = |text: Option<String>| -> Result<Value> {
            Ok(text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?)
        };
        let noted = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Noted {
                at_ms: row.try_get(0)?,
                correlation_id: row.try_get(1)?,
                action: row.try_get(2)?,
                subject_kind: row.try_get(3)?,
                subject_id: row.try_get(4)?,
                before: json(row.try_get(5)?)?,
                after: json(row.try_get(6)?)?,
            })
        };
        let audit = rows.iter().map(noted).collect::<Result<_>>()?;
        // Every pair is compared: the service's own look-up is not trusted here.
        let double_bookings = sqlx::query_scalar(
            "SELECT count(*) FROM bookings AS one JOIN bookings AS other
               ON one.resource_id = other.resource_id AND one.id < other.id
              AND one.start_ms < other.blocked_until_ms AND other.start_ms < one.blocked_until_ms
             WHERE one.status IN ('held', 'pending', 'confirmed', 'checked_in', 'checked_out')
               AND other.status IN ('held', 'pending', 'confirmed', 'checked_in', 'checked_out')",
        );
        let double_bookings = double_bookings.fetch_one(&mut *database).await?;
        let conflicts = sqlx::query_as("SELECT count(*), count(resolved_ms) FROM conflicts");
        Ok(Self {
            audit,
            double_bookings,
            conflicts: conflicts.fetch_one(&mut *database).await?,
        })
    }

    /// As [`Ledger::read`], once everything in the outbox is in Kafka.
    ///
    /// # Errors
    /// When the relay does not come to its end.
    pub async fn settled(data: &Path) -> Result<Self> {
        wait_until("the outbox to be empty", RELAY_BOUND, async || {
            let mut database = open(data).await?;
            let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE sent_ms IS NULL")
                .fetch_one(&mut database)
                .await?;
            database.close().await?;
            ensure!(left == 0, "{left} events are left");
            Ok(Some(()))
        })
        .await?;
        Self::read(data).await
    }

    /// The entries about one kind of thing.
    pub fn about<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Noted> {
        self.audit
            .iter()
            .filter(move |noted| noted.subject_kind == kind)
    }

    /// The changes that took a time which was held by another booking at that moment: the record is
    /// lived through again, change by change.
    #[must_use]
    pub fn double_bookings_at_any_time(&self) -> Vec<String> {
        let mut held: BTreeMap<&str, Place> = BTreeMap::new();
        let mut wrong = Vec::new();
        for noted in self.about("booking") {
            let place = place(&noted.after);
            if let Some(place) = &place {
                let others = held.iter().filter(|(id, _)| **id != noted.subject_id);
                let overlapping = others.filter(|(_, other)| overlap(other, place));
                wrong.extend(
                    overlapping.map(|(other, _)| format!("{} and {other}", noted.subject_id)),
                );
            }
            match place {
                Some(place) => held.insert(&noted.subject_id, place),
                None => held.remove(noted.subject_id.as_str()),
            };
        }
        wrong
    }

    /// How many changes were noted for each request, among those of one kind of thing.
    #[must_use]
    pub fn by_request<'a>(&'a self, kind: &'a str) -> BTreeMap<&'a str, usize> {
        self.about(kind).fold(BTreeMap::new(), |mut counts, noted| {
            *counts.entry(noted.correlation_id.as_str()).or_default() += 1;
            counts
        })
    }

    /// Holds that what a topic tells of one kind of thing is what was done to it: every change that
    /// is told of once, and each thing's changes in their order. `kinds` are those that are told of.
    /// Answers how many that are.
    ///
    /// # Errors
    /// The first thing of which something else is told than was done.
    pub fn is_told_by(&self, topic: &Topic, kind: &str, kinds: &BTreeSet<String>) -> Result<usize> {
        let mut done: BTreeMap<&str, Vec<What<'_>>> = BTreeMap::new();
        let to_tell = |noted: &&Noted| kinds.contains(&noted.action);
        for noted in self.about(kind).filter(to_tell) {
            let what = (
                noted.action.as_str(),
                noted.correlation_id.as_str(),
                particulars(kind, &noted.after),
            );
            done.entry(&noted.subject_id).or_default().push(what);
        }
        let mut told: BTreeMap<&str, Vec<What<'_>>> = BTreeMap::new();
        let mut partitions = BTreeMap::new();
        for event in &topic.events {
            let partition = *partitions.entry(&event.key).or_insert(event.position.0);
            ensure!(
                partition == event.position.0,
                "{kind} {} is told of in two partitions",
                event.key
            );
            let what = (
                event.kind.as_str(),
                event.correlation_id.as_str(),
                particulars(kind, &event.data),
            );
            told.entry(&event.key).or_default().push(what);
        }
        for (id, done) in &done {
            let told = told.get(id).map(Vec::as_slice).unwrap_or_default();
            ensure!(
                told == done.as_slice(),
                "{kind} {id}: done {done:#?}\ntold {told:#?}"
            );
        }
        let extra = told.keys().find(|id| !done.contains_key(**id));
        ensure!(extra.is_none(), "nothing was done to {kind} {extra:?}");
        Ok(done.values().map(Vec::len).sum())
    }
}

impl Topic {
    /// Reads everything that a topic holds.
    ///
    /// # Errors
    /// When it cannot be read, or a record is no event.
    pub async fn read(kafka: &Kafka, topic: &str) -> Result<Self> {
        let mut read = Self::default();
        let mut seen = BTreeSet::new();
        for record in kafka.read_all(topic).await? {
            let event: Value = serde_json::from_slice(&record.value)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let told = Told {
                id: text(&event["eventId"]),
                kind: text(&event["eventType"]),
                key: String::from_utf8(record.key.unwrap_or_default())?,
                correlation_id: text(&event["metadata"]["correlationId"]),
                user: text(&event["userId"]),
                data: event["eventData"].clone(),
                position: record.position,
            };
            if seen.insert(told.id.clone()) {
                read.events.push(told);
            } else {
                read.repeats += 1;
            }
        }
        Ok(read)
    }

    /// The events of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Told> {
        self.events.iter().filter(move |event| event.kind == kind)
    }
}

/// The kinds that the booking service produces, as the catalogue's document lists them.
///
/// # Errors
/// When there is no such document.
pub fn own_kinds() -> Result<BTreeSet<String>> {
    let path = crate::root().join("docs/events.md");
    let document =
        std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    let kind = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells.as_slice() {
            [kind, .., "booking service"] => Some(kind.trim_matches('`').to_owned()),
            _ => None,
        }
    };
    let kinds: BTreeSet<String> = document.lines().filter_map(kind).collect();
    ensure!(
        kinds.len() > 10,
        "{} lists {} kinds",
        path.display(),
        kinds.len()
    );
    Ok(kinds)
}

async fn open(data: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(data.join("booking.db"))
        .read_only(true)
        .busy_timeout(Duration::from_secs(10));
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// What an audit entry and an event say of a thing in the same words.
fn particulars<'a>(kind: &str, value: &'a Value) -> Vec<&'a Value> {
    let fields: &[&str] = match kind {
        "booking" => &[
            "id",
            "title",
            "status",
            "startTime",
            "endTime",
            "attendeesCount",
        ],
        _ => &["id", "title"],
    };
    fields.iter().map(|field| &value[*field]).collect()
}

/// The time that a booking holds, if it holds any; whole seconds in UTC compare as text.
#[must_use]
pub fn place(booking: &Value) -> Option<Place> {
    let text = |field: &str| booking[field].as_str().unwrap_or_default().to_owned();
    let until = booking["blockedUntil"].as_str()?.to_owned();
    Some((text("resourceId"), text("startTime"), until))
}

/// Whether two stretches have a moment in common.
#[must_use]
pub fn overlap(one: &Place, other: &Place) -> bool {
    one.0 == other.0 && one.1 < other.2 && other.1 < one.2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn noted(action: &str, id: &str, status: &str, hours: (u32, u32)) -> Noted {
        let at = |hour: u32| format!("2031-01-01T{hour:02}:00:00Z");
        let until = (status != "cancelled").then(|| at(hours.1));
        Noted {
            at_ms: 0,
            correlation_id: format!("{action} {id}"),
            action: action.to_owned(),
            subject_kind: "booking".to_owned(),
            subject_id: id.to_owned(),
            before: Value::Null,
            after: json!({"id": id, "title": "t", "resourceId": "room-1", "status": status,
                          "startTime": at(hours.0), "blockedUntil": until}),
        }
    }

    fn ledger(audit: Vec<Noted>) -> Ledger {
        Ledger {
            audit,
            double_bookings: 0,
            conflicts: (0, 0),
        }
    }

    fn told(noted: &Noted) -> Told {
        Told {
            id: noted.correlation_id.clone(),
            kind: noted.action.clone(),
            key: noted.subject_id.clone(),
            correlation_id: noted.correlation_id.clone(),
            user: String::new(),
            data: noted.after.clone(),
            position: (0, 0),
        }
    }

    fn life() -> Vec<Noted> {
        vec![
            noted("booking.created", "a", "confirmed", (8, 9)),
            noted("booking.cancelled", "a", "cancelled", (8, 9)),
            noted("booking.created", "b", "confirmed", (8, 10)),
        ]
    }

    #[test]
    fn a_time_that_was_free_again_is_no_double_booking_and_one_that_was_not_is() {
        assert_eq!(
            ledger(life()).double_bookings_at_any_time(),
            Vec::<String>::new()
        );
        let mut audit = life();
        audit.remove(1);
        assert_eq!(ledger(audit).double_bookings_at_any_time(), ["b and a"]);
    }

    #[test]
    fn events_that_are_lost_doubled_swapped_or_of_nothing_are_noticed() {
        let kinds = ["booking.created", "booking.cancelled"].map(str::to_owned);
        let kinds = BTreeSet::from(kinds);
        let ledger = ledger(life());
        let right: Vec<Told> = ledger.audit.iter().map(told).collect();
        let compare = |events: Vec<Told>| {
            let topic = Topic { events, repeats: 0 };
            ledger.is_told_by(&topic, "booking", &kinds)
        };
        assert_eq!(compare(right.clone()).unwrap(), 3);
        let mut lost = right.clone();
        lost.remove(2);
        let mut doubled = right.clone();
        doubled.push(right[1].clone());
        let mut swapped = right.clone();
        swapped.swap(0, 1);
        let mut other = right.clone();
        other[2].data["status"] = json!("pending");
        let mut of_nothing = right;
        of_nothing[2].key = "c".to_owned();
        for wrong in [lost, doubled, swapped, other, of_nothing] {
            assert!(compare(wrong).is_err());
        }
    }

    #[test]
    fn the_document_names_the_kinds_of_the_booking_service_and_no_others() {
        let kinds = own_kinds().unwrap();
        assert!(kinds.contains("booking.checked_in") && kinds.contains("analytics.recorded"));
        assert!(!kinds.contains("notification.requested"));
    }
}
