//! A step in the life of a booking.

use std::sync::Arc;

use carillon_events::Topic;
use sqlx::SqliteConnection;

use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::events;
use crate::outbox::{self, Outgoing};
use crate::queries;
use crate::record::BookingRecord;
use crate::status::{Refusal, Step};
use crate::writer::Change;

/// Asks a booking to take a step.
pub(crate) struct TakeStep {
    pub(crate) config: Arc<BookingConfig>,
    pub(crate) booking_id: String,
    pub(crate) step: Step,
    /// Whose booking it has to be; `None` for those who may touch every booking.
    pub(crate) owner: Option<String>,
    pub(crate) correlation_id: String,
}

/// What became of it.
pub(crate) enum Stepped {
    /// The booking as it stands now.
    Taken(BookingRecord),
    /// The step is impossible from where the booking stands.
    Refused(Refusal),
    /// There is no such booking, or it belongs to somebody else.
    NoBooking,
}

impl Change for TakeStep {
    type Done = Stepped;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Stepped, WriteError> {
        let Some(mut booking) = queries::booking(&mut *connection, &self.booking_id).await? else {
            return Ok(Stepped::NoBooking);
        };
        if self
            .owner
            .as_ref()
            .is_some_and(|owner| *owner != booking.user_id)
        {
            return Ok(Stepped::NoBooking);
        }
        booking.status = match booking.status.take(self.step) {
            Ok(status) => status,
            Err(refusal) => return Ok(Stepped::Refused(refusal)),
        };
        booking.version += 1;
        booking.updated_ms = now_ms;
        sqlx::query("UPDATE bookings SET status = ?, version = ?, updated_ms = ? WHERE id = ?")
            .bind(booking.status.as_str())
            .bind(booking.version)
            .bind(booking.updated_ms)
            .bind(&booking.id)
            .execute(&mut *connection)
            .await?;
        let event = Outgoing {
            topic: self.config.kafka.topics.name(Topic::BookingEvents),
            key: &booking.id,
            draft: events::of_booking(self.step.kind(), &booking, &self.correlation_id)?,
        };
        outbox::append(connection, now_ms, event).await?;
        Ok(Stepped::Taken(booking))
    }
}
