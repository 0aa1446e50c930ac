//! A new booking.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::actor::Actor;
use crate::changes::booking::{NewBooking, Refused, not_placed};
use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::queries;
use crate::record::BookingRecord;
use crate::work::Work;
use crate::writer::Change;

/// Asks for a booking.
pub(crate) struct CreateBooking {
    pub(crate) config: Arc<BookingConfig>,
    pub(crate) by: Actor,
    pub(crate) new: NewBooking,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Created {
    /// It stands, or waits for approval.
    Booked(BookingRecord),
    /// It was not made.
    Refused(Refused),
}

impl Change for CreateBooking {
    type Done = Created;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Created, WriteError> {
        let mut work = Work {
            connection,
            now_ms,
            config: &self.config,
            by: &self.by,
        };
        work.create(&self.new).await
    }
}

impl Work<'_> {
    async fn create(&mut self, new: &NewBooking) -> Result<Created, WriteError> {
        let Some(resource) = queries::resource(&mut *self.connection, &new.resource_id).await?
        else {
            return Ok(Created::Refused(Refused::NoResource));
        };
        if queries::user(&mut *self.connection, &new.user_id)
            .await?
            .is_none()
        {
            return Ok(Created::Refused(Refused::NoUser));
        }
        let conflict = match &new.conflict_id {
            None => None,
            Some(id) => match self.open_conflict(id, &new.user_id).await? {
                Some(conflict) => Some(conflict),
                None => return Ok(Created::Refused(Refused::NoConflict)),
            },
        };
        if let Err(refused) = self.check(&resource, new.interval, new.attendees_count) {
            return Ok(Created::Refused(refused));
        }
        let booking = self.made(new, &resource);
        let placed = self.add(&booking, &resource).await?;
        if let Some(reason) = not_placed(placed) {
            let taken = self.taken(&booking, &resource, reason).await?;
            return Ok(Created::Refused(Refused::Taken(taken)));
        }
        if let Some(conflict) = conflict {
            self.resolve_conflict(&conflict, &booking).await?;
        }
        Ok(Created::Booked(booking))
    }
}
