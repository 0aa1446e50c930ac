//! Taking what is held: a hold becomes a booking.

use crate::changes::booking::first_status;
use crate::changes::waitlist::EntryAccess;
use crate::command::Command;
use crate::error::WriteError;
use crate::place::{self, Placed};
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::status::Status;
use crate::telemetry::HoldAccepted;
use crate::waitlist::{Entry, EntryStatus};
use crate::work::{Subject, Work};

/// Accepts what is held for an entry.
pub(crate) struct AcceptHold {
    pub(crate) access: EntryAccess,
}

/// What became of it.
pub(crate) enum Accepted {
    /// The booking; as it is now, where it was accepted before.
    Booked(Box<BookingRecord>),
    /// Nothing is held for it.
    NotHeld(EntryStatus),
    /// There is no such entry, or it belongs to somebody else.
    NoEntry,
}

impl Command for AcceptHold {
    type Done = Accepted;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Accepted, WriteError> {
        let Some(entry) = work.find_entry(&self.access).await? else {
            return Ok(Accepted::NoEntry);
        };
        let Some(booking_id) = entry.booking_id.clone() else {
            return Ok(Accepted::NotHeld(entry.status));
        };
        match entry.status {
            EntryStatus::Promoted => {
                let held = work.held_booking(&booking_id).await?;
                work.accept(&entry, held).await
            }
            // An answer that was lost on its way is given again.
            EntryStatus::Accepted => {
                let booking = queries::booking(&mut *work.connection, &booking_id).await?;
                Ok(booking.map_or(Accepted::NoEntry, |booking| {
                    Accepted::Booked(Box::new(booking))
                }))
            }
            status => Ok(Accepted::NotHeld(status)),
        }
    }
}

impl Work<'_> {
    async fn accept(
        &mut self,
        before: &Entry,
        held: BookingRecord,
    ) -> Result<Accepted, WriteError> {
        if held.hold_until_ms.is_none_or(|until| until <= self.now_ms) {
            // The sweep has not come by yet; what it would do need not wait for it.
            self.end_hold(before).await?;
            return Ok(Accepted::NotHeld(EntryStatus::Expired));
        }
        let resource = self.resource_named(&before.resource_id).await?;
        let mut booking = BookingRecord {
            status: first_status(&resource),
            hold_until_ms: None,
            ..held.clone()
        };
        booking.touched(&held, self.now_ms);
        self.rewrite(&booking).await?;
        let entry = self
            .move_entry(before, EntryStatus::Accepted, Some(booking.id.clone()))
            .await?;
        self.note(
            "waitlist.accepted",
            Subject::WaitlistEntry,
            &entry.id,
            Some(before),
            Some(&entry),
        )
        .await?;
        self.told("booking.created", Some(&held), &booking, &resource, None)
            .await?;
        self.resolve_wanted(&booking).await?;
        HoldAccepted.emit();
        Ok(Accepted::Booked(Box::new(booking)))
    }

    /// The booking that is held for a promoted entry.
    pub(super) async fn held_booking(&mut self, id: &str) -> Result<BookingRecord, WriteError> {
        queries::booking(&mut *self.connection, id)
            .await?
            .filter(|booking| booking.status == Status::Held)
            .ok_or_else(|| WriteError::Database(format!("booking {id} is not held any more")))
    }

    /// Writes a booking that takes no more time than it had.
    pub(super) async fn rewrite(&mut self, booking: &BookingRecord) -> Result<(), WriteError> {
        match place::update(self.connection, booking).await? {
            Placed::Stands => Ok(()),
            _ => Err(WriteError::Database(format!(
                "booking {} lost its place to another one",
                booking.id
            ))),
        }
    }

    /// A resource, deleted or not.
    pub(super) async fn resource_named(&mut self, id: &str) -> Result<Resource, WriteError> {
        let resource = sqlx::query_as("SELECT * FROM resources WHERE id = ?")
            .bind(id)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(resource)
    }
}
