//! A lane away from the head: it has a cursor of its own and goes on by itself.
//!
//! It reads what it has missed through the pool of readers. Once it is near the head it also
//! follows: the head hands it each batch from a certain offset on. When it has handled all
//! of them, the head takes it back with its next batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use carillon_bus::{PartitionId, ReadError, UnknownPosition};
use carillon_store::{
    CursorMove, Decision, Lane as CursorLane, LogId, Outcome, PluginId, RetryState, Share,
    ShareError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::{now_ms, pause};
use crate::batch::{Batch, Why};
use crate::context::{Context, taken_away};
use crate::duplicates::Past;
use crate::gate::Turn;
use crate::handler::{Handler, PluginShared};
use crate::plan::{Plan, Purpose, RunResult, Stop, StopCause};
use crate::reach::Reach;
use crate::state_space::Ticket;

/// Batches that the head keeps for a follower before it lets go of it.
pub(crate) const INBOX: usize = 8;
/// A lane this near to the head follows it, in records.
const NEAR: i64 = 4_096;
/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 2_048;
const TURN_BYTES: usize = 1 << 20;
/// A lane that waits longer than this lets go of the batches that it keeps.
const SHORT_WAIT: Duration = Duration::from_secs(1);
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// A request to be handed batches from now on.
pub(crate) struct Follow {
    pub(crate) plugin: PluginId,
    /// Which of the plugin's tasks asks.
    pub(crate) serial: u64,
    pub(crate) answer: oneshot::Sender<Following>,
}

/// What a follower gets.
pub(crate) struct Following {
    /// The offset from which batches come.
    pub(crate) from: i64,
    pub(crate) inbox: mpsc::Receiver<Arc<Batch>>,
    pub(crate) progress: Arc<FollowProgress>,
}

/// Shared by a follower and the head.
#[derive(Default)]
pub(crate) struct FollowProgress {
    /// Everything before this offset is committed.
    pub(crate) done_to: AtomicI64,
    standing: AtomicU8,
}

/// Both sides may let go at the same moment: only one of them succeeds.
const FOLLOWING: u8 = 0;
const JOINED: u8 = 1;
const LEFT: u8 = 2;

impl FollowProgress {
    /// The head takes the lane back; answers whether it still followed.
    pub(crate) fn join(&self) -> bool {
        self.change(JOINED)
    }

    /// The lane goes on by itself; answers whether it may.
    fn leave(&self) -> bool {
        self.change(LEFT)
    }

    fn has_joined(&self) -> bool {
        self.standing.load(Ordering::Acquire) == JOINED
    }

    fn change(&self, to: u8) -> bool {
        self.standing
            .compare_exchange(FOLLOWING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

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

    async fn next_batch(&mut self) -> Result<Arc<Batch>, End> {
        loop {
            if let Some(batch) = self.current.take() {
                return Ok(batch);
            }
            let head = *self.head.borrow_and_update();
            if self.following.is_none() && head - self.cursor <= NEAR {
                let (answer, following) = oneshot::channel();
                let request = Follow {
                    plugin: self.handler.id,
                    serial: self.serial,
                    answer,
                };
                // Without a head the partition is being taken away; `run` notices.
                if self.follow.send(request).await.is_ok() {
                    self.following = following.await.ok();
                }
            }
            let until = self
                .following
                .as_ref()
                .map_or(head, |following| following.from);
            if self.cursor < until {
                if let Some(batch) = self.read(until).await? {
                    return Ok(batch);
                }
                continue;
            }
            let Some(following) = &mut self.following else {
                // Caught up with where the head stood when it was looked at.
                if self.head.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            following
                .progress
                .done_to
                .store(self.cursor, Ordering::Release);
            match following.inbox.recv().await {
                Some(batch) if batch.next <= self.cursor => {}
                Some(batch) => return Ok(batch),
                None if following.progress.has_joined() => {
                    return Err(End::Joined);
                }
                // The head has let go of it: too far behind.
                None => self.following = None,
            }
        }
    }

    /// Reads on from the cursor; answers nothing if the stretch was empty.
    async fn read(&mut self, until: i64) -> Result<Option<Arc<Batch>>, End> {
        match self
            .context
            .readers
            .read(&self.partition, self.cursor, until, TURN, TURN_BYTES)
            .await
        {
            Ok(stretch) if stretch.next == self.cursor => Ok(None),
            Ok(stretch) => {
                let mut batch = Batch::decode(
                    self.partition.clone(),
                    self.log,
                    self.cursor,
                    stretch.records,
                );
                batch.next = stretch.next;
                Ok(Some(Arc::new(batch)))
            }
            Err(ReadError::OutOfRange { low, high, .. }) => {
                self.lost_place(low, high).await?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(plugin = %self.handler.name, %error, "a lane cannot read what it has missed yet");
                tokio::time::sleep(TROUBLE_PAUSE).await;
                Ok(None)
            }
        }
    }

    /// The log no longer has what the lane would read next. It goes on as the operator has chosen,
    /// or waits for a choice.
    async fn lost_place(&mut self, low: i64, high: i64) -> Result<(), End> {
        let gone = (low - self.cursor).max(0);
        let plugin = self.handler.name.to_string();
        metrics::counter!("carillon_lost_positions_total", "plugin" => plugin.clone()).increment(1);
        let what = format!(
            "the lane of {plugin} on {} stands at {}, and the log holds {low} to {high}: {gone} events that it had not handled are gone",
            self.partition, self.cursor
        );
        let next = match self.context.unknown_position {
            UnknownPosition::Earliest => low,
            UnknownPosition::Latest => high,
            UnknownPosition::Stop => {
                let reason = format!(
                    "{what}; choose where to go on with notification_service.kafka.unknown_position = \"earliest\" or \"latest\", and restart"
                );
                return Err(self.stopped(reason));
            }
        };
        tracing::error!(next, "{what}; it goes on as configured");
        let share = Share::moving(CursorMove {
            log: self.log,
            partition: self.partition.partition,
            lane: CursorLane::Plugin(self.handler.id),
            expected: Some(self.cursor),
            next,
            logged_at_ms: 0,
            retry: None,
        });
        match self.context.committer.commit(share, Vec::new()).await {
            None => Err(End::Left),
            Some(Ok(())) => {
                self.let_go()?;
                self.moved(next, None);
                Ok(())
            }
            Some(Err(_)) => self.look_up_place().await,
        }
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

    /// Handles a batch from the cursor on, as far as it goes, and commits.
    async fn handle(&mut self, batch: &Arc<Batch>, purpose: Purpose) -> Result<(), End> {
        let past = self.past(batch).await;
        let failed_before = self.retry.as_ref().map_or(0, |retry| retry.attempts);
        let max_attempts = self.context.config.max_attempts;
        let mut plan = Plan::new(
            &self.handler,
            batch,
            &past,
            self.cursor,
            failed_before,
            max_attempts,
        )
        .away(purpose.clone());
        if self.cursor < self.one_by_one_until || matches!(purpose, Purpose::Probe) {
            plan.keep_first();
        }
        let (planned_to, first) = (plan.next(), plan.first());
        let result = if plan.is_empty() {
            RunResult::default()
        } else {
            let workers = self.context.workers_for(&self.handler);
            match plan.start(workers).result.await {
                Ok(result) => result,
                Err(_) => self.panicked(batch, first, failed_before, &purpose),
            }
        };
        let next = result.stop.as_ref().map_or(planned_to, |stop| stop.offset);
        let retry = self.retry_after(result.stop.as_ref());
        let mut share = Share::moving(self.cursor_move(batch, next, retry.clone()));
        share.decisions = result.decisions;
        share.effects = result
            .effects
            .into_iter()
            .map(|(_, effect)| effect)
            .collect();
        share.dead_letters = result.dead_letters;
        share.answers = result.answers;
        let (state, tickets) = result.state.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        share.state = state;
        if self.commit(batch, share, tickets, first).await? {
            self.moved(next, retry);
            self.pause_after_host_trouble(result.stop.as_ref()).await;
        }
        Ok(())
    }

    /// Writes a share; answers whether it stands. If not, the lane looks again at what it has to
    /// do.
    async fn commit(
        &mut self,
        batch: &Arc<Batch>,
        share: Share,
        tickets: Vec<Ticket>,
        first: Option<usize>,
    ) -> Result<bool, End> {
        match self.context.committer.commit(share, tickets).await {
            None => Err(End::Left),
            Some(Ok(())) => Ok(true),
            Some(Err(failed)) => match failed.error {
                // Somebody else was faster; another look at the store tells by how much.
                ShareError::StateConflict | ShareError::AlreadyDecided(_) => Ok(false),
                ShareError::Refused(reason) if self.cursor < self.one_by_one_until => {
                    self.blame(batch, first, &reason).await?;
                    Ok(false)
                }
                ShareError::Refused(reason) => {
                    tracing::warn!(plugin = %self.handler.name, reason, "the store refuses what a plugin decided; its events are written one by one");
                    self.one_by_one_until = batch.next;
                    Ok(false)
                }
                ShareError::Fenced { .. } | ShareError::Unavailable(_) => {
                    self.look_up_place().await?;
                    Ok(false)
                }
            },
        }
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

    /// The host panicked while it ran the plugin, and has said so. Events are run one by one then,
    /// so that the one that does it is known; for that one it counts as an attempt, so that it
    /// cannot do it for ever, and as a fault of the plugin, whose doing it is.
    fn panicked(
        &mut self,
        batch: &Batch,
        first: Option<usize>,
        failed_before: u32,
        purpose: &Purpose,
    ) -> RunResult {
        let probing = matches!(purpose, Purpose::Probe);
        let offset = first.map_or(self.cursor, |index| batch.items[index].record.offset);
        let stop = |offset: i64, cause: StopCause| Some(Stop { offset, cause });
        // A probe is one event already.
        if self.cursor >= self.one_by_one_until && !probing {
            self.one_by_one_until = batch.next;
            let stop = stop(self.cursor, StopCause::Cancelled);
            return RunResult {
                stop,
                ..RunResult::default()
            };
        }
        let error = "the host panicked while it ran the plugin".to_owned();
        self.handler
            .panicked(first.map(|index| &batch.items[index]), &error);
        let attempts = if offset == self.cursor {
            failed_before + 1
        } else {
            1
        };
        if probing || attempts < self.context.config.max_attempts {
            let cause = match purpose {
                Purpose::Probe => StopCause::Probed,
                _ => StopCause::Failed { attempts, error },
            };
            let stop = stop(offset, cause);
            return RunResult {
                stop,
                ..RunResult::default()
            };
        }
        let mut result = self.given_up(batch, first, "panic", &error, attempts);
        result.stop = stop(offset + 1, StopCause::Cancelled);
        result
    }

    /// The decision and the dead letter of an event that is not tried again.
    fn given_up(
        &self,
        batch: &Batch,
        index: Option<usize>,
        code: &str,
        reason: &str,
        attempts: u32,
    ) -> RunResult {
        let mut result = RunResult::default();
        let Some(item) = index.map(|index| &batch.items[index]) else {
            return result;
        };
        let Ok(decoded) = &item.content else {
            return result;
        };
        let why = Why {
            code,
            reason: reason.to_owned(),
            attempts,
        };
        self.handler.plugin.counters.dead_letters.increment(1);
        result.dead_letters.push(batch.dead_letter(
            item,
            self.handler.id,
            self.handler.version,
            why,
        ));
        result.decisions.push(Decision {
            event_key: decoded.key,
            content_hash: decoded.content_hash,
            plugin: self.handler.id,
            version: self.handler.version,
            outcome: Outcome::DeadLettered,
            actions: 0,
            attempts,
            source: batch.source(item),
            replaces: false,
        });
        result
    }

    async fn past(&self, batch: &Batch) -> Past {
        loop {
            let wants = |decoded: &crate::batch::Decoded| self.handler.wants(&decoded.event.kind);
            match Past::look_up(&self.context.store, batch, wants).await {
                Ok(past) => return past,
                Err(error) => {
                    tracing::warn!(%error, "decisions cannot be looked up yet");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
            }
        }
    }

    fn cursor_move(&self, batch: &Batch, next: i64, retry: Option<RetryState>) -> CursorMove {
        CursorMove {
            log: self.log,
            partition: self.partition.partition,
            lane: CursorLane::Plugin(self.handler.id),
            expected: Some(self.cursor),
            next,
            logged_at_ms: batch.logged_before(next),
            retry,
        }
    }

    fn retry_after(&self, stop: Option<&Stop>) -> Option<RetryState> {
        match &stop?.cause {
            StopCause::Failed { attempts, error } => {
                Some(self.context.retry_state(*attempts, error.clone()))
            }
            // The host's trouble takes no attempt away, and a probe neither.
            StopCause::Host { .. } | StopCause::Probed | StopCause::Cancelled => self
                .retry
                .clone()
                .filter(|_| stop.is_some_and(|stop| stop.offset == self.cursor)),
        }
    }

    async fn pause_after_host_trouble(&self, stop: Option<&Stop>) {
        if let Some(Stop {
            cause: StopCause::Host { error },
            ..
        }) = stop
        {
            tracing::warn!(plugin = %self.handler.name, error, "the host could not run the plugin; it tries again");
            tokio::time::sleep(pause(1, Duration::from_millis(200), Duration::from_secs(1))).await;
        }
    }

    /// The store refuses what came of one event: it becomes a dead letter.
    async fn blame(
        &mut self,
        batch: &Arc<Batch>,
        first: Option<usize>,
        reason: &str,
    ) -> Result<(), End> {
        let Some(index) = first else {
            return Err(self.stopped(format!("the store refuses its progress: {reason}")));
        };
        let next = batch.items[index].record.offset + 1;
        let reason = format!("the store refused what the plugin decided: {reason}");
        let given_up = self.given_up(batch, Some(index), "store", &reason, 1);
        let mut share = Share::moving(self.cursor_move(batch, next, None));
        share.decisions = given_up.decisions;
        share.dead_letters = given_up.dead_letters;
        match self.context.committer.commit(share, Vec::new()).await {
            None => Err(End::Left),
            Some(Ok(())) => {
                self.moved(next, None);
                Ok(())
            }
            Some(Err(failed)) => match failed.error {
                ShareError::Refused(reason) => {
                    Err(self.stopped(format!("the store refuses a dead letter: {reason}")))
                }
                _ => self.look_up_place().await,
            },
        }
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
