//! Conflicts: told when they arise, and when whoever it concerns has found another time.

use carillon_events::Topic;

use crate::alternatives::Alternative;
use crate::changes::freed::GivenUp;
use crate::changes::step::Stepped;
use crate::error::WriteError;
use crate::events;
use crate::interval::Interval;
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::status::{Status, Step};
use crate::work::Work;

/// A booking that has no place, and why.
pub(crate) struct NewConflict<'a> {
    /// The conflict's own id.
    pub(crate) id: &'a str,
    /// The booking that was asked for and never made, or that stands and lost its time.
    pub(crate) booking: &'a BookingRecord,
    pub(crate) resource: &'a Resource,
    /// The bookings in its way.
    pub(crate) conflicts_with: &'a [String],
    /// When its resource is taken.
    pub(crate) taken: &'a [Interval],
    pub(crate) alternatives: &'a [Alternative],
    /// Why, in words.
    pub(crate) reason: &'a str,
}

/// A conflict as the table has it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct OpenConflict {
    pub(crate) id: String,
    pub(crate) booking_id: String,
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) attendees_count: i64,
}

impl Work<'_> {
    /// Writes a conflict down and tells of it.
    pub(crate) async fn tell_conflict(&mut self, new: NewConflict<'_>) -> Result<(), WriteError> {
        let booking = new.booking;
        sqlx::query(
            "INSERT INTO conflicts (id, booking_id, resource_id, user_id, title, start_ms, end_ms,
                                    attendees_count, created_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id)
        .bind(&booking.id)
        .bind(&booking.resource_id)
        .bind(&booking.user_id)
        .bind(&booking.title)
        .bind(booking.start_ms)
        .bind(booking.end_ms)
        .bind(booking.attendees_count)
        .bind(self.now_ms)
        .execute(&mut *self.connection)
        .await?;
        let draft = events::of_conflict(&new, self.now_ms)?;
        self.tell(Topic::ConflictEvents, &booking.id, draft).await
    }

    /// An open conflict of this user.
    pub(crate) async fn open_conflict(
        &mut self,
        id: &str,
        user_id: &str,
    ) -> Result<Option<OpenConflict>, WriteError> {
        let conflict = sqlx::query_as(
            "SELECT * FROM conflicts WHERE id = ? AND user_id = ? AND resolved_ms IS NULL",
        )
        .bind(id)
        .bind(user_id)
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(conflict)
    }

    /// Notes that a conflict is over, and by which booking, and tells of it.
    pub(crate) async fn resolve_conflict(
        &mut self,
        conflict: &OpenConflict,
        instead: &BookingRecord,
    ) -> Result<(), WriteError> {
        sqlx::query("UPDATE conflicts SET resolved_ms = ?, resolved_by = ? WHERE id = ?")
            .bind(self.now_ms)
            .bind(&instead.id)
            .bind(&conflict.id)
            .execute(&mut *self.connection)
            .await?;
        let draft = events::of_resolved_conflict(conflict, instead, self.now_ms)?;
        self.tell(Topic::ConflictEvents, &conflict.booking_id, draft)
            .await
    }

    /// The booking that a conflict is about gives up its time, where it still has it, since another
    /// one is made instead.
    pub(super) async fn give_way(
        &mut self,
        conflict: &OpenConflict,
        given_up: &mut GivenUp,
    ) -> Result<(), WriteError> {
        let before = queries::booking(&mut *self.connection, &conflict.booking_id).await?;
        let Some(before) = before else {
            return Ok(());
        };
        let step = match before.status {
            Status::Pending | Status::Confirmed => Step::Cancel,
            Status::CheckedIn => Step::CheckOut,
            _ => return Ok(()),
        };
        let resource = self.resource_of(&before).await?;
        let reason = "another booking was made instead";
        let stepped = self
            .step_alone(before.clone(), &resource, step, Some(reason))
            .await?;
        if let Stepped::Taken(_) = stepped {
            given_up.add(&before);
        }
        Ok(())
    }

    /// Resolves a conflict by a booking that was made for it, and with it what else the booking was
    /// in conflict with that gave way.
    pub(super) async fn resolve_instead(
        &mut self,
        conflict: &OpenConflict,
        instead: &BookingRecord,
    ) -> Result<(), WriteError> {
        let open: Vec<OpenConflict> =
            sqlx::query_as("SELECT * FROM conflicts WHERE booking_id = ? AND resolved_ms IS NULL")
                .bind(&conflict.booking_id)
                .fetch_all(&mut *self.connection)
                .await?;
        for conflict in open {
            self.resolve_conflict(&conflict, instead).await?;
        }
        Ok(())
    }

    /// Resolves what a booking that stands was in conflict with, once it was moved or has ended. A
    /// time at which its resource cannot be used is a conflict as long as the booking meets it.
    pub(crate) async fn resolve_conflicts_of(
        &mut self,
        booking: &BookingRecord,
    ) -> Result<(), WriteError> {
        let open: Vec<OpenConflict> = sqlx::query_as(
            "SELECT * FROM conflicts
             WHERE booking_id = ?1 AND resolved_ms IS NULL
               AND NOT (?2 AND EXISTS (
                   SELECT 1 FROM unavailabilities AS closed
                   WHERE closed.id = conflicts.unavailability_id AND closed.resource_id = ?3
                     AND closed.end_ms > ?4 AND closed.start_ms < ?5))",
        )
        .bind(&booking.id)
        .bind(booking.status.holds_its_time())
        .bind(&booking.resource_id)
        .bind(booking.start_ms)
        .bind(booking.end_ms)
        .fetch_all(&mut *self.connection)
        .await?;
        for conflict in open {
            self.resolve_conflict(&conflict, booking).await?;
        }
        Ok(())
    }
}
