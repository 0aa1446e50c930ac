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

fn booking_value(seed: u64, number: u32, booking: u32, kind: &str) -> Value {
    let id = format!("booking-{booking}");
    // A hundred events a second, as a busy booking service writes them: ids are UUIDs of version 7
    // and carry the time of the event.
    let at_ms = u64::from(number) * 10;
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
