//! Events that the tests produce: the samples of both seed documents, and long series that are
//! the same in every run of one seed.

use std::ops::Range;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::kafka::Record;

/// The seven topics of the seeds.
pub const TOPICS: [&str; 7] = [
    "booking-events",
    "waitlist-events",
    "conflict-events",
    "analytics-events",
    "notification-events",
    "user-events",
    "resource-events",
];

/// The records of `tests/data/events.jsonl`.
///
/// # Errors
/// When the file is damaged.
pub fn samples() -> Result<Vec<Record>> {
    lines(include_str!("../data/events.jsonl"), |line| {
        let text = |key: &str| line[key].as_str().with_context(|| format!("no {key}"));
        Ok(Record::new(
            text("topic")?,
            text("key")?,
            line["value"].to_string(),
        ))
    })
}

/// The names and values of `tests/data/malformed.jsonl`.
///
/// # Errors
/// When the file is damaged.
pub fn malformed() -> Result<Vec<(String, String)>> {
    lines(include_str!("../data/malformed.jsonl"), |line| {
        let text = |key: &str| {
            let text = line[key].as_str().map(ToOwned::to_owned);
            text.with_context(|| format!("no {key}"))
        };
        Ok((text("name")?, text("value")?))
    })
}

fn lines<T>(text: &str, read: impl Fn(Value) -> Result<T>) -> Result<Vec<T>> {
    let parse = |line: &str| read(serde_json::from_str(line)?);
    text.lines().map(parse).collect()
}

/// How many bookings a series speaks of; each is one key.
const BOOKINGS: u32 = 200;
/// How many users own them, so that streams mix keys and partitions.
const USERS: u32 = 40;

/// `count` booking events, ids and content drawn from `seed`: the lives of 200 bookings of 40
/// users, interleaved.
#[must_use]
pub fn series(seed: u64, count: u32) -> Vec<Record> {
    const LIFE: [&str; 6] = [
        "booking.created",
        "booking.updated",
        "booking.confirmed",
        "booking.checkedin",
        "booking.checked_out",
        "booking.cancelled",
    ];
    let mut random = StdRng::seed_from_u64(seed);
    let mut lived = vec![0_usize; BOOKINGS as usize];
    let event = |number: u32| {
        let booking = random.random_range(0..BOOKINGS);
        let step = &mut lived[booking as usize];
        let kind = LIFE[*step % LIFE.len()];
        *step += 1;
        booking_event(seed, number, booking, kind)
    };
    (0..count).map(event).collect()
}

/// One `booking.created` for each number, of bookings of one user.
#[must_use]
pub fn bookings_of(user: &str, numbers: Range<u32>) -> Vec<Record> {
    let event = |number: u32| {
        let mut value = booking_value(0, number, number, "booking.created");
        value["userId"] = json!(user);
        Record::new(
            "booking-events",
            &format!("booking-{number}"),
            value.to_string(),
        )
    };
    numbers.map(event).collect()
}

fn booking_event(seed: u64, number: u32, booking: u32, kind: &str) -> Record {
    let value = booking_value(seed, number, booking, kind);
    Record::new(
        "booking-events",
        &format!("booking-{booking}"),
        value.to_string(),
    )
}

/// Which of all series the numbered events are.
const NUMBERED: u64 = 0x00c0_ffee;

/// Events that say which one they are: `booking.created`, in turns of `keys` bookings, which
/// `users` users own. `eventData.number` is the number, and the id follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Where they go.
    pub topic: String,
    /// How many bookings there are.
    pub keys: u32,
    /// How many users.
    pub users: u32,
}

impl Numbered {
    /// The event of a number.
    #[must_use]
    pub fn record(&self, number: u32) -> Record {
        let booking = number % self.keys;
        let mut value = booking_value(NUMBERED, number, booking, "booking.created");
        value["userId"] = json!(self.user(number));
        value["eventData"]["number"] = json!(number);
        let key = format!("booking-{booking}");
        Record::new(&self.topic, &key, value.to_string())
    }

    /// The events of these numbers.
    #[must_use]
    pub fn records(&self, numbers: Range<u32>) -> Vec<Record> {
        numbers.map(|number| self.record(number)).collect()
    }

    /// Whom the event of a number is about.
    #[must_use]
    pub fn user(&self, number: u32) -> String {
        format!("user-{}", number % self.keys % self.users)
    }

    /// The id of the event of a number.
    #[must_use]
    pub fn id(number: u32) -> String {
        event_id(NUMBERED, DAY_MS + event_ms(number) % 86_400_000, number)
    }

    /// The number of an event, from its id.
    ///
    /// # Errors
    /// When it is no id of a numbered event.
    pub fn number(id: &str) -> Result<u32> {
        let end = id.len().checked_sub(8).and_then(|start| id.get(start..));
        let number = end.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        number.with_context(|| format!("{id} is no id of a numbered event"))
    }
}

/// 2025-08-19T00:00:00Z, in milliseconds since 1970.
const DAY_MS: u64 = 1_755_561_600_000;

/// A UUID of version 7 (RFC 9562, section 5.7) that is the same for the same seed and number.
fn event_id(seed: u64, at_ms: u64, number: u32) -> String {
    let (high, low) = (at_ms >> 16, at_ms & 0xffff);
    format!(
        "{high:08x}-{low:04x}-7{:03x}-8{:03x}-{:04x}{number:08x}",
        seed & 0xfff,
        (seed >> 12) & 0xfff,
        (seed >> 24) & 0xffff
    )
}

/// When an event happens, in milliseconds after the first: a hundred a second, as a busy booking
/// service writes them. Ids are UUIDs of version 7 and carry this time.
fn event_ms(number: u32) -> u64 {
    u64::from(number) * 10
}

fn booking_value(seed: u64, number: u32, booking: u32, kind: &str) -> Value {
    let id = format!("booking-{booking}");
    let at_ms = event_ms(number);
    let (hour, minute) = (at_ms / 3_600_000 % 24, at_ms / 60_000 % 60);
    let (second, milli) = (at_ms / 1_000 % 60, at_ms % 1_000);
    json!({
        "eventId": event_id(seed, DAY_MS + at_ms % 86_400_000, number),
        "eventType": kind,
        "bookingId": id,
        "userId": format!("user-{}", booking % USERS),
        "resourceId": format!("room-{}", booking % 4),
        "timestamp": format!("2025-08-19T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"),
        "eventData": {
            "id": id,
            "title": format!("Besprechung {number}"),
            "status": "confirmed",
            "startTime": "2025-08-19T14:00:00Z",
            "endTime": "2025-08-19T16:00:00Z",
            "attendeesCount": 5,
        },
        "metadata": {"service": "booking-service", "version": "1.0.0", "correlationId": format!("req-{number}")},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_numbered_event_says_its_number_in_its_data_and_in_its_id() {
        let events = Numbered {
            topic: "booking-events".to_owned(),
            keys: 20,
            users: 4,
        };
        let record = events.record(1_234_567);
        let value: Value = serde_json::from_slice(&record.value).unwrap();
        assert_eq!(value["eventData"]["number"], 1_234_567);
        assert_eq!(value["eventId"], Numbered::id(1_234_567));
        assert_eq!(value["userId"], "user-3");
        assert_eq!(record.key.as_deref(), Some(b"booking-7".as_slice()));
        let id = value["eventId"].as_str().unwrap();
        assert_eq!(Numbered::number(id).unwrap(), 1_234_567);
        assert!(Numbered::number("a5").is_err());
    }
}
