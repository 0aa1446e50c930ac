//! The end of a resource or a user. The row stays, for bookings of the past name it; bookings to come
//! and places in waitlists go first, in the same transaction.

use crate::changes::freed::GivenUp;
use crate::changes::master::{Changed, MasterRecord, Named};
use crate::changes::step::Stepped;
use crate::changes::waitlist::Ending;
use crate::command::Command;
use crate::error::WriteError;
use crate::queries::{self, Owner};
use crate::status::{Status, Step};
use crate::waitlist;
use crate::work::Work;

/// How many bookings, and how many entries of waitlists, one change takes away at most: everybody
/// else's changes wait for it.
pub(crate) const MAX_AT_ONCE: usize = 1_000;

/// What is to happen to bookings to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithBookings {
    /// Where there are any, nothing is removed.
    Refuse,
    /// They are cancelled.
    Cancel,
}

/// What stood in the way, or what went along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleared {
    /// Nothing is left.
    Done { bookings: usize, waiting: usize },
    /// Bookings are to come, and nobody said that they may be cancelled.
    Standing { bookings: i64 },
    /// More than one change takes away.
    TooMany { bookings: i64, waiting: usize },
    /// So many bookings have their people inside.
    Inside { bookings: usize },
}

/// What became of it.
pub(crate) type Removed = Changed<Cleared>;

/// Asks for the end of one.
pub(crate) struct Remove<R> {
    pub(crate) named: Named<R>,
    pub(crate) bookings: WithBookings,
}

impl<R: MasterRecord> Command for Remove<R> {
    type Done = Removed;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Removed, WriteError> {
        let before = match self.named.find(work).await? {
            Changed::Now(before) => before,
            Changed::Missing => return Ok(Changed::Missing),
            Changed::OtherVersion(version) => return Ok(Changed::OtherVersion(version)),
        };
        let reason = before.removal();
        let cleared = work.clear(before.owner(), self.bookings, &reason).await?;
        if let Cleared::Done { .. } = cleared {
            let record = before.clone().at_version(before.version() + 1);
            work.mark_deleted(&record).await?;
            work.revoke_all(record.owner()).await?;
            record.end(&before, work).await?;
        }
        Ok(Changed::Now(cleared))
    }
}

impl Work<'_> {
    /// Takes away what is to come, or says what stands in the way and takes nothing.
    async fn clear(
        &mut self,
        owner: Owner<'_>,
        bookings: WithBookings,
        reason: &str,
    ) -> Result<Cleared, WriteError> {
        let count = queries::coming_count(&mut *self.connection, owner, self.now_ms).await?;
        if count > 0 && bookings == WithBookings::Refuse {
            return Ok(Cleared::Standing { bookings: count });
        }
        let most = i64::try_from(MAX_AT_ONCE).unwrap_or(i64::MAX);
        let waiters =
            waitlist::living_entries(&mut *self.connection, owner.into(), most + 1).await?;
        if count > most || waiters.len() > MAX_AT_ONCE {
            return Ok(Cleared::TooMany {
                bookings: count,
                waiting: waiters.len(),
            });
        }
        let coming = queries::coming(&mut *self.connection, owner, self.now_ms, most).await?;
        let inside = coming
            .iter()
            .filter(|booking| booking.status == Status::CheckedIn);
        match inside.count() {
            0 => {}
            bookings => return Ok(Cleared::Inside { bookings }),
        }
        let mut given_up = GivenUp::default();
        for waiter in &waiters {
            self.end_of_several(waiter, Ending::Removed, Some(reason), &mut given_up)
                .await?;
        }
        let mut cancelled = 0;
        // What was held for somebody who waited has gone with their entry.
        let coming = coming
            .into_iter()
            .filter(|booking| booking.status != Status::Held);
        for booking in coming {
            let resource = self.resource_of(&booking).await?;
            let id = booking.id.clone();
            match self
                .step_of_several(
                    booking,
                    &resource,
                    Step::Cancel,
                    Some(reason),
                    &mut given_up,
                )
                .await?
            {
                Stepped::Taken(_) => cancelled += 1,
                _ => {
                    return Err(WriteError::Database(format!(
                        "booking {id} could not be cancelled"
                    )));
                }
            }
        }
        self.freed(given_up).await?;
        Ok(Cleared::Done {
            bookings: cancelled,
            waiting: waiters.len(),
        })
    }

    async fn mark_deleted<R: MasterRecord>(&mut self, record: &R) -> Result<(), WriteError> {
        let mut query = sqlx::QueryBuilder::new("UPDATE ");
        query.push(R::KIND.table).push(" SET deleted_ms = ");
        query.push_bind(self.now_ms).push(", updated_ms = ");
        query.push_bind(self.now_ms).push(", version = ");
        query.push_bind(record.version()).push(" WHERE id = ");
        query.push_bind(record.id());
        query.build().execute(&mut *self.connection).await?;
        Ok(())
    }
}
