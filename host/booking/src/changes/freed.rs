//! What happens to time that a booking gives up: whoever waits for it gets it held.
//!
//! It happens in the transaction that frees the time (docs/adr/0012-promotion-in-the-transaction.md),
//! and after its last write: asked before, a part of what is freed could go to somebody who comes
//! after one who waits for the whole.

use std::collections::BTreeMap;

use crate::changes::booking::NewBooking;
use crate::changes::waitlist::Particulars;
use crate::error::WriteError;
use crate::interval::{Interval, merged};
use crate::place::{self, Placed};
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::status::Status;
use crate::telemetry::HoldGiven;
use crate::waitlist::{self, Entry, EntryStatus};
use crate::work::{Subject, Work};

/// Time that the writes of one change give up, by resource.
#[derive(Debug, Default)]
pub(crate) struct GivenUp(BTreeMap<String, Vec<Interval>>);

impl GivenUp {
    /// The time that a booking held before it was written anew.
    pub(crate) fn add(&mut self, before: &BookingRecord) {
        if let Some(freed) = before.blocked() {
            let of_resource = self.0.entry(before.resource_id.clone()).or_default();
            of_resource.push(freed);
        }
    }
}

impl Work<'_> {
    /// Bookings have given up time, and this change writes nothing after it. Whoever waits for that
    /// time is asked in the same transaction, so that nobody can step in between.
    pub(crate) async fn freed(&mut self, given_up: GivenUp) -> Result<(), WriteError> {
        for (resource_id, freed) in given_up.0 {
            self.ask_waiting(&resource_id, freed).await?;
        }
        Ok(())
    }

    /// Some of these times of a resource may have become free. Those who wait for any of them are
    /// asked in their order; each whose whole time is free gets it held.
    pub(crate) async fn ask_waiting(
        &mut self,
        resource_id: &str,
        freed: Vec<Interval>,
    ) -> Result<(), WriteError> {
        let mut freed = merged(freed);
        freed.retain(|freed| freed.end_ms > self.now_ms);
        let (Some(first), Some(last)) = (freed.first(), freed.last()) else {
            return Ok(());
        };
        let bounds = Interval::new(first.start_ms, last.end_ms);
        let Some(resource) = queries::resource(&mut *self.connection, resource_id).await? else {
            return Ok(());
        };
        let mut fitting =
            waitlist::fitting(&mut *self.connection, &resource, bounds, self.now_ms).await?;
        fitting.retain(|entry| meets_any(&freed, needed(entry, &resource)));
        if fitting.is_empty() {
            return Ok(());
        }
        // Whoever freed the time has not given it to anybody: the service does.
        let service = self.by.service_after();
        let mut work = Work {
            connection: &mut *self.connection,
            now_ms: self.now_ms,
            config: self.config,
            by: &service,
        };
        let mut given: Vec<Interval> = Vec::new();
        for entry in &fitting {
            let needed = needed(entry, &resource);
            // The database would refuse it, too; most who wait for one time are passed here.
            if given.iter().any(|given| given.overlaps(needed)) {
                continue;
            }
            if work.hold_for(entry, &resource).await? {
                given.push(needed);
            }
        }
        Ok(())
    }

    /// Holds the time that an entry waits for; answers whether that was possible.
    async fn hold_for(&mut self, before: &Entry, resource: &Resource) -> Result<bool, WriteError> {
        // Rules are those of today, and the queue may be older than they are.
        if self
            .check(resource, before.interval(), before.attendees_count)
            .is_err()
        {
            return Ok(false);
        }
        if queries::user(&mut *self.connection, &before.user_id)
            .await?
            .is_none()
        {
            return Ok(false);
        }
        // Who has not accepted when their time begins does not come: it ends before that.
        let hold_until_ms = self
            .now_ms
            .saturating_add(self.config.hold_ms())
            .min(before.start_ms);
        let new = NewBooking {
            resource_id: before.resource_id.clone(),
            user_id: before.user_id.clone(),
            title: before.title.clone(),
            interval: before.interval(),
            attendees_count: before.attendees_count,
            conflict_id: None,
        };
        let held = BookingRecord {
            status: Status::Held,
            hold_until_ms: Some(hold_until_ms),
            ..self.made(&new, resource)
        };
        if place::insert(self.connection, &held).await? != Placed::Stands {
            return Ok(false);
        }
        self.note("hold.given", Subject::Booking, &held.id, None, Some(&held))
            .await?;
        let entry = self
            .move_entry(before, EntryStatus::Promoted, Some(held.id))
            .await?;
        let particulars = Particulars {
            hold_until_ms: Some(hold_until_ms),
            ..Particulars::default()
        };
        self.told_entry(
            "waitlist.promoted",
            Some(before),
            &entry,
            resource,
            particulars,
        )
        .await?;
        HoldGiven.emit();
        Ok(true)
    }
}

/// The time that an entry waits for, with what its resource needs after it.
fn needed(entry: &Entry, resource: &Resource) -> Interval {
    let blocked_until_ms = resource.rules.blocked_until_ms(entry.end_ms);
    Interval::new(entry.start_ms, blocked_until_ms)
}

/// Whether a time meets one of these, which are in order and apart.
fn meets_any(apart: &[Interval], wanted: Interval) -> bool {
    let first = apart.partition_point(|one| one.end_ms <= wanted.start_ms);
    apart.get(first).is_some_and(|one| one.overlaps(wanted))
}
