//! Bookings as an iCalendar feed (RFC 5545).

use icalendar::{Calendar, Component, Event, EventLike, EventStatus, Property};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteExecutor};

use crate::changes::FeedKind;
use crate::interval::Interval;
use crate::invitation::{location, sequence, uid};
use crate::record::BookingRecord;
use crate::status::Status;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How far a feed looks back and ahead.
const BACK_MS: i64 = 30 * DAY_MS;
const AHEAD_MS: i64 = 366 * DAY_MS;
/// How many bookings a feed shows, the earliest of them: with 14 a day a resource fills it.
const MAX_EVENTS: i64 = 5_000;

const PRODUCT: &str = "-//Carillon//Booking//EN";

/// A booking, and where it takes place.
pub(crate) struct Entry {
    pub(crate) booking: BookingRecord,
    pub(crate) resource_name: String,
    pub(crate) place: String,
}

impl<'r> FromRow<'r, SqliteRow> for Entry {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            booking: BookingRecord::from_row(row)?,
            resource_name: row.try_get("resource_name")?,
            place: row.try_get("place")?,
        })
    }
}

/// What a feed shows now.
pub(crate) fn window(now_ms: i64) -> Interval {
    Interval::new(now_ms - BACK_MS, now_ms + AHEAD_MS)
}

/// The bookings of a resource or a user that begin within a stretch of time, by start. What was
/// only held for somebody is in no calendar.
pub(crate) async fn entries(
    database: impl SqliteExecutor<'_>,
    kind: FeedKind,
    subject_id: &str,
    window: Interval,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as(match kind {
        FeedKind::Resource => BY_RESOURCE,
        FeedKind::User => BY_USER,
    })
    .bind(subject_id)
    .bind(window.start_ms)
    .bind(window.end_ms)
    .bind(MAX_EVENTS)
    .fetch_all(database)
    .await
}

const BY_RESOURCE: &str = "
    SELECT booking.*, resource.name AS resource_name, resource.place AS place
    FROM bookings AS booking CROSS JOIN resources AS resource ON resource.id = booking.resource_id
    WHERE booking.resource_id = ? AND booking.start_ms >= ? AND booking.start_ms < ?
      AND booking.status NOT IN ('held', 'expired')
    ORDER BY booking.start_ms, booking.id LIMIT ?";

const BY_USER: &str = "
    SELECT booking.*, resource.name AS resource_name, resource.place AS place
    FROM bookings AS booking CROSS JOIN resources AS resource ON resource.id = booking.resource_id
    WHERE booking.user_id = ? AND booking.start_ms >= ? AND booking.start_ms < ?
      AND booking.status NOT IN ('held', 'expired')
    ORDER BY booking.start_ms, booking.id LIMIT ?";

/// The feed as text. The same bookings always come to the same bytes.
pub(crate) fn render(name: &str, entries: &[Entry]) -> String {
    let mut calendar = Calendar::empty();
    calendar.append_property(Property::new("VERSION", "2.0"));
    calendar.append_property(Property::new("PRODID", PRODUCT));
    calendar.append_property(Property::new("CALSCALE", "GREGORIAN"));
    calendar.append_property(Property::new("X-WR-CALNAME", plain(name)));
    for entry in entries {
        calendar.push(event(entry));
    }
    calendar.to_string()
}

fn event(entry: &Entry) -> Event {
    let booking = &entry.booking;
    let mut event = Event::new();
    let place = location(&entry.resource_name, &entry.place);
    // A feed has no method, so that DTSTAMP is when the booking was changed last (RFC 5545,
    // section 3.8.7.2).
    event
        .uid(&uid(&booking.id))
        .add_property("SEQUENCE", sequence(booking).to_string())
        .add_property("DTSTAMP", utc(booking.updated_ms))
        .add_property("LAST-MODIFIED", utc(booking.updated_ms))
        .add_property("CREATED", utc(booking.created_ms))
        .add_property("DTSTART", utc(booking.start_ms))
        .add_property("DTEND", utc(booking.end_ms))
        .summary(&plain(&booking.title))
        .location(&plain(&place))
        .status(match booking.status {
            Status::Pending => EventStatus::Tentative,
            Status::Cancelled => EventStatus::Cancelled,
            _ => EventStatus::Confirmed,
        });
    event.done()
}

/// A moment in the form of RFC 5545, section 3.3.5, with UTC.
fn utc(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// Without what has no place in a text (RFC 5545, section 3.3.11): control characters other than
/// line feeds, which are escaped.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|char| *char == '\n' || !char.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_texts_without_control_characters() {
        assert_eq!(utc(1_787_133_600_999), "20260819T100000Z");
        assert_eq!(plain("a\r\nb\rc\u{7}d\te"), "a\nb\ncde");
    }
}
