//! Bookings as an iCalendar feed (RFC 5545).

use icalendar::{Calendar, Component, Event, EventLike, EventStatus, Property};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::changes::FeedKind;
use crate::interval::Interval;
use crate::invitation::{location, sequence, uid};
use crate::queries::MAX_DURATION_MS;
use crate::record::BookingRecord;
use crate::status::Status;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How far a feed looks back and ahead.
const BACK_MS: i64 = 30 * DAY_MS;
const AHEAD_MS: i64 = 366 * DAY_MS;
/// How many bookings that stand a feed shows, the earliest of them: with 14 a day a resource fills it.
const MAX_EVENTS: i64 = 5_000;
/// How many cancelled ones it shows, those that were cancelled last. Who has read the feed before
/// learns from them that they are off; there may be any number, for they keep no time from others.
const MAX_CANCELLED: i64 = 500;

/// The longest line, in octets and without its end (RFC 5545, section 3.1).
const MAX_LINE_BYTES: usize = 75;

/// What stands in a feed without bookings: a calendar has one component at least (RFC 5545, section
/// 3.4), and this one changes nothing.
const NO_EVENTS: &str = "BEGIN:VTIMEZONE\r\nTZID:UTC\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n\
                         TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n";
const END: &str = "END:VCALENDAR";

const PRODUCT: &str = "-//Carillon//Booking//EN";

/// A booking, and where it takes place.
pub(crate) struct Entry {
    pub(crate) booking: BookingRecord,
    pub(crate) resource_name: String,
    pub(crate) place: String,
    /// When its people left, if they have.
    pub(crate) left_ms: Option<i64>,
}

impl<'r> FromRow<'r, SqliteRow> for Entry {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            booking: BookingRecord::from_row(row)?,
            resource_name: row.try_get("resource_name")?,
            place: row.try_get("place")?,
            left_ms: row.try_get("left_ms")?,
        })
    }
}

/// What a feed shows now.
pub(crate) fn window(now_ms: i64) -> Interval {
    Interval::new(now_ms - BACK_MS, now_ms + AHEAD_MS)
}

/// The bookings of a resource or a user that lie in a stretch of time, by start; of those that were
/// cancelled, what has changed since it began. What was only held for somebody is in no calendar.
pub(crate) async fn entries(
    database: &mut SqliteConnection,
    kind: FeedKind,
    subject_id: &str,
    window: Interval,
) -> Result<Vec<Entry>, sqlx::Error> {
    let column = match kind {
        FeedKind::Resource => "booking.resource_id",
        FeedKind::User => "booking.user_id",
    };
    let mut entries: Vec<Entry> = of_subject(column, subject_id, window)
        .push(" AND booking.status NOT IN ('held', 'expired', 'cancelled')")
        .push(" ORDER BY booking.start_ms, booking.id LIMIT ")
        .push_bind(MAX_EVENTS)
        .build_query_as()
        .fetch_all(&mut *database)
        .await?;
    let cancelled: Vec<Entry> = of_subject(column, subject_id, window)
        .push(" AND booking.status = 'cancelled' AND booking.updated_ms >= ")
        .push_bind(window.start_ms)
        .push(" ORDER BY booking.updated_ms DESC, booking.id LIMIT ")
        .push_bind(MAX_CANCELLED)
        .build_query_as()
        .fetch_all(database)
        .await?;
    entries.extend(cancelled);
    entries.sort_by(|a, b| {
        (a.booking.start_ms, &a.booking.id).cmp(&(b.booking.start_ms, &b.booking.id))
    });
    Ok(entries)
}

/// The bookings that reach into a stretch of time, with their resources; in the order of an index.
fn of_subject(column: &'static str, subject_id: &str, window: Interval) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT booking.*, resource.name AS resource_name, resource.place AS place
         FROM bookings AS booking CROSS JOIN resources AS resource ON resource.id = booking.resource_id
         WHERE ",
    );
    query.push(column).push(" = ").push_bind(subject_id);
    query.push(" AND booking.start_ms > ");
    query.push_bind(window.start_ms.saturating_sub(MAX_DURATION_MS));
    query
        .push(" AND booking.start_ms < ")
        .push_bind(window.end_ms);
    query
        .push(" AND booking.end_ms > ")
        .push_bind(window.start_ms);
    query
}

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
    let mut text = calendar.to_string();
    if let (true, Some(end)) = (entries.is_empty(), text.rfind(END)) {
        text.insert_str(end, NO_EVENTS);
    }
    folded(&text)
}

/// The same text with lines of at most [`MAX_LINE_BYTES`]: a line goes on behind a blank, which counts.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.replace("\r\n ", "").split_terminator("\r\n") {
        let mut bytes = 0;
        for char in line.chars() {
            if bytes + char.len_utf8() > MAX_LINE_BYTES {
                folded.push_str("\r\n ");
                bytes = 1;
            }
            folded.push(char);
            bytes += char.len_utf8();
        }
        folded.push_str("\r\n");
    }
    folded
}

/// Until when a booking is shown. Whoever leaves early leaves the rest to others, and what they book
/// must not stand beside it; an event ends after it begins all the same.
fn shown_end_ms(entry: &Entry) -> i64 {
    const SHORTEST_MS: i64 = 60_000;
    let booking = &entry.booking;
    let left_ms = entry.left_ms.unwrap_or(booking.end_ms);
    left_ms
        .max(booking.start_ms + SHORTEST_MS)
        .min(booking.end_ms)
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
        .add_property("DTEND", utc(shown_end_ms(entry)))
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

    #[test]
    fn lines_are_folded_at_75_octets_between_characters() {
        let line = "é".repeat(80);
        let text = format!("A:x\r\nB:{}\r\n {}\r\n", &line[..100], &line[100..]);
        let folded = folded(&text);
        assert!(folded.lines().all(|line| line.len() <= MAX_LINE_BYTES));
        assert!(folded.lines().any(|line| line.len() > 73));
        assert_eq!(folded.replace("\r\n ", ""), format!("A:x\r\nB:{line}\r\n"));
    }
}
