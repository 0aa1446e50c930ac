//! Times at which a resource cannot be used. What was booked before stays, and its people hear of the
//! conflict; whoever moves or calls off has resolved it, and so has whoever opens the resource again.
//! What is only held for somebody ends.

use carillon_events::Topic;
use serde::{Deserialize, Serialize};

use crate::changes::conflicts::{NewConflict, OpenConflict};
use crate::changes::freed::GivenUp;
use crate::changes::waitlist::Ending;
use crate::command::Command;
use crate::error::WriteError;
use crate::events;
use crate::interval::Interval;
use crate::queries;
use crate::record::{BookingRecord, Resource};
use crate::status::Status;
use crate::unavailability::Unavailability;
use crate::waitlist;
use crate::work::{Subject, Work};

/// How many bookings one change puts into conflict at most; each is an event of its own, and
/// everybody else's changes wait for it.
pub(crate) const MAX_AFFECTED: usize = 1_000;

/// To how many of them, the first, other times and resources are suggested: looking for them takes
/// many times as long as telling, and everybody else's changes wait for it.
const MAX_SUGGESTED_TO: usize = 20;

/// Asks that a resource cannot be used for a time. The values have been checked.
pub(crate) struct Close {
    pub(crate) new: NewClosure,
}

/// When not, and why.
pub(crate) struct NewClosure {
    pub(crate) resource_id: String,
    pub(crate) interval: Interval,
    pub(crate) reason: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Closed {
    /// It cannot be used then.
    Done {
        closure: Unavailability,
        /// The bookings that are in conflict with it, by start.
        affected: Vec<String>,
    },
    /// There is no such resource.
    NoResource,
    /// It would be over already.
    Over,
    /// More bookings would be affected than one change takes; up to here it could be closed.
    TooMany { until_ms: i64 },
}

impl Command for Close {
    type Done = Closed;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Closed, WriteError> {
        work.close(&self.new).await
    }
}

/// Asks that a resource can be used again at a time when it could not.
pub(crate) struct Reopen {
    pub(crate) resource_id: String,
    pub(crate) id: String,
}

impl Command for Reopen {
    /// Whether there was such a time.
    type Done = bool;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<bool, WriteError> {
        work.reopen(&self.resource_id, &self.id).await
    }
}

/// `eventData` of `resource.unavailable`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnavailableData<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'a str,
    capacity: i64,
    #[serde(flatten)]
    interval: Interval,
    reason: &'a str,
    unavailability_id: &'a str,
}

/// `eventData` of the `resource.updated` that tells that it can be used again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AvailableData<'a> {
    #[serde(flatten)]
    resource: &'a Resource,
    available_again: Interval,
    unavailability_id: &'a str,
}

impl Work<'_> {
    async fn close(&mut self, new: &NewClosure) -> Result<Closed, WriteError> {
        let Some(resource) = queries::resource(&mut *self.connection, &new.resource_id).await?
        else {
            return Ok(Closed::NoResource);
        };
        if new.interval.end_ms <= self.now_ms {
            return Ok(Closed::Over);
        }
        let affected = self.affected(&resource.id, new.interval).await?;
        if let Some(first_too_many) = affected.get(MAX_AFFECTED) {
            return Ok(Closed::TooMany {
                until_ms: first_too_many.start_ms,
            });
        }
        let closure = Unavailability {
            id: uuid::Uuid::now_v7().to_string(),
            resource_id: resource.id.clone(),
            interval: new.interval,
            reason: new.reason.clone(),
            created_ms: self.now_ms,
        };
        self.add_closure(&closure, &resource).await?;
        let reason = format!(
            "{} cannot be used at that time: {}",
            resource.name, closure.reason
        );
        let (held, affected): (Vec<BookingRecord>, Vec<BookingRecord>) = affected
            .into_iter()
            .partition(|booking| booking.status == Status::Held);
        let mut given_up = GivenUp::default();
        for booking in &held {
            self.end_held(booking, &reason, &mut given_up).await?;
        }
        for (place, booking) in affected.iter().enumerate() {
            let alternatives = match place < MAX_SUGGESTED_TO {
                true => self.alternatives_to(booking, &resource).await?,
                false => Vec::new(),
            };
            let conflict_id = uuid::Uuid::now_v7().to_string();
            self.tell_conflict(NewConflict {
                id: &conflict_id,
                booking,
                resource: &resource,
                conflicts_with: &[],
                taken: &[closure.interval],
                alternatives: &alternatives,
                reason: &reason,
                unavailability_id: Some(&closure.id),
            })
            .await?;
        }
        self.freed(given_up).await?;
        let affected = affected.into_iter().map(|booking| booking.id).collect();
        Ok(Closed::Done { closure, affected })
    }

    /// Ends the waiting of whom a booking is held for: they were told that they may have a time that
    /// nobody can have now. What is left of it is for others.
    async fn end_held(
        &mut self,
        held: &BookingRecord,
        reason: &str,
        given_up: &mut GivenUp,
    ) -> Result<(), WriteError> {
        let entry = waitlist::entry_of_booking(&mut *self.connection, &held.id)
            .await?
            .ok_or_else(|| {
                WriteError::Database(format!("booking {} is held for nobody", held.id))
            })?;
        self.end_of_several(&entry, Ending::Expired, Some(reason), given_up)
            .await
    }

    /// The bookings that are to come and meet the time; one more than are affected at once.
    async fn affected(
        &mut self,
        resource_id: &str,
        interval: Interval,
    ) -> Result<Vec<BookingRecord>, WriteError> {
        let limit = i64::try_from(MAX_AFFECTED).unwrap_or(i64::MAX - 1) + 1;
        Ok(queries::meeting(
            &mut *self.connection,
            resource_id,
            interval,
            self.now_ms,
            limit,
        )
        .await?)
    }

    async fn add_closure(
        &mut self,
        closure: &Unavailability,
        resource: &Resource,
    ) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO unavailabilities (id, resource_id, start_ms, end_ms, reason, created_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&closure.id)
        .bind(&closure.resource_id)
        .bind(closure.interval.start_ms)
        .bind(closure.interval.end_ms)
        .bind(&closure.reason)
        .bind(closure.created_ms)
        .execute(&mut *self.connection)
        .await?;
        let kind = "resource.unavailable";
        self.note(
            kind,
            Subject::Unavailability,
            &closure.id,
            None,
            Some(closure),
        )
        .await?;
        let data = UnavailableData {
            id: &resource.id,
            name: &resource.name,
            kind: &resource.kind,
            capacity: resource.capacity,
            interval: closure.interval,
            reason: &closure.reason,
            unavailability_id: &closure.id,
        };
        let draft = events::draft(kind, self.now_ms, data)?
            .resource(&*resource.id)
            .subject(&*resource.id);
        self.tell(Topic::ResourceEvents, &resource.id, draft).await
    }

    async fn reopen(&mut self, resource_id: &str, id: &str) -> Result<bool, WriteError> {
        let Some(resource) = queries::resource(&mut *self.connection, resource_id).await? else {
            return Ok(false);
        };
        let Some(closure) = queries::closure(&mut *self.connection, resource_id, id).await? else {
            return Ok(false);
        };
        sqlx::query("DELETE FROM unavailabilities WHERE id = ?")
            .bind(id)
            .execute(&mut *self.connection)
            .await?;
        let kind = "resource.updated";
        self.note(kind, Subject::Unavailability, id, Some(&closure), None)
            .await?;
        let data = AvailableData {
            resource: &resource,
            available_again: closure.interval,
            unavailability_id: id,
        };
        let draft = events::draft(kind, self.now_ms, data)?
            .resource(resource_id)
            .subject(resource_id);
        self.tell(Topic::ResourceEvents, resource_id, draft).await?;
        self.resolve_closed(id).await?;
        self.ask_waiting(resource_id, vec![closure.interval])
            .await?;
        Ok(true)
    }

    /// Resolves the conflicts of bookings to come with a time at which the resource could not be
    /// used. No more of them than when it was closed: none was added since.
    async fn resolve_closed(&mut self, unavailability_id: &str) -> Result<(), WriteError> {
        let open: Vec<OpenConflict> = sqlx::query_as(
            "SELECT * FROM conflicts WHERE unavailability_id = ? AND resolved_ms IS NULL
             ORDER BY start_ms, id",
        )
        .bind(unavailability_id)
        .fetch_all(&mut *self.connection)
        .await?;
        for conflict in open {
            let booking = queries::booking(&mut *self.connection, &conflict.booking_id).await?;
            if let Some(booking) = booking.filter(|booking| booking.end_ms > self.now_ms) {
                self.resolve_conflict(&conflict, &booking).await?;
            }
        }
        Ok(())
    }
}
