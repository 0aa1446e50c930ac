//! Conflicts: told when they arise, and when whoever it concerns has found another time.

use carillon_events::Topic;
use serde::Serialize;

use crate::alternatives::Alternative;
use crate::changes::booking::{NewBooking, Refused};
use crate::changes::freed::GivenUp;
use crate::changes::step::Stepped;
use crate::error::WriteError;
use crate::events;
use crate::interval::Interval;
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::rfc3339;
use crate::status::{Status, Step};
use crate::work::{Subject, Work};

/// How long a conflict can be named after the end of the time that was wanted, in milliseconds: 30
/// days. Then it is forgotten, resolved or not; the audit record keeps it.
pub(crate) const KEPT_CONFLICTS_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// How many conflicts are forgotten at once.
const FORGET_ROWS: i64 = 500;

/// How many refusals of one time a booking of it resolves; each is an event of its own.
const MAX_RESOLVED: i64 = 100;

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
    /// The time at which the resource cannot be used that took it from a booking that stands.
    pub(crate) unavailability_id: Option<&'a str>,
}

/// A conflict as the table and the audit record have it.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenConflict {
    pub(crate) id: String,
    pub(crate) booking_id: String,
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    #[serde(rename = "startTime", with = "rfc3339")]
    pub(crate) start_ms: i64,
    #[serde(rename = "endTime", with = "rfc3339")]
    pub(crate) end_ms: i64,
    pub(crate) attendees_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unavailability_id: Option<String>,
    /// The booking that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resolved_by: Option<String>,
}

impl OpenConflict {
    /// What is refused when it was to resolve this conflict is told as one of the same booking:
    /// whoever resolves that has resolved both.
    pub(super) fn met_again_by(&self, refused: &mut BookingRecord) {
        refused.id.clone_from(&self.booking_id);
    }
}

impl Work<'_> {
    /// Writes a conflict down and tells of it.
    pub(crate) async fn tell_conflict(&mut self, new: NewConflict<'_>) -> Result<(), WriteError> {
        let booking = new.booking;
        let conflict = OpenConflict {
            id: new.id.to_owned(),
            booking_id: booking.id.clone(),
            resource_id: booking.resource_id.clone(),
            user_id: booking.user_id.clone(),
            title: booking.title.clone(),
            start_ms: booking.start_ms,
            end_ms: booking.end_ms,
            attendees_count: booking.attendees_count,
            unavailability_id: new.unavailability_id.map(str::to_owned),
            resolved_by: None,
        };
        sqlx::query(
            "INSERT INTO conflicts (id, booking_id, resource_id, user_id, title, start_ms, end_ms,
                                    attendees_count, created_ms, unavailability_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&conflict.id)
        .bind(&conflict.booking_id)
        .bind(&conflict.resource_id)
        .bind(&conflict.user_id)
        .bind(&conflict.title)
        .bind(conflict.start_ms)
        .bind(conflict.end_ms)
        .bind(conflict.attendees_count)
        .bind(self.now_ms)
        .bind(&conflict.unavailability_id)
        .execute(&mut *self.connection)
        .await?;
        let action = "conflict.detected";
        self.note(
            action,
            Subject::Conflict,
            &conflict.id,
            None,
            Some(&conflict),
        )
        .await?;
        let draft = events::of_conflict(&new, self.now_ms)?;
        self.tell(Topic::ConflictEvents, &booking.id, draft).await
    }

    /// The conflict that a new booking names, if it names any: an open one of its user.
    pub(super) async fn named_conflict(
        &mut self,
        new: &NewBooking,
    ) -> Result<Result<Option<OpenConflict>, Refused>, WriteError> {
        let Some(id) = &new.conflict_id else {
            return Ok(Ok(None));
        };
        let conflict: Option<OpenConflict> = sqlx::query_as(
            "SELECT * FROM conflicts WHERE id = ? AND user_id = ? AND resolved_ms IS NULL",
        )
        .bind(id)
        .bind(&new.user_id)
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(conflict.map(Some).ok_or(Refused::NoConflict))
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
        let resolved = OpenConflict {
            resolved_by: Some(instead.id.clone()),
            ..conflict.clone()
        };
        self.note(
            "conflict.resolved",
            Subject::Conflict,
            &conflict.id,
            Some(conflict),
            Some(&resolved),
        )
        .await?;
        let wanted = self.resource_named(&conflict.resource_id).await?;
        let has = self.resource_of(instead).await?;
        let draft =
            events::of_resolved_conflict((conflict, &wanted), (instead, &has), self.now_ms)?;
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
        // What is over has had its time.
        let Some(before) = before.filter(|before| before.end_ms > self.now_ms) else {
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

    /// Resolves what somebody was refused who has got that very time after all, without a word of the
    /// conflict.
    pub(super) async fn resolve_wanted(
        &mut self,
        booking: &BookingRecord,
    ) -> Result<(), WriteError> {
        let open: Vec<OpenConflict> = sqlx::query_as(
            "SELECT * FROM conflicts
             WHERE user_id = ? AND resource_id = ? AND start_ms = ? AND end_ms = ?
               AND resolved_ms IS NULL AND unavailability_id IS NULL
             ORDER BY id LIMIT ?",
        )
        .bind(&booking.user_id)
        .bind(&booking.resource_id)
        .bind(booking.start_ms)
        .bind(booking.end_ms)
        .bind(MAX_RESOLVED)
        .fetch_all(&mut *self.connection)
        .await?;
        for conflict in open {
            self.resolve_conflict(&conflict, booking).await?;
        }
        Ok(())
    }

    /// Forgets conflicts that were kept long enough, a bounded number; answers how many.
    pub(super) async fn forget_conflicts(&mut self) -> Result<u64, WriteError> {
        let forgotten = sqlx::query(
            "DELETE FROM conflicts WHERE id IN (
                 SELECT id FROM conflicts WHERE end_ms <= ? ORDER BY end_ms LIMIT ?
             )",
        )
        .bind(self.now_ms.saturating_sub(KEPT_CONFLICTS_MS))
        .bind(FORGET_ROWS)
        .execute(&mut *self.connection)
        .await?;
        Ok(forgotten.rows_affected())
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
