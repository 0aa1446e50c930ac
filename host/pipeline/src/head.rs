//! The head of a partition: reads it, and gives each batch to the lanes that stand there
//! together. They share one cursor; what they decide on a batch is one share of the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carillon_bus::{Assigned, Partition, PartitionId, ReaderPool, Working};
use carillon_store::{
    Cursor, CursorMove, Detached, Lane as CursorLane, LogId, PluginId, RetryState, Share, ShareError, Store,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::backoff::{now_ms, pause};
use crate::batch::{Batch, Decoded};
use crate::calls::{Plan, RunResult, Stop, StopCause};
use crate::committer::Committer;
use crate::config::PipelineConfig;
use crate::duplicates::Past;
use crate::lane::{End, Follow, FollowProgress, Following, INBOX, Lane};
use crate::offsets::Offsets;
use crate::plugins::{Handler, PluginTable};
use crate::workers::Workers;

/// How long a lane that was told to stop may take to bring what it has.
const GRACE: Duration = Duration::from_millis(20);

/// What all heads and lanes work with.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) workers: Workers,
    pub(crate) plugins: PluginTable,
    pub(crate) readers: ReaderPool,
    pub(crate) offsets: Offsets,
    pub(crate) config: PipelineConfig,
}

impl Context {
    /// What is stored after a failed attempt.
    pub(crate) fn retry_state(&self, attempts: u32, last_error: String) -> RetryState {
        let first = Duration::from_millis(self.config.retry_backoff_ms);
        let longest = Duration::from_millis(self.config.max_retry_backoff_ms);
        let wait = pause(attempts, first, longest);
        RetryState {
            attempts,
            retry_at_ms: now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
            last_error,
        }
    }
}

pub(crate) struct Head {
    context: Arc<Context>,
    log: LogId,
    id: PartitionId,
    partition: Partition,
    revoked: watch::Receiver<bool>,
    _working: Working,
    /// Lanes with a cursor of their own, and how the head reaches those that follow.
    away: HashMap<PluginId, Option<Follower>>,
    tasks: JoinSet<(PluginId, End)>,
    position: watch::Sender<i64>,
    follow: (mpsc::Sender<Follow>, mpsc::Receiver<Follow>),
}

struct Follower {
    inbox: mpsc::Sender<Arc<Batch>>,
    progress: Arc<FollowProgress>,
}

/// A lane's share of a batch, while it runs.
struct Running {
    handler: Arc<Handler>,
    result: tokio::sync::oneshot::Receiver<RunResult>,
    cancel: Arc<std::sync::atomic::AtomicBool>,
}

impl Head {
    pub(crate) fn new(context: Arc<Context>, log: LogId, assigned: Assigned) -> Self {
        let Assigned { partition, revoked, working, .. } = assigned;
        let id = partition.id().clone();
        let position = watch::Sender::new(partition.next_offset());
        Self {
            context,
            log,
            id,
            partition,
            revoked,
            _working: working,
            away: HashMap::new(),
            tasks: JoinSet::new(),
            position,
            follow: mpsc::channel(64),
        }
    }

    /// Works until the partition is taken away.
    pub(crate) async fn run(mut self) {
        let mut revoked = self.revoked.clone();
        if let Err(reason) = self.begin().await {
            tracing::error!(partition = %self.id, reason, "a partition could not be begun");
            return;
        }
        loop {
            let (records, bytes) = (self.context.config.batch_records, self.context.config.batch_bytes);
            tokio::select! {
                biased;
                () = taken_away(&mut revoked) => break,
                Some(request) = self.follow.1.recv() => self.take_follower(request),
                Some(ended) = self.tasks.join_next() => self.lane_ended(ended),
                records = self.partition.next_batch(records, bytes) => {
                    let start = *self.position.borrow();
                    let batch = Arc::new(Batch::decode(self.id.clone(), self.log, start, records));
                    if let Err(error) = self.handle(&batch).await {
                        tracing::error!(partition = %self.id, offset = start, %error, "work on a partition has ended");
                        break;
                    }
                }
            }
        }
        self.away.clear();
        self.tasks.shutdown().await;
        tracing::debug!(partition = %self.id, position = *self.position.borrow(), "a partition was let go");
    }

    /// Takes up the lanes that have a cursor of their own, and gives one to those whose plugin
    /// is known but not loaded: they catch up once it is back.
    async fn begin(&mut self) -> Result<(), String> {
        let start = *self.position.borrow();
        let cursors = self
            .context
            .store
            .cursors(self.log, self.id.partition)
            .await
            .map_err(|error| error.to_string())?;
        let loaded = self.context.plugins.loaded();
        let absent: Vec<Detached> = self
            .context
            .store
            .known_plugins()
            .into_iter()
            .filter(|(id, _)| !loaded.handlers.contains_key(id) && !cursors.own.iter().any(|(own, _)| own == id))
            .map(|(plugin, _)| Detached { plugin, next: start, retry: None })
            .collect();
        if !absent.is_empty() {
            let mut share = Share::moving(self.cursor_move(start, start, now_ms()));
            share.detached = absent;
            self.context.committer.commit(share, Vec::new()).await.map_err(|error| error.to_string())?;
        }
        for (plugin, cursor) in cursors.own {
            if let Some(handler) = loaded.handlers.get(&plugin) {
                self.send_away(handler, cursor, None);
            }
        }
        tracing::debug!(partition = %self.id, position = start, lanes_away = self.away.len(), "a partition was taken up");
        Ok(())
    }

    fn cursor_move(&self, expected: i64, next: i64, logged_at_ms: i64) -> CursorMove {
        CursorMove {
            log: self.log,
            partition: self.id.partition,
            lane: CursorLane::Head,
            expected: Some(expected),
            next,
            logged_at_ms,
            retry: None,
        }
    }

    async fn handle(&mut self, batch: &Arc<Batch>) -> Result<(), ShareError> {
        let joined = self.feed_followers(batch);
        let results = self.run_lanes(batch).await;

        let mut share = Share::moving(self.cursor_move(batch.start, batch.next, batch.logged_at_ms));
        share.dead_letters = batch.undecodable();
        share.joined = joined;
        let fallback = share.clone();
        let lanes: Vec<Arc<Handler>> = results.iter().map(|(handler, _)| Arc::clone(handler)).collect();
        let mut tickets = Vec::new();
        let mut leaving = Vec::new();
        let mut effects = Vec::new();
        for (handler, result) in results {
            if let Some(stop) = result.stop {
                let retry = self.retry(&stop);
                leaving.push((Arc::clone(&handler), Cursor { next: stop.offset, retry }));
            }
            share.decisions.extend(result.decisions);
            share.dead_letters.extend(result.dead_letters);
            effects.extend(result.effects);
            if let Some((writes, ticket)) = result.state {
                share.state.push(writes);
                tickets.push(ticket);
            }
        }
        // In the order of the events, so that each key's notifications stand in order.
        effects.sort_by_key(|(index, _)| *index);
        share.effects = effects.into_iter().map(|(_, effect)| effect).collect();
        share.detached = detached(&leaving);
        metrics::counter!("carillon_events_total", "topic" => batch.partition.topic.to_string())
            .increment(batch.items.len() as u64);

        let leaving = match self.context.committer.commit(share, tickets).await {
            Ok(()) => leaving,
            Err(ShareError::StateConflict | ShareError::AlreadyDecided(_) | ShareError::Refused(_)) => {
                self.commit_apart(batch, fallback, lanes).await?
            }
            Err(error) => return Err(error),
        };
        self.position.send_replace(batch.next);
        self.context.offsets.stored(&self.id, batch.next);
        for (handler, cursor) in leaving {
            self.send_away(&handler, cursor, Some(Arc::clone(batch)));
        }
        Ok(())
    }

    /// The lanes' share cannot be written as it is: each of them handles the batch again, by
    /// itself, and the head goes on without them.
    async fn commit_apart(
        &self,
        batch: &Batch,
        mut share: Share,
        lanes: Vec<Arc<Handler>>,
    ) -> Result<Vec<(Arc<Handler>, Cursor)>, ShareError> {
        let leaving: Vec<(Arc<Handler>, Cursor)> =
            lanes.into_iter().map(|handler| (handler, Cursor { next: batch.start, retry: None })).collect();
        tracing::info!(partition = %self.id, offset = batch.start, lanes = leaving.len(), "the lanes of a batch go on one by one");
        share.detached = detached(&leaving);
        self.context.committer.commit(share, Vec::new()).await?;
        Ok(leaving)
    }

    fn retry(&self, stop: &Stop) -> Option<RetryState> {
        match &stop.cause {
            StopCause::Failed { attempts, error } => Some(self.context.retry_state(*attempts, error.clone())),
            StopCause::Host { .. } | StopCause::Cancelled => None,
        }
    }

    /// Gives the batch to those who follow; answers those who have caught up and are taken
    /// back with this batch.
    fn feed_followers(&mut self, batch: &Arc<Batch>) -> Vec<PluginId> {
        let mut joined = Vec::new();
        for (plugin, follower) in &mut self.away {
            let Some(there) = follower else { continue };
            let idle = there.inbox.capacity() == there.inbox.max_capacity();
            if idle && there.progress.done_to.load(Ordering::Acquire) == batch.start {
                joined.push(*plugin);
                there.progress.joined.store(true, Ordering::Release);
            } else if there.inbox.try_send(Arc::clone(batch)).is_err() {
                // Too far behind, or gone: it reads by itself and asks again.
                *follower = None;
            }
        }
        for plugin in &joined {
            self.away.remove(plugin);
        }
        joined.sort_unstable();
        joined
    }

    async fn run_lanes(&self, batch: &Arc<Batch>) -> Vec<(Arc<Handler>, RunResult)> {
        let loaded = self.context.plugins.loaded();
        let mut lanes: HashMap<PluginId, Arc<Handler>> = HashMap::new();
        for decoded in batch.items.iter().filter_map(|item| item.content.as_ref().ok()) {
            for handler in loaded.subscribers(&decoded.event.kind).iter() {
                if !self.away.contains_key(&handler.id) {
                    lanes.entry(handler.id).or_insert_with(|| Arc::clone(handler));
                }
            }
        }
        if lanes.is_empty() {
            return Vec::new();
        }
        let wanted = |decoded: &Decoded| lanes.values().any(|handler| handler.wants(&decoded.event.kind));
        let past = self.past(batch, wanted).await;
        let mut handlers: Vec<&Arc<Handler>> = lanes.values().collect();
        handlers.sort_by_key(|handler| handler.id);
        let max_attempts = self.context.config.max_attempts;
        let running: Vec<Running> = handlers
            .into_iter()
            .map(|handler| (handler, Plan::new(handler, batch, &past, batch.start, 0, max_attempts)))
            .filter(|(_, plan)| !plan.is_empty())
            .map(|(handler, plan)| {
                let (result, cancel) = plan.start(&self.context.workers);
                Running { handler: Arc::clone(handler), result, cancel }
            })
            .collect();
        self.gather(batch, running).await
    }

    async fn past(&self, batch: &Batch, wanted: impl Fn(&Decoded) -> bool) -> Past {
        loop {
            match Past::look_up(&self.context.store, batch, &wanted).await {
                Ok(past) => return past,
                Err(error) => {
                    tracing::warn!(%error, "decisions cannot be looked up yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Waits for the lanes, but not longer than patience lasts: a lane never holds up another.
    async fn gather(&self, batch: &Batch, running: Vec<Running>) -> Vec<(Arc<Handler>, RunResult)> {
        let mut results = Vec::with_capacity(running.len());
        let mut late = Vec::new();
        let patience = Instant::now() + Duration::from_millis(self.context.config.patience_ms);
        for mut run in running {
            match timeout_at(patience, &mut run.result).await {
                Ok(Ok(result)) => results.push((run.handler, result)),
                Ok(Err(_)) => results.push((run.handler, nothing_done(batch, "the host panicked"))),
                Err(_) => {
                    run.cancel.store(true, Ordering::Relaxed);
                    late.push(run);
                }
            }
        }
        let grace = Instant::now() + GRACE;
        for mut run in late {
            tracing::debug!(plugin = %run.handler.name, partition = %self.id, "a lane lags and leaves the head");
            run.handler.counters.left_head.increment(1);
            let result = match timeout_at(grace, &mut run.result).await {
                Ok(Ok(result)) => result,
                // What it is doing now is dropped and done again.
                _ => nothing_done(batch, "it lags"),
            };
            results.push((run.handler, result));
        }
        results
    }

    /// From here on a lane goes on by itself. If it stood in `batch`, it follows at once.
    fn send_away(&mut self, handler: &Arc<Handler>, cursor: Cursor, batch: Option<Arc<Batch>>) {
        let following = batch.is_some().then(|| self.follower(handler.id));
        if following.is_none() {
            self.away.insert(handler.id, None);
        }
        let lane = Lane {
            context: Arc::clone(&self.context),
            handler: Arc::clone(handler),
            partition: self.id.clone(),
            log: self.log,
            cursor: cursor.next,
            retry: cursor.retry,
            current: batch.filter(|batch| cursor.next < batch.next),
            following,
            head: self.position.subscribe(),
            follow: self.follow.0.clone(),
            revoked: self.revoked.clone(),
            one_by_one: false,
        };
        let plugin = handler.id;
        self.tasks.spawn(async move { (plugin, lane.run().await) });
    }

    fn follower(&mut self, plugin: PluginId) -> Following {
        let (inbox, receiver) = mpsc::channel(INBOX);
        let progress = Arc::new(FollowProgress::default());
        progress.done_to.store(-1, Ordering::Release);
        self.away.insert(plugin, Some(Follower { inbox, progress: Arc::clone(&progress) }));
        Following { from: *self.position.borrow(), inbox: receiver, progress }
    }

    fn take_follower(&mut self, request: Follow) {
        let following = self.follower(request.handler.id);
        // The lane may have ended meanwhile.
        let _ = request.answer.send(following);
    }

    fn lane_ended(&mut self, ended: Result<(PluginId, End), tokio::task::JoinError>) {
        match ended {
            Ok((_, End::Joined | End::Left)) => {}
            Ok((plugin, End::Stopped)) => {
                self.away.insert(plugin, None);
            }
            Err(error) => tracing::error!(partition = %self.id, %error, "a lane's task has failed; it goes on after a restart"),
        }
    }
}

/// Resolves once the partition is taken away.
pub(crate) async fn taken_away(revoked: &mut watch::Receiver<bool>) {
    // An error means that the consumer is gone, and the partition with it.
    let _ = revoked.wait_for(|revoked| *revoked).await;
}

fn detached(leaving: &[(Arc<Handler>, Cursor)]) -> Vec<Detached> {
    leaving
        .iter()
        .map(|(handler, cursor)| Detached { plugin: handler.id, next: cursor.next, retry: cursor.retry.clone() })
        .collect()
}

fn nothing_done(batch: &Batch, why: &str) -> RunResult {
    let cause = StopCause::Host { error: why.to_owned() };
    RunResult { stop: Some(Stop { offset: batch.start, cause }), ..RunResult::default() }
}
