//! What creating, editing and holding a booking have in common.

use carillon_events::Topic;
use serde::{Deserialize, Serialize};

use crate::alternatives::{Alternative, Wanted};
use crate::changes::conflicts::NewConflict;
use crate::error::WriteError;
use crate::events;
use crate::interval::{Interval, merged};
use crate::place::{self, Placed};
use crate::queries;
use crate::record::{BookingRecord, Resource, User};
use crate::rules::Broken;
use crate::status::Status;
use crate::work::{Subject, Work};

/// How many of the bookings in the way a refusal names.
const MAX_IN_THE_WAY: i64 = 10;

/// What a booking is to be. Its values have been checked, except against the tables.
#[derive(Debug, Clone)]
pub(crate) struct NewBooking {
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    pub(crate) interval: Interval,
    pub(crate) attendees_count: i64,
    /// The conflict that it resolves.
    pub(crate) conflict_id: Option<String>,
}

/// Why a booking was not made or not moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Refused {
    /// There is no such resource.
    NoResource,
    /// There is no such user.
    NoUser,
    /// There is no such open conflict of the user.
    NoConflict,
    /// More people than the resource takes.
    TooMany { capacity: i64 },
    /// A rule of the resource forbids it.
    Rule(Broken),
    /// Its time is taken.
    Taken(Taken),
}

/// A conflict, as whoever asked is told of it: nothing in it says who is in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) conflict_id: String,
    pub(crate) resource_name: String,
    pub(crate) placed: NotPlaced,
    /// When it is taken, within the time that was wanted and around it.
    pub(crate) intervals: Vec<Interval>,
    pub(crate) alternatives: Vec<Alternative>,
}

/// What is in the way of a booking.
pub(crate) struct InTheWay {
    /// Whose they are is for events to tell, not for who asked.
    pub(crate) bookings: Vec<String>,
    pub(crate) intervals: Vec<Interval>,
}

/// A booking whose time is taken.
pub(crate) struct Obstructed {
    pub(crate) booking: BookingRecord,
    pub(crate) resource: Resource,
    pub(crate) placed: NotPlaced,
    pub(crate) in_the_way: InTheWay,
}

/// Why it has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotPlaced {
    /// Another booking.
    Overlaps,
    /// The resource cannot be used.
    Unavailable,
}

impl NotPlaced {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Overlaps => "the time is taken",
            Self::Unavailable => "the resource cannot be used at that time",
        }
    }
}

/// Whose bookings somebody may touch, and which version of it they have seen.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) booking_id: String,
    /// The versions that `If-Match` names; `None` where any will do.
    pub(crate) versions: Option<Vec<i64>>,
}

/// What a look for a booking found.
pub(crate) enum Found {
    /// It, and its resource.
    Booking(Box<(BookingRecord, Resource)>),
    /// Nothing, or somebody else's.
    NoBooking,
    /// It, at another version than the caller has seen.
    OtherVersion(i64),
}

impl Work<'_> {
    /// A booking that this caller may change. One that is held for somebody is theirs only in the
    /// waitlist.
    pub(crate) async fn find(&mut self, access: &Access) -> Result<Found, WriteError> {
        let booking = queries::booking(&mut *self.connection, &access.booking_id).await?;
        let Some(booking) = booking.filter(|booking| self.by.may_act_for(&booking.user_id)) else {
            return Ok(Found::NoBooking);
        };
        if let Some(versions) = &access.versions
            && !versions.contains(&booking.version)
        {
            return Ok(Found::OtherVersion(booking.version));
        }
        let resource = self.resource_of(&booking).await?;
        Ok(Found::Booking(Box::new((booking, resource))))
    }

    /// The resource of a booking, deleted or not.
    pub(crate) async fn resource_of(
        &mut self,
        booking: &BookingRecord,
    ) -> Result<Resource, WriteError> {
        self.resource_named(&booking.resource_id).await
    }

    /// The user of a booking, deleted or not.
    async fn user_of(&mut self, booking: &BookingRecord) -> Result<User, WriteError> {
        let user = sqlx::query_as("SELECT * FROM users WHERE id = ?")
            .bind(&booking.user_id)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(user)
    }

    /// Whether the resource takes it, whoever else has booked.
    pub(crate) fn check(
        &self,
        resource: &Resource,
        interval: Interval,
        attendees_count: i64,
    ) -> Result<(), Refused> {
        if attendees_count > resource.capacity {
            return Err(Refused::TooMany {
                capacity: resource.capacity,
            });
        }
        resource
            .rules
            .allow(interval, &resource.zone(), self.now_ms)
            .map_err(Refused::Rule)
    }

    /// A booking that begins its life now.
    pub(crate) fn made(&self, new: &NewBooking, resource: &Resource) -> BookingRecord {
        BookingRecord {
            id: uuid::Uuid::now_v7().to_string(),
            resource_id: resource.id.clone(),
            user_id: new.user_id.clone(),
            title: new.title.clone(),
            status: first_status(resource),
            start_ms: new.interval.start_ms,
            end_ms: new.interval.end_ms,
            blocked_until_ms: Some(resource.rules.blocked_until_ms(new.interval.end_ms)),
            attendees_count: new.attendees_count,
            series_id: None,
            occurrence_ms: None,
            hold_until_ms: None,
            version: 1,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            settled_ms: self.now_ms,
        }
    }

    /// Adds a booking, tells of it and notes it; answers whether it got its place.
    pub(crate) async fn add(
        &mut self,
        booking: &BookingRecord,
        resource: &Resource,
        user: &User,
    ) -> Result<Placed, WriteError> {
        let placed = place::insert(self.connection, booking).await?;
        if placed == Placed::Stands {
            self.told_of(user, "booking.created", None, booking, resource, None)
                .await?;
        }
        Ok(placed)
    }

    /// Tells of a change of a booking that is written, and notes it.
    pub(crate) async fn told(
        &mut self,
        kind: &str,
        before: Option<&BookingRecord>,
        booking: &BookingRecord,
        resource: &Resource,
        reason: Option<&str>,
    ) -> Result<(), WriteError> {
        let user = self.user_of(booking).await?;
        self.told_of(&user, kind, before, booking, resource, reason)
            .await
    }

    /// The same where it is known whose booking it is.
    async fn told_of(
        &mut self,
        user: &User,
        kind: &str,
        before: Option<&BookingRecord>,
        booking: &BookingRecord,
        resource: &Resource,
        reason: Option<&str>,
    ) -> Result<(), WriteError> {
        self.note(kind, Subject::Booking, &booking.id, before, Some(booking))
            .await?;
        let organizer = self.config.calendar_organizer.as_deref();
        let draft = events::of_booking(kind, booking, resource, user, reason, organizer)?;
        self.tell(Topic::BookingEvents, &booking.id, draft).await
    }

    /// What is in the way of a booking, and what could be booked instead; told as a conflict.
    pub(crate) async fn taken(
        &mut self,
        refused: &BookingRecord,
        resource: &Resource,
        placed: NotPlaced,
    ) -> Result<Taken, WriteError> {
        let in_the_way = self.in_the_way(refused, resource).await?;
        let alternatives = self.alternatives_to(refused, resource).await?;
        let obstructed = Obstructed {
            booking: refused.clone(),
            resource: resource.clone(),
            placed,
            in_the_way,
        };
        self.tell_taken(obstructed, alternatives).await
    }

    /// What is in the way of a booking.
    pub(crate) async fn in_the_way(
        &mut self,
        refused: &BookingRecord,
        resource: &Resource,
    ) -> Result<InTheWay, WriteError> {
        let bounds = refused.blocked().unwrap_or_else(|| refused.interval());
        let held = queries::holding(&mut *self.connection, &resource.id, bounds, MAX_IN_THE_WAY)
            .await?
            .into_iter()
            .filter(|(id, _)| *id != refused.id);
        let (bookings, mut intervals): (Vec<String>, Vec<Interval>) = held.unzip();
        let closed = queries::unavailable(
            &mut *self.connection,
            &resource.id,
            refused.interval(),
            MAX_IN_THE_WAY,
        );
        intervals.extend(closed.await?);
        Ok(InTheWay {
            bookings,
            intervals: merged(intervals),
        })
    }

    /// What could be booked instead.
    pub(crate) async fn alternatives_to(
        &mut self,
        refused: &BookingRecord,
        resource: &Resource,
    ) -> Result<Vec<Alternative>, WriteError> {
        let wanted = Wanted {
            resource,
            interval: refused.interval(),
            attendees_count: refused.attendees_count,
            booking_id: &refused.id,
        };
        Ok(wanted.alternatives(self.connection, self.now_ms).await?)
    }

    /// Tells of a conflict whose obstacle is known.
    pub(crate) async fn tell_taken(
        &mut self,
        one: Obstructed,
        alternatives: Vec<Alternative>,
    ) -> Result<Taken, WriteError> {
        let conflict_id = uuid::Uuid::now_v7().to_string();
        self.tell_conflict(NewConflict {
            id: &conflict_id,
            booking: &one.booking,
            resource: &one.resource,
            conflicts_with: &one.in_the_way.bookings,
            taken: &one.in_the_way.intervals,
            alternatives: &alternatives,
            reason: one.placed.in_words(),
            unavailability_id: None,
        })
        .await?;
        Ok(Taken {
            conflict_id,
            resource_name: one.resource.name,
            placed: one.placed,
            intervals: one.in_the_way.intervals,
            alternatives,
        })
    }
}

/// Where a booking of this resource begins.
pub(crate) fn first_status(resource: &Resource) -> Status {
    match resource.requires_approval {
        true => Status::Pending,
        false => Status::Confirmed,
    }
}

/// Why a booking has no place, if it has none.
pub(crate) fn not_placed(placed: Placed) -> Option<NotPlaced> {
    match placed {
        Placed::Stands => None,
        Placed::Overlaps => Some(NotPlaced::Overlaps),
        Placed::Unavailable => Some(NotPlaced::Unavailable),
    }
}
