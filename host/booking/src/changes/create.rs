//! A new booking.

use serde::{Deserialize, Serialize};

use crate::changes::booking::{NewBooking, Obstructed, Refused, not_placed};
use crate::changes::freed::GivenUp;
use crate::command::Command;
use crate::error::WriteError;
use crate::queries;
use crate::record::BookingRecord;
use crate::work::Work;

/// Asks for a booking.
pub(crate) struct CreateBooking {
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

impl Command for CreateBooking {
    type Done = Created;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Created, WriteError> {
        work.create(&self.new).await
    }
}

impl Work<'_> {
    async fn create(&mut self, new: &NewBooking) -> Result<Created, WriteError> {
        let Some(resource) = queries::resource(&mut *self.connection, &new.resource_id).await?
        else {
            return Ok(Created::Refused(Refused::NoResource));
        };
        let Some(user) = queries::user(&mut *self.connection, &new.user_id).await? else {
            return Ok(Created::Refused(Refused::NoUser));
        };
        let conflict = match self.named_conflict(new).await? {
            Ok(conflict) => conflict,
            Err(refused) => return Ok(Created::Refused(refused)),
        };
        if let Err(refused) = self.check(&resource, new.interval, new.attendees_count) {
            return Ok(Created::Refused(refused));
        }
        let mut booking = self.made(new, &resource);
        // Without a conflict that gives way nothing is written before the booking itself.
        if conflict.is_some() {
            self.begin_part().await?;
        }
        let mut given_up = GivenUp::default();
        if let Some(conflict) = &conflict {
            self.give_way(conflict, &mut given_up).await?;
        }
        let placed = self.add(&booking, &resource, &user).await?;
        if let Some(placed) = not_placed(placed) {
            // Before the one that gave way has its time again, which would be in its own way.
            let in_the_way = self.in_the_way(&booking, &resource).await?;
            let alternatives = self.alternatives_to(&booking, &resource).await?;
            if let Some(conflict) = &conflict {
                self.take_back_part().await?;
                conflict.met_again_by(&mut booking);
            }
            let obstructed = Obstructed {
                booking,
                resource,
                placed,
                in_the_way,
            };
            let taken = self.tell_taken(obstructed, alternatives).await?;
            return Ok(Created::Refused(Refused::Taken(taken)));
        }
        if let Some(conflict) = &conflict {
            self.end_part().await?;
            self.resolve_instead(conflict, &booking).await?;
        }
        self.resolve_wanted(&booking).await?;
        self.freed(given_up).await?;
        Ok(Created::Booked(booking))
    }
}
