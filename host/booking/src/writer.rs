//! The only place that writes: one connection, one queue, and many changes a commit.
//!
//! SQLite has one writer at a time, and with `synchronous=FULL` every commit waits for the disk. So
//! changes that wait together are committed together: each runs in a savepoint of its own, which makes
//! it all or nothing, and is answered only after the commit that holds it. A change that the database
//! refuses is rolled back to its savepoint and does not touch the others.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use crate::error::WriteError;

/// How many changes may wait. Beyond it requests are held back, and then refused.
const QUEUE_CHANGES: usize = 1024;

/// How many changes share a commit at most, which bounds how long the first of them waits.
const GROUP_CHANGES: usize = 128;

/// How far a clock is set back at most, in milliseconds, without having been wrong: what is beyond the
/// corrections of time servers.
pub(crate) const MOST_SET_BACK_MS: i64 = 60_000;

/// How long a request waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something to be written, with the events that tell of it.
pub(crate) trait Change: Send + Sync + 'static {
    /// What the one who asked is told. A refusal by the rules of booking is such an answer too: what
    /// was written before it (the event of a conflict) stands.
    type Done: Send + 'static;

    /// Writes. An error takes back everything that this change wrote. `now_ms` runs backwards from one
    /// change to the next only where the clock was wrong before.
    fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> impl Future<Output = Result<Self::Done, WriteError>> + Send;
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        WriteError::Database(error.to_string())
    }
}

/// Hands changes to the writer. Cheap to clone; the writer ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn QueuedChange>>,
    committed: Arc<Notify>,
}

impl Writer {
    /// Starts the writer on a connection of its own. `latest_ms` is the time of the newest change in the
    /// database.
    pub(crate) fn start(connection: SqliteConnection, clock: Clock, latest_ms: i64) -> Self {
        let (queue, changes) = mpsc::channel(QUEUE_CHANGES);
        let committed = Arc::new(Notify::new());
        let task = WriterTask {
            connection,
            clock,
            latest_ms,
            committed: Arc::clone(&committed),
        };
        tokio::spawn(task.run(changes));
        Self { queue, committed }
    }

    /// Woken after every commit. One waiter: the relay.
    pub(crate) fn committed(&self) -> &Notify {
        &self.committed
    }

    /// Whether the writer still takes changes.
    pub(crate) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Writes a change and answers once it is on disk. Whoever stops waiting does not stop the change.
    pub(crate) async fn write<C: Change>(&self, change: C) -> Result<C::Done, WriteError> {
        let (reply, answer) = oneshot::channel();
        let queued = Box::new(Queued {
            change,
            outcome: None,
            reply,
        });
        self.queue
            .send_timeout(queued, PATIENCE)
            .await
            .map_err(|error| match error {
                mpsc::error::SendTimeoutError::Timeout(_) => WriteError::Busy,
                mpsc::error::SendTimeoutError::Closed(_) => WriteError::Stopped,
            })?;
        answer.await.unwrap_or(Err(WriteError::Stopped))
    }
}

/// A change and whoever waits for it, without their types.
trait QueuedChange: Send {
    /// Applies the change and keeps its outcome; answers whether it is to stand.
    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        now_ms: i64,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

    /// Tells the one who waits: the outcome, or why the commit failed.
    fn answer(self: Box<Self>, commit: &Result<(), WriteError>);
}

struct Queued<C: Change> {
    change: C,
    outcome: Option<Result<C::Done, WriteError>>,
    reply: oneshot::Sender<Result<C::Done, WriteError>>,
}

impl<C: Change> QueuedChange for Queued<C> {
    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        now_ms: i64,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let outcome = self.change.apply(connection, now_ms).await;
            let stands = outcome.is_ok();
            self.outcome = Some(outcome);
            stands
        })
    }

    fn answer(self: Box<Self>, commit: &Result<(), WriteError>) {
        let answer = match (self.outcome, commit) {
            (Some(Ok(done)), Ok(())) => Ok(done),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.clone()),
            (None, Ok(())) => Err(WriteError::Stopped),
        };
        // Nobody waits any more where the client hung up; the change stands all the same.
        drop(self.reply.send(answer));
    }
}

struct WriterTask {
    connection: SqliteConnection,
    clock: Clock,
    latest_ms: i64,
    committed: Arc<Notify>,
}

impl WriterTask {
    async fn run(mut self, mut changes: mpsc::Receiver<Box<dyn QueuedChange>>) {
        let mut group = Vec::with_capacity(GROUP_CHANGES);
        while changes.recv_many(&mut group, GROUP_CHANGES).await > 0 {
            let commit = self.commit_group(&mut group).await;
            if let Err(error) = &commit {
                tracing::error!(%error, changes = group.len(), "a group of changes was not committed");
                // Whatever state the failure left the transaction in, the next group needs none.
                drop(sqlx::query("ROLLBACK").execute(&mut self.connection).await);
            }
            for change in group.drain(..) {
                change.answer(&commit);
            }
            self.committed.notify_one();
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the booking database was not closed cleanly; it repairs itself when it is opened");
        }
    }

    async fn commit_group(
        &mut self,
        group: &mut [Box<dyn QueuedChange>],
    ) -> Result<(), WriteError> {
        // IMMEDIATE takes the write lock at once: a lock taken later could fail half way.
        self.control("BEGIN IMMEDIATE; SAVEPOINT change").await?;
        let last = group.len().saturating_sub(1);
        for (index, change) in group.iter_mut().enumerate() {
            let now_ms = self.now_ms();
            if !change.apply(&mut self.connection, now_ms).await {
                self.control("ROLLBACK TO change").await?;
            } else if index < last {
                self.control("RELEASE change; SAVEPOINT change").await?;
            }
        }
        // What is in a savepoint is committed with the rest.
        self.control("COMMIT").await
    }

    /// Statements without values. Each call is a round trip to the thread that has the database, which
    /// costs more than the statement, so those that follow each other go together.
    async fn control(&mut self, statements: &'static str) -> Result<(), WriteError> {
        sqlx::query(statements)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// The time of a change: the clock's. Where it was set back a little it waits for the change before
    /// it, so that the order of changes and that of their times are one; where it was set back by more,
    /// it was wrong before, and what is due goes by what it says now.
    fn now_ms(&mut self) -> i64 {
        let clock_ms = self.clock.now_ms();
        let back_ms = self.latest_ms.saturating_sub(clock_ms);
        if back_ms > MOST_SET_BACK_MS {
            tracing::warn!(
                back_ms,
                "the clock shows an earlier time than the newest change; it was ahead then or is behind now, check it"
            );
            self.latest_ms = clock_ms;
        }
        self.latest_ms = self.latest_ms.max(clock_ms);
        self.latest_ms
    }
}
