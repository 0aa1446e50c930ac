//! Sweeping: the service looks for what is due and does it.
//!
//! Looking is done by readers and costs the writer nothing, so a service that has nothing to do
//! writes nothing. What is found is done in changes of their own, a bounded number at a time, between
//! those that people ask for; each sees for itself whether it is still due. One node sweeps at a time:
//! each change takes the lease in its own transaction, or does nothing. What two nodes would do if
//! they swept together would still be right, for the same reason; the lease spares them the work.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::actor::Actor;
use crate::analytics;
use crate::changes::{Chore, Done, Due, KEPT_CONFLICTS_MS};
use crate::config::BookingConfig;
use crate::error::BookingError;
use crate::interval::Interval;
use crate::lease::{self, Release};
use crate::queries;
use crate::service::Booking;
use crate::telemetry::{RecentUse, SweepDone, SweepFailed, Waiting};
use crate::waitlist;

/// How many things are done at once; they share a commit.
const AT_ONCE: i64 = 32;

/// How often a sweep goes on with one kind of thing before it turns to the next.
const ROUNDS: u32 = 32;

/// How long ago a booking may have ended that still counts as missed, in milliseconds: a week. After a
/// longer sleep nobody wants to hear of it, and there is no time left to free.
const LOOK_BACK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How often it is counted how many wait.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// How often it is counted how the place was used of late: it reads some thousand rows.
const COUNT_USE_EVERY: Duration = Duration::from_secs(60);

/// How far back that goes, in milliseconds: a week has each day once.
const RECENT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Holds that were not accepted in time.
    pub holds: u64,
    /// Entries of waitlists whose time began.
    pub waits: u64,
    /// Bookings that began, and nobody had approved.
    pub unapproved: u64,
    /// Bookings to which nobody came.
    pub missed: u64,
    /// Bookings that were over, and nobody had checked out.
    pub overstayed: u64,
    /// Answers to requests with an `Idempotency-Key` that were kept long enough.
    pub answers: u64,
    /// Conflicts about times that are long over.
    pub conflicts: u64,
    /// Whether something was left to another node, which has the lease.
    pub left_to_another: bool,
}

/// The kinds of things that can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Holds,
    Waits,
    Unapproved,
    Missed,
    Overstayed,
    Answers,
    Conflicts,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Holds,
        Kind::Waits,
        Kind::Unapproved,
        Kind::Missed,
        Kind::Overstayed,
        Kind::Answers,
        Kind::Conflicts,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Holds => "holds",
            Kind::Waits => "waits",
            Kind::Unapproved => "unapproved",
            Kind::Missed => "missed",
            Kind::Overstayed => "overstayed",
            Kind::Answers => "answers",
            Kind::Conflicts => "conflicts",
        }
    }

    /// What is due of this kind, at most [`AT_ONCE`].
    async fn due(
        self,
        readers: &SqlitePool,
        config: &BookingConfig,
        times: Times,
    ) -> Result<Vec<Due>, sqlx::Error> {
        let now_ms = times.now_ms;
        let late_ms = i64::from(config.release_after_minutes) * 60_000;
        let (ids, due): (Vec<String>, fn(String) -> Due) = match self {
            Kind::Holds => (ids(readers, ENDED_HOLDS, now_ms).await?, Due::Hold),
            Kind::Waits => (ids(readers, ENDED_WAITS, now_ms).await?, Due::Wait),
            Kind::Unapproved => {
                let late = late(readers, UNAPPROVED, config, times).await?;
                (late, Due::Unapproved)
            }
            Kind::Missed => (late(readers, MISSED, config, times).await?, Due::Missed),
            Kind::Overstayed => {
                let ended = ids(readers, ENDED_BOOKINGS, now_ms - late_ms).await?;
                (ended, Due::Overstayed)
            }
            Kind::Answers => {
                let before_ms = now_ms.saturating_sub(config.answers_ms());
                let is_due = old_answers(readers, before_ms).await?;
                return Ok(is_due.then_some(Due::Answers).into_iter().collect());
            }
            Kind::Conflicts => {
                let before_ms = now_ms.saturating_sub(KEPT_CONFLICTS_MS);
                let is_due = old_conflicts(readers, before_ms).await?;
                return Ok(is_due.then_some(Due::Conflicts).into_iter().collect());
            }
        };
        Ok(ids.into_iter().map(due).collect())
    }
}

const ENDED_HOLDS: &str = "SELECT id FROM bookings WHERE status = 'held' AND hold_until_ms <= ?
                           ORDER BY hold_until_ms LIMIT ?";
const ENDED_WAITS: &str = "SELECT id FROM waitlist WHERE status = 'waiting' AND start_ms <= ?
                           ORDER BY start_ms LIMIT ?";
const ENDED_BOOKINGS: &str = "SELECT id FROM bookings WHERE status = 'checked_in' AND end_ms <= ?
                              ORDER BY end_ms LIMIT ?";

/// What such a query finds until a moment.
async fn ids(
    readers: &SqlitePool,
    query: &'static str,
    until_ms: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(query)
        .bind(until_ms)
        .bind(AT_ONCE)
        .fetch_all(readers)
        .await
}

async fn old_answers(readers: &SqlitePool, before_ms: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM idempotency WHERE created_ms <= ?)")
        .bind(before_ms)
        .fetch_one(readers)
        .await
}

async fn old_conflicts(readers: &SqlitePool, before_ms: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM conflicts WHERE end_ms <= ?)")
        .bind(before_ms)
        .fetch_one(readers)
        .await
}

/// What a look for what is due goes by.
#[derive(Debug, Clone, Copy)]
struct Times {
    now_ms: i64,
    /// Since when the service is there.
    open_since_ms: i64,
}

/// Bookings to which nobody came. Each resource has its own grace, so it is one look into the index
/// for each; bookings to which it does not apply are never walked over.
const MISSED: &str = "
    SELECT booking.id
    FROM (SELECT id, 60000 * COALESCE(json_extract(rules, '$.noShowAfterMinutes'), ?1) AS grace_ms
          FROM resources) AS resource
    CROSS JOIN bookings AS booking
    WHERE resource.grace_ms > 0
      AND booking.resource_id = resource.id AND booking.status = 'confirmed'
      AND booking.start_ms <= ?2 - resource.grace_ms
      AND booking.start_ms > ?2 - ?3 - ?4
      AND booking.end_ms > max(?2 - ?3, ?5)
      AND max(booking.settled_ms, ?5) <= ?2 - resource.grace_ms
    LIMIT ?6";

/// Bookings that should be running, and nobody approved; without a grace those that are over.
const UNAPPROVED: &str = "
    SELECT booking.id
    FROM bookings AS booking
    CROSS JOIN (SELECT id, 60000 * COALESCE(json_extract(rules, '$.noShowAfterMinutes'), ?1) AS grace_ms
                FROM resources) AS resource
    WHERE booking.status = 'pending' AND booking.start_ms <= ?2
      AND resource.id = booking.resource_id
      AND (booking.end_ms <= ?2
           OR (resource.grace_ms > 0
               AND max(booking.start_ms, booking.settled_ms, ?5) <= ?2 - resource.grace_ms))
    ORDER BY booking.start_ms LIMIT ?6";

async fn late(
    readers: &SqlitePool,
    query: &'static str,
    config: &BookingConfig,
    times: Times,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(query)
        .bind(config.no_show_after_minutes)
        .bind(times.now_ms)
        .bind(LOOK_BACK_MS)
        .bind(queries::MAX_DURATION_MS)
        .bind(times.open_since_ms)
        .bind(AT_ONCE)
        .fetch_all(readers)
        .await
}

impl Booking {
    /// Sweeps every `sweep_every_ms` until `shutdown` turns true or its sender is gone. Spawn it once;
    /// several nodes on one database take turns.
    pub fn sweeper(
        &self,
        mut shutdown: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let booking = self.clone();
        async move {
            let every = Duration::from_millis(booking.parts().config.sweep_every_ms);
            let mut measured: Option<Instant> = None;
            let mut counted: Option<Instant> = None;
            loop {
                // What a sweep that is cut off has not done is due at the next.
                let sweep = async {
                    if let Err(error) = booking.sweep_once().await {
                        SweepFailed { error: &error }.emit();
                    }
                    if measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                        booking.measure_waiting().await;
                        measured = Some(Instant::now());
                    }
                    if counted.is_none_or(|at| at.elapsed() >= COUNT_USE_EVERY) {
                        booking.measure_recent_use().await;
                        counted = Some(Instant::now());
                    }
                    sleep(every).await;
                };
                tokio::select! {
                    biased;
                    _ = shutdown.wait_for(|stop| *stop) => break,
                    () = sweep => {}
                }
            }
            let release = Release {
                name: lease::SWEEP,
                holder: booking.parts().node.clone(),
            };
            if let Err(error) = booking.parts().writer.write(release).await {
                tracing::debug!(%error, "the lease of the sweeps runs out by itself");
            }
        }
    }

    /// One sweep: does what is due now. What fails is tried again at the next; the rest is done.
    ///
    /// # Errors
    /// The first thing that failed.
    pub async fn sweep_once(&self) -> Result<Swept, BookingError> {
        let mut swept = Swept::default();
        let mut outcome = Ok(());
        for kind in Kind::ALL {
            let done = self.sweep_kind(kind, &mut swept).await;
            outcome = outcome.and(done);
        }
        outcome.map(|()| swept)
    }

    async fn sweep_kind(&self, kind: Kind, swept: &mut Swept) -> Result<(), BookingError> {
        let parts = self.parts();
        for _ in 0..ROUNDS {
            let now_ms = parts.clock.now_ms();
            let open_since_ms = parts.open_since_ms(now_ms);
            let times = Times {
                now_ms,
                open_since_ms,
            };
            let due = kind.due(&parts.readers, &parts.config, times).await?;
            if due.is_empty() {
                return Ok(());
            }
            let chores = due.into_iter().map(|due| {
                let chore = Chore {
                    node: parts.node.clone(),
                    open_since_ms,
                    due,
                };
                self.carry_out(Actor::service(), chore)
            });
            let mut rows = 0;
            let mut failure = None;
            for done in join_all(chores).await {
                match done {
                    Ok(Done::Rows(done)) => rows += done,
                    Ok(Done::NotOurs) => swept.left_to_another = true,
                    Err(error) => failure = Some(error),
                }
            }
            *swept.count_of(kind) += rows;
            if rows > 0 {
                let kind = kind.as_str();
                SweepDone { kind, rows }.emit();
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
            if rows == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn measure_waiting(&self) {
        match waitlist::all_waiting(&self.parts().readers).await {
            Ok(entries) => Waiting { entries }.emit(),
            Err(error) => tracing::warn!(%error, "it could not be counted how many wait"),
        }
    }

    async fn measure_recent_use(&self) {
        let now_ms = self.parts().clock.now_ms();
        let week = Interval::new(now_ms.saturating_sub(RECENT_MS), now_ms);
        match analytics::summary(&self.parts().readers, week, now_ms).await {
            Ok(summary) => RecentUse { summary: &summary }.emit(),
            Err(error) => tracing::warn!(%error, "it could not be counted how the place is used"),
        }
    }
}

impl Swept {
    fn count_of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Holds => &mut self.holds,
            Kind::Waits => &mut self.waits,
            Kind::Unapproved => &mut self.unapproved,
            Kind::Missed => &mut self.missed,
            Kind::Overstayed => &mut self.overstayed,
            Kind::Answers => &mut self.answers,
            Kind::Conflicts => &mut self.conflicts,
        }
    }
}
