//! A new booking.

use std::sync::Arc;

use carillon_events::Topic;
use sqlx::SqliteConnection;

use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::events;
use crate::outbox::{self, Outgoing};
use crate::queries;
use crate::record::{BookingRecord, HeldInterval, Resource};
use crate::status::Status;
use crate::writer::Change;

/// What the triggers of the database say when two bookings would hold one time.
const OVERLAP: &str = "booking-overlap";

/// Asks for a booking. Its values have been checked, except against the tables.
pub(crate) struct CreateBooking {
    pub(crate) config: Arc<BookingConfig>,
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) attendees_count: i64,
    pub(crate) correlation_id: String,
}

/// What became of it.
pub(crate) enum Created {
    /// It stands, or waits for approval.
    Booked(BookingRecord),
    /// Its time is taken, by these.
    Overlap(Vec<HeldInterval>),
    /// There is no such resource.
    NoResource,
    /// There is no such user.
    NoUser,
    /// More people than the resource takes.
    TooMany(Resource),
}

impl Change for CreateBooking {
    type Done = Created;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Created, WriteError> {
        let Some(resource) = queries::resource(&mut *connection, &self.resource_id).await? else {
            return Ok(Created::NoResource);
        };
        if !queries::user_exists(&mut *connection, &self.user_id).await? {
            return Ok(Created::NoUser);
        }
        if self.attendees_count > resource.capacity {
            return Ok(Created::TooMany(resource));
        }
        let booking = self.record(&resource, now_ms);
        match insert(connection, &booking).await {
            Ok(()) => self.tell_created(connection, booking).await,
            Err(error) if is_overlap(&error) => self.tell_conflict(connection, &booking).await,
            Err(error) => Err(error.into()),
        }
    }
}

impl CreateBooking {
    fn record(&self, resource: &Resource, now_ms: i64) -> BookingRecord {
        BookingRecord {
            id: uuid::Uuid::now_v7().to_string(),
            resource_id: self.resource_id.clone(),
            user_id: self.user_id.clone(),
            title: self.title.clone(),
            status: if resource.requires_approval {
                Status::Pending
            } else {
                Status::Confirmed
            },
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            attendees_count: self.attendees_count,
            version: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }

    async fn tell_created(
        &self,
        connection: &mut SqliteConnection,
        booking: BookingRecord,
    ) -> Result<Created, WriteError> {
        let event = Outgoing {
            topic: self.config.kafka.topics.name(Topic::BookingEvents),
            key: &booking.id,
            draft: events::of_booking("booking.created", &booking, &self.correlation_id)?,
        };
        outbox::append(connection, booking.created_ms, event).await?;
        Ok(Created::Booked(booking))
    }

    /// The refused insert has left nothing behind (RAISE(ABORT) takes back its statement, and only
    /// that), so what is written here tells of the conflict alone.
    async fn tell_conflict(
        &self,
        connection: &mut SqliteConnection,
        refused: &BookingRecord,
    ) -> Result<Created, WriteError> {
        let held = queries::holding(
            &mut *connection,
            &refused.resource_id,
            refused.start_ms,
            refused.end_ms,
        )
        .await?;
        let event = Outgoing {
            topic: self.config.kafka.topics.name(Topic::ConflictEvents),
            key: &refused.id,
            draft: events::of_conflict(refused, &held, &self.correlation_id)?,
        };
        outbox::append(connection, refused.created_ms, event).await?;
        Ok(Created::Overlap(
            held.into_iter().map(|(_, interval)| interval).collect(),
        ))
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    booking: &BookingRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               attendees_count, version, created_ms, updated_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&booking.id)
    .bind(&booking.resource_id)
    .bind(&booking.user_id)
    .bind(&booking.title)
    .bind(booking.status.as_str())
    .bind(booking.start_ms)
    .bind(booking.end_ms)
    .bind(booking.attendees_count)
    .bind(booking.version)
    .bind(booking.created_ms)
    .bind(booking.updated_ms)
    .execute(connection)
    .await?;
    Ok(())
}

fn is_overlap(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.message() == OVERLAP)
}
