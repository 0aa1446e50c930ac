//! A booking's place in the calendar of its resource. Whether it is free is for the database to
//! say, in the transaction that takes it: its triggers refuse what overlaps.

use sqlx::SqliteConnection;

use crate::error::WriteError;
use crate::record::BookingRecord;

/// What the triggers say when two bookings would hold one time.
const OVERLAP: &str = "booking-overlap";
/// What they say when the resource cannot be used then.
const UNAVAILABLE: &str = "resource-unavailable";

/// Whether a booking got its place. A refused statement leaves nothing behind (`RAISE(ABORT)`
/// takes back its statement and only that), so the transaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It did.
    Stands,
    /// Another booking holds some of its time.
    Overlaps,
    /// The resource cannot be used for some of its time.
    Unavailable,
}

/// Adds a booking.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    booking: &BookingRecord,
) -> Result<Placed, WriteError> {
    let inserted = sqlx::query(
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               blocked_until_ms, attendees_count, series_id, occurrence_ms,
                               hold_until_ms, version, created_ms, updated_ms, settled_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&booking.id)
    .bind(&booking.resource_id)
    .bind(&booking.user_id)
    .bind(&booking.title)
    .bind(booking.status.as_str())
    .bind(booking.start_ms)
    .bind(booking.end_ms)
    .bind(booking.blocked_until_ms)
    .bind(booking.attendees_count)
    .bind(&booking.series_id)
    .bind(booking.occurrence_ms)
    .bind(booking.hold_until_ms)
    .bind(booking.version)
    .bind(booking.created_ms)
    .bind(booking.updated_ms)
    .bind(booking.settled_ms)
    .execute(connection)
    .await;
    placed(inserted.map(drop))
}

/// Writes a booking as it is now, over what it was.
pub(crate) async fn update(
    connection: &mut SqliteConnection,
    booking: &BookingRecord,
) -> Result<Placed, WriteError> {
    let updated = sqlx::query(
        "UPDATE bookings SET resource_id = ?, user_id = ?, title = ?, status = ?, start_ms = ?,
                             end_ms = ?, blocked_until_ms = ?, attendees_count = ?, series_id = ?,
                             occurrence_ms = ?, hold_until_ms = ?, version = ?, updated_ms = ?,
                             settled_ms = ?
         WHERE id = ?",
    )
    .bind(&booking.resource_id)
    .bind(&booking.user_id)
    .bind(&booking.title)
    .bind(booking.status.as_str())
    .bind(booking.start_ms)
    .bind(booking.end_ms)
    .bind(booking.blocked_until_ms)
    .bind(booking.attendees_count)
    .bind(&booking.series_id)
    .bind(booking.occurrence_ms)
    .bind(booking.hold_until_ms)
    .bind(booking.version)
    .bind(booking.updated_ms)
    .bind(booking.settled_ms)
    .bind(&booking.id)
    .execute(connection)
    .await;
    placed(updated.map(drop))
}

fn placed(written: Result<(), sqlx::Error>) -> Result<Placed, WriteError> {
    let error = match written {
        Ok(()) => return Ok(Placed::Stands),
        Err(error) => error,
    };
    match error.as_database_error().map(|error| error.message()) {
        Some(OVERLAP) => Ok(Placed::Overlaps),
        Some(UNAVAILABLE) => Ok(Placed::Unavailable),
        _ => Err(error.into()),
    }
}
