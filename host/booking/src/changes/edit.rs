//! Another time, place, title or number of people for a booking.

use crate::actor::Role;
use crate::changes::booking::{Access, Found, NotPlaced, Refused, first_status, not_placed};
use crate::changes::freed::GivenUp;
use crate::command::Command;
use crate::error::WriteError;
use crate::place;
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::rules::Broken;
use crate::status::Status;
use crate::work::Work;

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct BookingEdit {
    pub(crate) resource_id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) start_ms: Option<i64>,
    pub(crate) end_ms: Option<i64>,
    pub(crate) attendees_count: Option<i64>,
}

/// Asks for a change of a booking.
pub(crate) struct EditBooking {
    pub(crate) access: Access,
    pub(crate) edit: BookingEdit,
}

/// What became of it.
pub(crate) enum Edited {
    /// The booking as it is now.
    Booking(BookingRecord),
    /// It is as it was; this is how it was to be.
    Refused(Box<BookingRecord>, Refused),
    /// A booking that has ended, or is only held, is not changed.
    Final(Status),
    /// Its people are there: it stays where it is, and keeps its start.
    Inside,
    /// It would end before it begins, or last too long.
    Times(&'static str),
    /// There is no such booking, or it belongs to somebody else.
    NoBooking,
    /// It was changed since the caller has seen it.
    OtherVersion(i64),
}

impl Command for EditBooking {
    type Done = Edited;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Edited, WriteError> {
        let (before, resource) = match work.find(&self.access).await? {
            Found::Booking(found) => *found,
            Found::NoBooking => return Ok(Edited::NoBooking),
            Found::OtherVersion(version) => return Ok(Edited::OtherVersion(version)),
        };
        work.edit(before, resource, &self.edit).await
    }
}

/// How it went when a booking was written anew.
pub(super) enum Attempt {
    /// It is written, and nobody was told yet.
    Written(Box<Rewritten>),
    /// Nothing is different.
    Same(BookingRecord),
    /// It is as it was: what is asked for cannot be, whoever else has booked.
    Refused {
        why: Edited,
        /// As it was to be.
        booking: Box<BookingRecord>,
    },
    /// It is as it was: the time is taken.
    NoPlace(Box<(BookingRecord, Resource, NotPlaced)>),
}

impl Attempt {
    fn against(why: Refused, booking: BookingRecord) -> Self {
        Self::refused(Edited::Refused(Box::new(booking.clone()), why), booking)
    }

    fn refused(why: Edited, booking: BookingRecord) -> Self {
        let booking = Box::new(booking);
        Self::Refused { why, booking }
    }
}

/// A booking that was written anew.
pub(super) struct Rewritten {
    pub(super) before: BookingRecord,
    pub(super) booking: BookingRecord,
    pub(super) resource: Resource,
    is_moved: bool,
}

impl Work<'_> {
    /// Changes a booking. What it gives up of its time is free for others, and those who wait for
    /// it are asked.
    pub(crate) async fn edit(
        &mut self,
        before: BookingRecord,
        resource: Resource,
        edit: &BookingEdit,
    ) -> Result<Edited, WriteError> {
        match self.attempt(before, resource, edit).await? {
            Attempt::Written(rewritten) => {
                self.tell_rewritten(&rewritten).await?;
                let mut given_up = GivenUp::default();
                self.leave_behind(&rewritten, &mut given_up).await?;
                self.freed(given_up).await?;
                Ok(Edited::Booking(rewritten.booking))
            }
            Attempt::Same(booking) => Ok(Edited::Booking(booking)),
            Attempt::Refused { why, .. } => Ok(why),
            Attempt::NoPlace(no_place) => {
                let (booking, resource, placed) = *no_place;
                let taken = self.taken(&booking, &resource, placed).await?;
                Ok(Edited::Refused(Box::new(booking), Refused::Taken(taken)))
            }
        }
    }

    /// Writes a booking anew, where that can be.
    pub(super) async fn attempt(
        &mut self,
        before: BookingRecord,
        resource: Resource,
        edit: &BookingEdit,
    ) -> Result<Attempt, WriteError> {
        if !matches!(
            before.status,
            Status::Pending | Status::Confirmed | Status::CheckedIn
        ) {
            let why = Edited::Final(before.status);
            return Ok(Attempt::refused(why, before));
        }
        let resource = match &edit.resource_id {
            Some(id) if *id != resource.id => {
                match queries::resource(&mut *self.connection, id).await? {
                    Some(other) => other,
                    None => {
                        let booking = BookingRecord {
                            resource_id: id.clone(),
                            ..before
                        };
                        return Ok(Attempt::against(Refused::NoResource, booking));
                    }
                }
            }
            _ => resource,
        };
        let mut booking = before.clone();
        edit.apply_to(&mut booking, &resource);
        let is_elsewhere = booking.resource_id != before.resource_id;
        let is_moved = is_elsewhere || booking.interval() != before.interval();
        // What the resource needs afterwards is that of the day on which the time was taken.
        if is_moved {
            let until_ms = resource.rules.blocked_until_ms(booking.end_ms);
            // Who gives time back takes none for it, though the buffer may have grown.
            let bound_ms = before
                .blocked_until_ms
                .filter(|_| !is_elsewhere && before.interval().contains(booking.interval()));
            booking.blocked_until_ms = Some(bound_ms.map_or(until_ms, |had| until_ms.min(had)));
        }
        if let Err(reason) = times(&booking) {
            return Ok(Attempt::refused(Edited::Times(reason), booking));
        }
        if booking == before {
            return Ok(Attempt::Same(before));
        }
        if before.status == Status::CheckedIn
            && (is_elsewhere || booking.start_ms != before.start_ms)
        {
            return Ok(Attempt::refused(Edited::Inside, booking));
        }
        if is_moved && let Some(gone) = self.gone(&booking).await? {
            return Ok(Attempt::against(gone, booking));
        }
        if let Err(refused) = self.check_change(&resource, &before, &booking) {
            return Ok(Attempt::against(refused, booking));
        }
        if is_elsewhere {
            // Who moves to another resource asks for its approval, too.
            booking.status = first_status(&resource);
        } else if self.needs_approval_again(&resource, &before, &booking) {
            booking.status = Status::Pending;
        }
        booking.touched(&before, self.now_ms);
        let placed = place::update(self.connection, &booking).await?;
        if let Some(reason) = not_placed(placed) {
            return Ok(Attempt::NoPlace(Box::new((booking, resource, reason))));
        }
        Ok(Attempt::Written(Box::new(Rewritten {
            before,
            booking,
            resource,
            is_moved,
        })))
    }

    /// A booking whose resource or user was removed stays where it is.
    async fn gone(&mut self, booking: &BookingRecord) -> Result<Option<Refused>, WriteError> {
        if queries::resource(&mut *self.connection, &booking.resource_id)
            .await?
            .is_none()
        {
            return Ok(Some(Refused::NoResource));
        }
        if queries::user(&mut *self.connection, &booking.user_id)
            .await?
            .is_none()
        {
            return Ok(Some(Refused::NoUser));
        }
        Ok(None)
    }

    /// Whether the rules of today allow what is different; what was booked before them stands.
    fn check_change(
        &self,
        resource: &Resource,
        before: &BookingRecord,
        booking: &BookingRecord,
    ) -> Result<(), Refused> {
        if booking.resource_id != before.resource_id {
            return self.check(resource, booking.interval(), booking.attendees_count);
        }
        if booking.attendees_count > before.attendees_count.max(resource.capacity) {
            return Err(Refused::TooMany {
                capacity: resource.capacity,
            });
        }
        if booking.status == Status::CheckedIn && self.outgrows_approval(resource, before, booking)
        {
            return Err(Refused::Rule(Broken {
                code: "needs-approval".to_owned(),
                reason:
                    "its people are there already, and more than was approved is for those who \
                         run the place to give: ask them"
                        .to_owned(),
            }));
        }
        if booking.interval() == before.interval() {
            return Ok(());
        }
        resource
            .rules
            .allow_change(
                before.interval(),
                booking.interval(),
                &resource.zone(),
                self.now_ms,
            )
            .map_err(Refused::Rule)
    }

    /// Whether somebody asks for more than was approved, and cannot approve it.
    fn outgrows_approval(
        &self,
        resource: &Resource,
        before: &BookingRecord,
        booking: &BookingRecord,
    ) -> bool {
        let is_more = !before.interval().contains(booking.interval())
            || booking.attendees_count > before.attendees_count;
        resource.requires_approval && self.by.role < Role::Staff && is_more
    }

    fn needs_approval_again(
        &self,
        resource: &Resource,
        before: &BookingRecord,
        booking: &BookingRecord,
    ) -> bool {
        booking.status == Status::Confirmed && self.outgrows_approval(resource, before, booking)
    }

    pub(super) async fn tell_rewritten(
        &mut self,
        Rewritten {
            before,
            booking,
            resource,
            ..
        }: &Rewritten,
    ) -> Result<(), WriteError> {
        self.told("booking.updated", Some(before), booking, resource, None)
            .await
    }

    /// What a booking that was moved leaves behind: conflicts, and time for others, who are asked
    /// after all is written.
    pub(super) async fn leave_behind(
        &mut self,
        rewritten: &Rewritten,
        given_up: &mut GivenUp,
    ) -> Result<(), WriteError> {
        if rewritten.is_moved {
            self.resolve_conflicts_of(&rewritten.booking).await?;
            given_up.add(&rewritten.before);
        }
        Ok(())
    }
}

impl BookingEdit {
    /// Who gives only another start keeps how long it lasts.
    fn apply_to(&self, booking: &mut BookingRecord, resource: &Resource) {
        let duration_ms = booking.interval().duration_ms();
        booking.resource_id.clone_from(&resource.id);
        if let Some(title) = &self.title {
            booking.title.clone_from(title);
        }
        if let Some(count) = self.attendees_count {
            booking.attendees_count = count;
        }
        if let Some(start_ms) = self.start_ms {
            booking.start_ms = start_ms;
            booking.end_ms = start_ms + duration_ms;
        }
        if let Some(end_ms) = self.end_ms {
            booking.end_ms = end_ms;
        }
    }
}

fn times(booking: &BookingRecord) -> Result<(), &'static str> {
    if booking.end_ms <= booking.start_ms {
        return Err("it must be later than startTime");
    }
    if booking.interval().duration_ms() > queries::MAX_DURATION_MS {
        return Err("a booking lasts 31 days at most");
    }
    Ok(())
}
