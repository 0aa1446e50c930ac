//! Waiting for a time that is taken.

use serde::{Deserialize, Serialize};

use crate::changes::booking::Refused;
use crate::changes::waitlist::Particulars;
use crate::command::Command;
use crate::error::WriteError;
use crate::interval::Interval;
use crate::queries;
use crate::record::Resource;
use crate::rules::Broken;
use crate::waitlist::{self, Entry, EntryStatus, MAX_WAITING, MAX_WAITING_OF_USER, Standing};
use crate::work::Work;

/// What an entry is to be. Its values have been checked, except against the tables.
#[derive(Debug, Clone)]
pub(crate) struct NewEntry {
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    pub(crate) interval: Interval,
    pub(crate) attendees_count: i64,
    pub(crate) priority: i64,
}

/// Asks for an entry.
pub(crate) struct JoinWaitlist {
    pub(crate) new: NewEntry,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Joined {
    /// It waits.
    Waits(Box<Standing>),
    /// It could not be booked even if nobody were in its way.
    Refused(Refused),
    /// Nobody is in its way.
    Free,
    /// The same user waits for the same, with this entry.
    WaitsAlready { entry_id: String },
    /// As many wait as may.
    Full { most: i64 },
    /// This user waits as often as one may.
    TooOften { most: i64 },
}

impl Command for JoinWaitlist {
    type Done = Joined;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Joined, WriteError> {
        work.join(&self.new).await
    }
}

impl Work<'_> {
    async fn join(&mut self, new: &NewEntry) -> Result<Joined, WriteError> {
        let Some(resource) = queries::resource(&mut *self.connection, &new.resource_id).await?
        else {
            return Ok(Joined::Refused(Refused::NoResource));
        };
        if queries::user(&mut *self.connection, &new.user_id)
            .await?
            .is_none()
        {
            return Ok(Joined::Refused(Refused::NoUser));
        }
        if let Err(refused) = self.may_wait(&resource, new) {
            return Ok(Joined::Refused(refused));
        }
        let same = waitlist::entry_for(
            &mut *self.connection,
            &new.resource_id,
            &new.user_id,
            new.interval,
        );
        if let Some(entry_id) = same.await? {
            return Ok(Joined::WaitsAlready { entry_id });
        }
        if self.is_free(&resource, new.interval).await? {
            return Ok(Joined::Free);
        }
        let (all, own) =
            waitlist::waiting(&mut *self.connection, &new.resource_id, &new.user_id).await?;
        if own >= MAX_WAITING_OF_USER {
            let most = MAX_WAITING_OF_USER;
            return Ok(Joined::TooOften { most });
        }
        if all >= MAX_WAITING {
            return Ok(Joined::Full { most: MAX_WAITING });
        }
        let standing = self.add_entry(new, &resource).await?;
        Ok(Joined::Waits(Box::new(standing)))
    }

    fn may_wait(&self, resource: &Resource, new: &NewEntry) -> Result<(), Refused> {
        self.check(resource, new.interval, new.attendees_count)?;
        if new.interval.start_ms <= self.now_ms {
            return Err(Refused::Rule(Broken {
                code: "begun".into(),
                reason: "it has begun, and nobody waits for what has begun".into(),
            }));
        }
        Ok(())
    }

    /// Whether it could be booked at this moment; by the measure of the triggers.
    async fn is_free(
        &mut self,
        resource: &Resource,
        interval: Interval,
    ) -> Result<bool, WriteError> {
        let needed = Interval::new(
            interval.start_ms,
            resource.rules.blocked_until_ms(interval.end_ms),
        );
        let held = queries::held(&mut *self.connection, &resource.id, needed, 1).await?;
        let closed = queries::unavailable(&mut *self.connection, &resource.id, interval, 1).await?;
        Ok(held.is_empty() && closed.is_empty())
    }

    async fn add_entry(
        &mut self,
        new: &NewEntry,
        resource: &Resource,
    ) -> Result<Standing, WriteError> {
        let entry = Entry {
            // Of version 7: of those that came in one millisecond, the first is the least.
            id: uuid::Uuid::now_v7().to_string(),
            resource_id: resource.id.clone(),
            user_id: new.user_id.clone(),
            title: new.title.clone(),
            status: EntryStatus::Waiting,
            start_ms: new.interval.start_ms,
            end_ms: new.interval.end_ms,
            attendees_count: new.attendees_count,
            priority: new.priority,
            booking_id: None,
            version: 1,
            joined_ms: self.now_ms,
            updated_ms: self.now_ms,
        };
        sqlx::query(
            "INSERT INTO waitlist (id, resource_id, user_id, title, attendees_count, start_ms, end_ms,
                                   priority, status, version, joined_ms, updated_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&entry.id)
        .bind(&entry.resource_id)
        .bind(&entry.user_id)
        .bind(&entry.title)
        .bind(entry.attendees_count)
        .bind(entry.start_ms)
        .bind(entry.end_ms)
        .bind(entry.priority)
        .bind(entry.status)
        .bind(entry.version)
        .bind(entry.joined_ms)
        .bind(entry.updated_ms)
        .execute(&mut *self.connection)
        .await?;
        let standing = waitlist::standing(&mut *self.connection, &entry.id)
            .await?
            .ok_or_else(|| WriteError::Database(format!("entry {} was not written", entry.id)))?;
        let particulars = Particulars {
            position: standing.position,
            ..Particulars::default()
        };
        self.told_entry("waitlist.joined", None, &entry, resource, particulars)
            .await?;
        Ok(standing)
    }
}
