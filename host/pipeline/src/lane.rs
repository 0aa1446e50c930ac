//! A lane away from the head: it has a cursor of its own and goes on by itself.
//!
//! It reads what it has missed through the pool of readers. Once it is near the head it also
//! follows: the head hands it each batch from a certain offset on. When it has handled all
//! of them, the head takes it back with its next batch.

mod blame;
pub(crate) mod following;
mod handling;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use carillon_bus::PartitionId;
use carillon_store::{LogId, RetryState};
use tokio::sync::{mpsc, watch};

use crate::backoff::now_ms;
use crate::batch::Batch;
use crate::context::{Context, taken_away};
use crate::gate::Turn;
use crate::handler::{Handler, PluginShared};
use crate::plan::Purpose;
use crate::reach::Reach;
use following::{Follow, Following};

/// A lane that waits longer than this lets go of the batches that it keeps.
const SHORT_WAIT: Duration = Duration::from_secs(1);
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// How a lane's task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The head has taken it back.
    Joined,
    /// The partition was taken away, or somebody else has taken the lane over.
    Left,
    /// It waits for the operator.
    Stopped,
}

pub(crate) struct Lane {
    pub(crate) context: Arc<Context>,
    pub(crate) handler: Arc<Handler>,
    /// Tells this task from an earlier one of the same lane.
    pub(crate) serial: u64,
    pub(crate) partition: PartitionId,
    pub(crate) log: LogId,
    /// The next record.
    pub(crate) cursor: i64,
    /// Faults at that record.
    pub(crate) retry: Option<RetryState>,
    /// The batch that the cursor stands in.
    pub(crate) current: Option<Arc<Batch>>,
    pub(crate) following: Option<Following>,
    /// Where the head stands.
    pub(crate) head: watch::Receiver<i64>,
    pub(crate) follow: mpsc::Sender<Follow>,
    pub(crate) revoked: watch::Receiver<bool>,
    pub(crate) reach: Arc<Reach>,
    /// Up to this offset events are written one by one: the store has refused them together.
    pub(crate) one_by_one_until: i64,
}

impl Lane {
    pub(crate) async fn run(mut self) -> End {
        let mut revoked = self.revoked.clone();
        let end = tokio::select! {
            // What is on its way to the store is written or not; the cursor tells.
            () = taken_away(&mut revoked) => End::Left,
            end = self.work() => end,
        };
        tracing::debug!(plugin = %self.handler.name, partition = %self.partition, cursor = self.cursor, ?end, "a lane away from the head has ended");
        end
    }

    async fn work(&mut self) -> End {
        loop {
            let shared = match self.take_up_version() {
                Ok(shared) => shared,
                Err(end) => return end,
            };
            let replaced = replaced(Arc::clone(&self.context), Arc::clone(&self.handler));
            tokio::pin!(replaced);
            let turn = tokio::select! {
                turn = self.turn(&shared) => turn,
                () = &mut replaced => continue,
            };
            let turn = match turn {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            let purpose = match turn {
                Turn::Free => Purpose::Live,
                Turn::Probe(_) => Purpose::Probe,
            };
            if matches!(purpose, Purpose::Live) {
                let waited = tokio::select! {
                    waited = self.wait_for_retry() => waited,
                    () = &mut replaced => continue,
                    () = shared.gate.closed() => continue,
                };
                if let Err(end) = waited {
                    return end;
                }
            }
            let batch = tokio::select! {
                batch = self.next_batch() => batch,
                () = &mut replaced => continue,
                () = shared.gate.closed(), if matches!(purpose, Purpose::Live) => continue,
            };
            let handled = match batch {
                Ok(batch) => self
                    .handle(&batch, purpose)
                    .await
                    // A cursor that was moved by somebody else may stand before the batch.
                    .map(|()| {
                        (batch.start..batch.next)
                            .contains(&self.cursor)
                            .then_some(batch)
                    }),
                Err(end) => Err(end),
            };
            match handled {
                Ok(rest) => self.current = rest,
                Err(end) => return end,
            }
        }
    }

    /// Between two events: the version that handles the next one.
    fn take_up_version(&mut self) -> Result<Arc<PluginShared>, End> {
        let Some(handler) = self.context.plugins.handler(self.handler.id) else {
            return Err(End::Left);
        };
        if handler.version != self.handler.version {
            // The attempts were another's.
            self.retry = None;
        }
        self.handler = handler;
        Ok(Arc::clone(&self.handler.plugin))
    }

    /// Waits until the lane may go on. A lane that may not holds nothing back meanwhile.
    async fn turn<'a>(&mut self, shared: &'a PluginShared) -> Result<Turn<'a>, End> {
        if shared.gate.is_open() {
            self.reach.lane(self.handler.id, self.cursor);
            return Ok(Turn::Free);
        }
        self.let_go()?;
        self.current = None;
        self.reach.ended(self.handler.id);
        loop {
            let turn = shared.gate.turn().await;
            let caught_up = self.cursor >= *self.head.borrow_and_update();
            if matches!(turn, Turn::Probe(_)) && caught_up {
                // There is nothing to try it with; others may have something.
                drop(turn);
                if self.head.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            self.reach.lane(self.handler.id, self.cursor);
            return Ok(turn);
        }
    }

    /// Does not follow the head any more, unless the head has taken the lane back already.
    fn let_go(&mut self) -> Result<(), End> {
        match self.following.take() {
            Some(following) if !following.progress.leave() => Err(End::Joined),
            _ => Ok(()),
        }
    }

    async fn wait_for_retry(&mut self) -> Result<(), End> {
        let Some(retry) = &self.retry else {
            return Ok(());
        };
        let wait = Duration::from_millis(u64::try_from(retry.retry_at_ms - now_ms()).unwrap_or(0));
        // The machine's clock may have been set back since.
        let longest = Duration::from_millis(self.context.config.max_retry_backoff_ms) * 2;
        let wait = wait.min(longest);
        if wait > SHORT_WAIT {
            self.let_go()?;
            self.current = None;
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Waits for the operator from now on.
    fn stopped(&self, reason: String) -> End {
        tracing::error!(plugin = %self.handler.name, partition = %self.partition, "a lane has stopped: {reason}");
        self.context
            .board
            .lane_stopped(&self.partition, self.handler.id, reason.clone());
        self.context
            .health
            .stopped(&self.partition, Some(&self.handler.name), reason);
        End::Stopped
    }

    fn moved(&mut self, next: i64, retry: Option<RetryState>) {
        self.cursor = next;
        self.retry = retry;
        self.reach.lane(self.handler.id, next);
        let retry = self.retry.as_ref();
        self.context.board.lane(
            &self.partition,
            self.handler.id,
            next,
            retry.map(|retry| (retry.attempts, retry.last_error.clone())),
        );
    }

    /// The cursor is not where this lane believes: an earlier commit was written although its
    /// answer was lost, or another host has taken over. The store knows.
    async fn look_up_place(&mut self) -> Result<(), End> {
        tokio::time::sleep(TROUBLE_PAUSE).await;
        let cursors = match self
            .context
            .store
            .cursors(self.log, self.partition.partition)
            .await
        {
            Ok(cursors) => cursors,
            Err(error) => {
                tracing::warn!(plugin = %self.handler.name, %error, "a lane's cursor cannot be read yet");
                return Ok(());
            }
        };
        let own = cursors
            .own
            .into_iter()
            .find(|(plugin, _)| *plugin == self.handler.id);
        let Some((_, cursor)) = own else {
            return Err(End::Left);
        };
        tracing::warn!(
            plugin = %self.handler.name, partition = %self.partition, believed = self.cursor, stored = cursor.next,
            "a lane's cursor was moved by somebody else; it goes on from there"
        );
        self.let_go()?;
        self.current = None;
        self.moved(cursor.next, cursor.retry);
        Ok(())
    }
}

/// Resolves once another version, or none, is to run in the place of `handler`.
async fn replaced(context: Arc<Context>, handler: Arc<Handler>) {
    let mut changes = context.plugins.changes();
    loop {
        let now = context.plugins.handler(handler.id);
        if !now.is_some_and(|now| Arc::ptr_eq(&now, &handler)) {
            return;
        }
        // The sender lives as long as the context.
        if changes.changed().await.is_err() {
            return;
        }
    }
}
