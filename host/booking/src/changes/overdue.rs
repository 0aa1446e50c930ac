//! What is due without anybody asking for it: holds and waits that end, bookings to which nobody
//! came or that nobody left, answers and conflicts that need not be kept.

use crate::changes::step::Stepped;
use crate::changes::waitlist::Ending;
use crate::command::Command;
use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::lease;
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::status::{Status, Step};
use crate::waitlist::{self, Entry, EntryStatus};
use crate::work::Work;

/// How many answers are forgotten at once.
const FORGET_ROWS: i64 = 500;

/// How long the lease of who sweeps lasts at least, in milliseconds.
const MIN_LEASE_MS: i64 = 10_000;

/// One thing that was due when somebody looked; whether it still is, is seen in its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// A booking whose hold ends.
    Hold(String),
    /// An entry whose wanted time begins.
    Wait(String),
    /// A booking that begins, and nobody approved.
    Unapproved(String),
    /// A booking to which nobody came.
    Missed(String),
    /// A booking that is over, and nobody checked out.
    Overstayed(String),
    /// Answers that were kept long enough.
    Answers,
    /// Conflicts that were kept long enough.
    Conflicts,
}

/// Does what is due, for who has the lease.
pub(crate) struct Chore {
    /// Who does it.
    pub(crate) node: String,
    /// Since when the service is there for people to check in at.
    pub(crate) open_since_ms: i64,
    pub(crate) due: Due,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// So many rows were dealt with; none where it was not due any more.
    Rows(u64),
    /// Another node has the lease.
    NotOurs,
}

impl Command for Chore {
    type Done = Done;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Done, WriteError> {
        let lasts_ms = lease_ms(work.config);
        if !lease::take(
            work.connection,
            lease::SWEEP,
            &self.node,
            work.now_ms,
            lasts_ms,
        )
        .await?
        {
            return Ok(Done::NotOurs);
        }
        let is_done = match &self.due {
            Due::Hold(id) => work.end_overdue_hold(id).await?,
            Due::Wait(id) => work.end_overdue_wait(id).await?,
            Due::Unapproved(id) => work.end_unapproved(id, self.open_since_ms).await?,
            Due::Missed(id) => work.miss(id, self.open_since_ms).await?,
            Due::Overstayed(id) => work.release(id).await?,
            Due::Answers => return Ok(Done::Rows(work.forget_answers().await?)),
            Due::Conflicts => return Ok(Done::Rows(work.forget_conflicts().await?)),
        };
        Ok(Done::Rows(is_done.into()))
    }
}

/// Three sweeps, so that one that is late does not lose it.
fn lease_ms(config: &BookingConfig) -> i64 {
    i64::try_from(config.sweep_every_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(3)
        .max(MIN_LEASE_MS)
}

/// How long after the start of a booking it counts as missed, in minutes; `None`: never.
fn grace_minutes(config: &BookingConfig, resource: &Resource) -> Option<u32> {
    let minutes = resource.rules.no_show_after_minutes;
    Some(minutes.unwrap_or(config.no_show_after_minutes)).filter(|minutes| *minutes > 0)
}

/// When a booking counts as missed. Nobody is late for what they booked, moved or had approved only
/// just now, nor for what began while the service was away.
fn missed_ms(booking: &BookingRecord, minutes: u32, open_since_ms: i64) -> i64 {
    let from_ms = booking.start_ms.max(booking.settled_ms).max(open_since_ms);
    from_ms + minutes_ms(minutes)
}

fn minutes_ms(minutes: u32) -> i64 {
    i64::from(minutes) * 60_000
}

impl Work<'_> {
    /// Ends the hold of an entry that was not accepted in time.
    pub(super) async fn end_hold(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.end_entry(entry, Ending::Expired, Some("it was not accepted in time"))
            .await
    }

    async fn end_overdue_hold(&mut self, booking_id: &str) -> Result<bool, WriteError> {
        let booking = queries::booking(&mut *self.connection, booking_id).await?;
        let is_due = booking
            .and_then(|booking| booking.hold_until_ms)
            .is_some_and(|until| until <= self.now_ms);
        let entry = waitlist::entry_of_booking(&mut *self.connection, booking_id).await?;
        match entry.filter(|entry| is_due && entry.status == EntryStatus::Promoted) {
            Some(entry) => self.end_hold(&entry).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn end_overdue_wait(&mut self, entry_id: &str) -> Result<bool, WriteError> {
        let entry = waitlist::entry(&mut *self.connection, entry_id).await?;
        let due = entry
            .filter(|entry| entry.status == EntryStatus::Waiting && entry.start_ms <= self.now_ms);
        let Some(entry) = due else { return Ok(false) };
        let reason = "its time has come, and it did not become free";
        self.end_entry(&entry, Ending::Expired, Some(reason))
            .await?;
        Ok(true)
    }

    /// What nobody has approved when it should be running is called off: it would keep others away
    /// for nothing.
    async fn end_unapproved(
        &mut self,
        booking_id: &str,
        open_since_ms: i64,
    ) -> Result<bool, WriteError> {
        let Some((booking, resource)) = self.standing_at(booking_id, Status::Pending).await? else {
            return Ok(false);
        };
        let grace = grace_minutes(self.config, &resource);
        let is_late =
            grace.is_some_and(|minutes| missed_ms(&booking, minutes, open_since_ms) <= self.now_ms);
        if booking.end_ms > self.now_ms && !is_late {
            return Ok(false);
        }
        let reason = "nobody approved it in time";
        self.take(booking, &resource, Step::Cancel, reason).await
    }

    async fn miss(&mut self, booking_id: &str, open_since_ms: i64) -> Result<bool, WriteError> {
        let Some((booking, resource)) = self.standing_at(booking_id, Status::Confirmed).await?
        else {
            return Ok(false);
        };
        let Some(minutes) = grace_minutes(self.config, &resource) else {
            return Ok(false);
        };
        // Who could not check in all the while was not missed.
        if booking.end_ms <= open_since_ms
            || missed_ms(&booking, minutes, open_since_ms) > self.now_ms
        {
            return Ok(false);
        }
        let reason = format!("nobody checked in within {minutes} minutes of its start");
        self.take(booking, &resource, Step::NoShow, &reason).await
    }

    async fn release(&mut self, booking_id: &str) -> Result<bool, WriteError> {
        let Some((booking, resource)) = self.standing_at(booking_id, Status::CheckedIn).await?
        else {
            return Ok(false);
        };
        if booking.end_ms + minutes_ms(self.config.release_after_minutes) > self.now_ms {
            return Ok(false);
        }
        let reason = "it is over, and nobody checked out";
        self.take(booking, &resource, Step::CheckOut, reason).await
    }

    async fn standing_at(
        &mut self,
        booking_id: &str,
        status: Status,
    ) -> Result<Option<(BookingRecord, Resource)>, WriteError> {
        let booking = queries::booking(&mut *self.connection, booking_id).await?;
        let Some(booking) = booking.filter(|booking| booking.status == status) else {
            return Ok(None);
        };
        let resource = self.resource_of(&booking).await?;
        Ok(Some((booking, resource)))
    }

    async fn take(
        &mut self,
        booking: BookingRecord,
        resource: &Resource,
        step: Step,
        reason: &str,
    ) -> Result<bool, WriteError> {
        let stepped = self.step(booking, resource, step, Some(reason)).await?;
        Ok(matches!(stepped, Stepped::Taken(_)))
    }

    async fn forget_answers(&mut self) -> Result<u64, WriteError> {
        let forgotten = sqlx::query(
            "DELETE FROM idempotency WHERE (scope, key) IN (
                 SELECT scope, key FROM idempotency WHERE created_ms <= ? ORDER BY created_ms LIMIT ?
             )",
        )
        .bind(self.now_ms.saturating_sub(self.config.answers_ms()))
        .bind(FORGET_ROWS)
        .execute(&mut *self.connection)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_the_resource_comes_before_the_configuration_and_nought_is_never() {
        let mut config = BookingConfig::default();
        let mut resource = Resource {
            id: "room-1".into(),
            name: "Aurora".into(),
            kind: "room".into(),
            capacity: 8,
            requires_approval: false,
            place: String::new(),
            time_zone: "UTC".into(),
            rules: crate::rules::Rules::default(),
            version: 1,
        };
        assert_eq!(grace_minutes(&config, &resource), Some(15));
        config.no_show_after_minutes = 0;
        assert_eq!(grace_minutes(&config, &resource), None);
        resource.rules.no_show_after_minutes = Some(5);
        assert_eq!(grace_minutes(&config, &resource), Some(5));
        config.no_show_after_minutes = 15;
        resource.rules.no_show_after_minutes = Some(0);
        assert_eq!(grace_minutes(&config, &resource), None);
    }

    #[test]
    fn a_lease_outlasts_a_sweep_that_is_late() {
        let config = BookingConfig {
            sweep_every_ms: 60_000,
            ..BookingConfig::default()
        };
        assert_eq!(lease_ms(&config), 180_000);
        assert_eq!(lease_ms(&BookingConfig::default()), MIN_LEASE_MS);
    }
}
