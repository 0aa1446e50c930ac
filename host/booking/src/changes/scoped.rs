//! Changes of several occurrences of a series at once: all of them, or none.

use crate::changes::booking::{Access, Found, NotPlaced, Obstructed, Refused, not_placed};
use crate::changes::edit::{Attempt, BookingEdit, Edited, Rewritten};
use crate::changes::freed::GivenUp;
use crate::changes::occurrence::{Obstacle, Occurrence, Outcome};
use crate::changes::series::NoPlace;
use crate::changes::shift::Shift;
use crate::changes::step::Stepped;
use crate::command::Command;
use crate::error::WriteError;
use crate::place;
use crate::record::{BookingRecord, Resource};
use crate::series::{Scope, SeriesRecord, occurrences_from, series};
use crate::status::{Status, Step};
use crate::work::{Subject, Work};

/// Asks for a change of an occurrence, and of others with it.
pub(crate) struct EditScoped {
    pub(crate) access: Access,
    pub(crate) scope: Scope,
    /// What is to be different about the occurrence that is named.
    pub(crate) edit: BookingEdit,
}

/// What became of it.
pub(crate) enum ScopedEdited {
    /// Every occurrence that it was for, as it is now.
    Bookings(Vec<BookingRecord>),
    /// All are as they were, since some have no place.
    NoPlace(NoPlace),
    /// All are as they were, for a reason that has nothing to do with the others.
    Refused(Edited),
    /// The booking is of no series.
    NoSeries,
}

/// Asks to call off an occurrence, and others with it.
pub(crate) struct CancelScoped {
    pub(crate) access: Access,
    pub(crate) scope: Scope,
}

/// What became of it.
pub(crate) enum ScopedCancelled {
    /// Every occurrence that it was for, as it is now.
    Bookings(Vec<BookingRecord>),
    /// All are as they were: the one that is named cannot be called off, or not by this caller.
    Refused(Box<Stepped>),
    /// The booking is of no series.
    NoSeries,
}

impl Command for EditScoped {
    type Done = ScopedEdited;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<ScopedEdited, WriteError> {
        let named = match work.find(&self.access).await? {
            Found::Booking(found) => found.0,
            Found::NoBooking => return Ok(ScopedEdited::Refused(Edited::NoBooking)),
            Found::OtherVersion(version) => {
                return Ok(ScopedEdited::Refused(Edited::OtherVersion(version)));
            }
        };
        work.edit_scoped(&named, self.scope, &self.edit).await
    }
}

impl Command for CancelScoped {
    type Done = ScopedCancelled;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<ScopedCancelled, WriteError> {
        let named = match work.find(&self.access).await? {
            Found::Booking(found) => found.0,
            Found::NoBooking => return Ok(ScopedCancelled::Refused(Stepped::NoBooking.into())),
            Found::OtherVersion(version) => {
                return Ok(ScopedCancelled::Refused(
                    Stepped::OtherVersion(version).into(),
                ));
            }
        };
        work.cancel_scoped(&named, self.scope).await
    }
}

impl Work<'_> {
    async fn edit_scoped(
        &mut self,
        named: &BookingRecord,
        scope: Scope,
        edit: &BookingEdit,
    ) -> Result<ScopedEdited, WriteError> {
        let Some((series, mut members)) = self.members(named, scope).await? else {
            return Ok(ScopedEdited::NoSeries);
        };
        if !matches!(
            named.status,
            Status::Pending | Status::Confirmed | Status::CheckedIn
        ) {
            return Ok(ScopedEdited::Refused(Edited::Final(named.status)));
        }
        let shift = Shift::of(named, edit, &series);
        members.sort_by_key(|member| member.start_ms);
        self.begin_part().await?;
        // All leave their places before the first takes a new one: none is in the way of another.
        for member in &members {
            self.lift(member).await?;
        }
        let mut moved = Moved::default();
        for member in members {
            let resource = self.resource_of(&member).await?;
            let own = match member.id == named.id {
                true => edit.clone(),
                false => match shift.applied_to(&member, edit) {
                    Ok(own) => own,
                    Err(reason) => {
                        self.take_back_part().await?;
                        return Ok(ScopedEdited::Refused(Edited::Times(reason)));
                    }
                },
            };
            let attempt = self.attempt(member, resource, &own).await?;
            if let Some(why) = self.note_attempt(attempt, &mut moved).await? {
                self.take_back_part().await?;
                return Ok(ScopedEdited::Refused(why));
            }
        }
        if moved.reports.iter().any(|report| report.obstacle.is_some()) {
            self.take_back_part().await?;
            let no_place = self.no_place(moved.reports, moved.obstructed).await?;
            return Ok(ScopedEdited::NoPlace(no_place));
        }
        for rewritten in &moved.rewritten {
            self.tell_rewritten(rewritten).await?;
        }
        let mut given_up = GivenUp::default();
        for rewritten in &moved.rewritten {
            self.leave_behind(rewritten, &mut given_up).await?;
        }
        if !moved.rewritten.is_empty() {
            self.touch("series.updated", &series).await?;
        }
        self.freed(given_up).await?;
        self.end_part().await?;
        Ok(ScopedEdited::Bookings(moved.bookings()))
    }

    /// Keeps what came of one occurrence; answers what is wrong with the change as such.
    async fn note_attempt(
        &mut self,
        attempt: Attempt,
        moved: &mut Moved,
    ) -> Result<Option<Edited>, WriteError> {
        match attempt {
            Attempt::Written(rewritten) => {
                moved.reports.push(possible(&rewritten.booking));
                moved.rewritten.push(*rewritten);
            }
            Attempt::Same(booking) => {
                let placed = place::update(self.connection, &booking).await?;
                if let Some(reason) = not_placed(placed) {
                    let resource = self.resource_of(&booking).await?;
                    self.note_no_place(booking, resource, reason, moved).await?;
                } else {
                    moved.reports.push(possible(&booking));
                    moved.same.push(booking);
                }
            }
            Attempt::Refused {
                why: Edited::Refused(_, Refused::Rule(broken)),
                booking,
            } => {
                let obstacle = Obstacle::of_rule(broken);
                moved.reports.push(without_place(&booking, obstacle));
            }
            Attempt::Refused { why, .. } => return Ok(Some(why)),
            Attempt::NoPlace(no_place) => {
                let (booking, resource, placed) = *no_place;
                self.note_no_place(booking, resource, placed, moved).await?;
            }
        }
        Ok(None)
    }

    async fn note_no_place(
        &mut self,
        booking: BookingRecord,
        resource: Resource,
        placed: NotPlaced,
        moved: &mut Moved,
    ) -> Result<(), WriteError> {
        let in_the_way = self.in_the_way(&booking, &resource).await?;
        let obstacle = Obstacle::of_others(placed, &in_the_way);
        moved.reports.push(without_place(&booking, obstacle));
        moved.obstructed.push(Obstructed {
            booking,
            resource,
            placed,
            in_the_way,
        });
        Ok(())
    }

    /// Takes an occurrence off its place, without a word, until it is written anew in the same part.
    async fn lift(&mut self, member: &BookingRecord) -> Result<(), WriteError> {
        let lifted = BookingRecord {
            status: Status::Cancelled,
            blocked_until_ms: None,
            ..member.clone()
        };
        place::update(self.connection, &lifted).await?;
        Ok(())
    }

    async fn cancel_scoped(
        &mut self,
        named: &BookingRecord,
        scope: Scope,
    ) -> Result<ScopedCancelled, WriteError> {
        let Some((series, members)) = self.members(named, scope).await? else {
            return Ok(ScopedCancelled::NoSeries);
        };
        if let Err(refusal) = named.status.take(Step::Cancel) {
            return Ok(ScopedCancelled::Refused(Stepped::Refused(refusal).into()));
        }
        self.begin_part().await?;
        let mut cancelled = Vec::with_capacity(members.len());
        let mut given_up = GivenUp::default();
        for member in members {
            let resource = self.resource_of(&member).await?;
            // The others can be called off: `members` takes none that cannot.
            let step = Step::Cancel;
            match self
                .step_of_several(member, &resource, step, None, &mut given_up)
                .await?
            {
                Stepped::Taken(booking) => cancelled.push(booking),
                other => {
                    self.take_back_part().await?;
                    return Ok(ScopedCancelled::Refused(other.into()));
                }
            }
        }
        self.touch("series.cancelled", &series).await?;
        self.freed(given_up).await?;
        self.end_part().await?;
        Ok(ScopedCancelled::Bookings(cancelled))
    }

    /// The series of a booking, and the occurrences that a change is for: the one that is named,
    /// and the others in its scope that stand and are still to come.
    async fn members(
        &mut self,
        named: &BookingRecord,
        scope: Scope,
    ) -> Result<Option<(SeriesRecord, Vec<BookingRecord>)>, WriteError> {
        let (Some(series_id), Some(occurrence_ms)) = (&named.series_id, named.occurrence_ms) else {
            return Ok(None);
        };
        let Some(series) = series(&mut *self.connection, series_id).await? else {
            return Ok(None);
        };
        let from_ms = match scope {
            Scope::All => i64::MIN,
            Scope::Following => occurrence_ms,
        };
        let mut members = occurrences_from(&mut *self.connection, series_id, from_ms).await?;
        let now_ms = self.now_ms;
        members.retain(|member| {
            let is_to_come = matches!(member.status, Status::Pending | Status::Confirmed)
                && member.start_ms > now_ms;
            member.id == named.id || is_to_come
        });
        Ok(Some((series, members)))
    }

    /// Notes that several occurrences of a series were changed.
    async fn touch(&mut self, action: &str, before: &SeriesRecord) -> Result<(), WriteError> {
        let after = SeriesRecord {
            version: before.version + 1,
            updated_ms: self.now_ms,
            ..before.clone()
        };
        sqlx::query("UPDATE series SET version = ?, updated_ms = ? WHERE id = ?")
            .bind(after.version)
            .bind(after.updated_ms)
            .bind(&after.id)
            .execute(&mut *self.connection)
            .await?;
        self.note(
            action,
            Subject::Series,
            &before.id,
            Some(before),
            Some(&after),
        )
        .await
    }
}

/// What came of the occurrences so far.
#[derive(Default)]
struct Moved {
    reports: Vec<Occurrence>,
    rewritten: Vec<Rewritten>,
    same: Vec<BookingRecord>,
    obstructed: Vec<Obstructed>,
}

impl Moved {
    fn bookings(self) -> Vec<BookingRecord> {
        let rewritten = self.rewritten.into_iter().map(|one| one.booking);
        let mut bookings: Vec<BookingRecord> = rewritten.chain(self.same).collect();
        bookings.sort_by_key(|booking| booking.start_ms);
        bookings
    }
}

fn possible(booking: &BookingRecord) -> Occurrence {
    Occurrence {
        interval: booking.interval(),
        outcome: Outcome::Possible,
        booking_id: Some(booking.id.clone()),
        obstacle: None,
        conflict_id: None,
    }
}

fn without_place(booking: &BookingRecord, obstacle: Obstacle) -> Occurrence {
    Occurrence {
        booking_id: Some(booking.id.clone()),
        ..Occurrence::without_place(booking.interval(), obstacle)
    }
}
