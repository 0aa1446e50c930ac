//! The head of a partition: reads it, and gives each batch to the lanes that stand there
//! together. They share one cursor; what they decide on a batch is one share of the commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carillon_bus::{Assigned, Partition, PartitionId, PositionLost, Working};
use carillon_store::{
    Cursor, CursorMove, Detached, Lane as CursorLane, LogId, PluginId, RetryState, Share,
    ShareError,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::batch::{Batch, Decoded};
use crate::committer::Failed;
use crate::context::{Context, taken_away};
use crate::duplicates::Past;
use crate::handler::Handler;
use crate::lane::following::{Follow, FollowProgress, Following, INBOX};
use crate::lane::{End, Lane};
use crate::plan::{Plan, RunHandle, RunResult, Stop, StopCause};
use crate::reach::Reach;
use crate::state_space::Ticket;
use crate::table::Loaded;

/// How long a lane that was told to stop may take to bring what it has.
const GRACE: Duration = Duration::from_millis(20);
/// A head without events looks this often whether a lane has caught up with it.
const JOIN_IDLE: Duration = Duration::from_millis(500);
/// A lane's patience begins when a thread takes its run up; it may wait for one this many times
/// as long.
const QUEUEING: u32 = 10;

pub(crate) struct Head {
    context: Arc<Context>,
    log: LogId,
    id: PartitionId,
    partition: Partition,
    revoked: watch::Receiver<bool>,
    _working: Working,
    /// Lanes with a cursor of their own, and how the head reaches those that follow.
    away: HashMap<PluginId, Away>,
    tasks: JoinSet<(PluginId, u64, End)>,
    /// The number of the last lane that was sent away.
    serial: u64,
    position: watch::Sender<i64>,
    reach: Arc<Reach>,
    follow: (mpsc::Sender<Follow>, mpsc::Receiver<Follow>),
    /// Which plugins there are and whose gates are open, as this head last arranged its lanes by.
    arranged: Option<u64>,
}

/// A lane that is away.
struct Away {
    /// Of its task; what an earlier task of the same lane still says is not heard.
    serial: u64,
    follower: Option<Follower>,
}

struct Follower {
    inbox: mpsc::Sender<Arc<Batch>>,
    progress: Arc<FollowProgress>,
}

/// A lane's share of a batch, while it runs.
struct Running {
    handler: Arc<Handler>,
    run: RunHandle,
}

/// A head that cannot go on as it was taken up.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The log no longer has the next record.
    #[error(transparent)]
    PositionLost(#[from] PositionLost),
    /// Another host has moved the cursor, or a commit was written although its answer was lost.
    #[error("{0}")]
    NotWritten(ShareError),
    /// The store cannot say where lanes stand.
    #[error("{0}")]
    Store(#[from] carillon_store::StoreError),
    /// A lane's task has panicked.
    #[error("the task of a lane has failed: {0}")]
    Lane(#[from] JoinError),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

impl Head {
    pub(crate) fn new(context: Arc<Context>, log: LogId, assigned: Assigned) -> Self {
        let Assigned {
            partition,
            revoked,
            working,
            ..
        } = assigned;
        let id = partition.id().clone();
        let position = watch::Sender::new(partition.next_offset());
        let reach = Arc::new(Reach::new(partition.release(), partition.next_offset()));
        Self {
            context,
            log,
            id,
            partition,
            revoked,
            _working: working,
            away: HashMap::new(),
            tasks: JoinSet::new(),
            serial: 0,
            position,
            reach,
            follow: mpsc::channel(64),
            arranged: None,
        }
    }

    /// Works until the partition is taken away.
    pub(crate) async fn run(mut self) {
        match self.work().await {
            Ok(()) | Err(Trouble::ShuttingDown) => {}
            Err(trouble) => {
                let position = *self.position.borrow();
                tracing::warn!(partition = %self.id, position, %trouble, "a partition has to be taken up again");
                self.context.again.take_up();
            }
        }
        self.away.clear();
        self.tasks.shutdown().await;
        self.context.board.forget(&self.id);
        tracing::debug!(partition = %self.id, position = *self.position.borrow(), "a partition was let go");
    }

    async fn work(&mut self) -> Result<(), Trouble> {
        self.context.board.head(&self.id, *self.position.borrow());
        let mut revoked = self.revoked.clone();
        let mut changes = self.context.plugins.changes();
        loop {
            let loaded = self.context.plugins.loaded();
            if self.arranged != Some(loaded.generation) {
                self.arrange(&loaded).await?;
            }
            let (records, bytes) = (
                self.context.config.batch_records,
                self.context.config.batch_bytes,
            );
            tokio::select! {
                biased;
                () = taken_away(&mut revoked) => return Ok(()),
                // The sender lives as long as the context.
                _ = changes.changed() => {}
                Some(request) = self.follow.1.recv() => self.take_follower(request),
                Some(ended) = self.tasks.join_next() => self.lane_ended(ended)?,
                () = tokio::time::sleep(JOIN_IDLE), if self.away.values().any(|lane| lane.follower.is_some()) => {
                    self.join_idle(&loaded).await?;
                }
                records = self.partition.next_batch(records, bytes) => {
                    let start = *self.position.borrow();
                    let batch = Arc::new(Batch::decode(self.id.clone(), self.log, start, records?));
                    self.handle(&batch, &loaded).await?;
                }
            }
        }
    }

    /// Between two events: takes up the lanes that have a cursor of their own, and gives one to
    /// those that may not stand here: their plugin is paused, quarantined, installed and not
    /// loaded, or waits for the network.
    async fn arrange(&mut self, loaded: &Loaded) -> Result<(), Trouble> {
        let position = *self.position.borrow();
        // Before the rows: one that is installed in between has its rows then.
        let known = self.context.store.known_plugins();
        let mut cursors = self
            .context
            .store
            .cursors(self.log, self.id.partition)
            .await?;
        let own: HashSet<PluginId> = cursors.own.iter().map(|(plugin, _)| *plugin).collect();
        // Who has no row any more was removed; its task ends by itself, and a plugin that was
        // installed anew since stands here.
        let gone: Vec<PluginId> = self
            .away
            .keys()
            .copied()
            .filter(|plugin| !own.contains(plugin))
            .collect();
        for plugin in gone {
            self.forget_lane(plugin);
        }
        let at_head = |plugin: &PluginId| !own.contains(plugin) && !self.away.contains_key(plugin);
        let may_stay = |plugin: &PluginId| {
            loaded
                .handlers
                .get(plugin)
                .is_some_and(|handler| handler.may_stand_at_head())
        };
        let waiting: Vec<Detached> = known
            .iter()
            .map(|(plugin, _)| *plugin)
            .filter(|plugin| at_head(plugin) && !may_stay(plugin))
            .map(|plugin| Detached {
                plugin,
                next: position,
                retry: None,
            })
            .collect();
        if !waiting.is_empty() {
            let cursor = |detached: &Detached| {
                let cursor = Cursor {
                    next: detached.next,
                    retry: None,
                };
                (detached.plugin, cursor)
            };
            cursors.own.extend(waiting.iter().map(cursor));
            // No record is passed by it, so no state expires.
            let mut share = Share::moving(self.cursor_move(position, position, 0));
            share.detached = waiting;
            self.commit(share, Vec::new())
                .await?
                .map_err(|failed| Trouble::NotWritten(failed.error))?;
        }
        for (plugin, cursor) in cursors.own {
            if self.away.contains_key(&plugin) {
                continue;
            }
            if let Some(handler) = loaded.handlers.get(&plugin) {
                self.send_away(handler, cursor, None);
            }
        }
        self.arranged = Some(loaded.generation);
        tracing::debug!(partition = %self.id, position, lanes_away = self.away.len(), generation = loaded.generation, "the lanes of a partition were arranged");
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

    /// `None` from the committer is the end of the process.
    async fn commit(
        &self,
        share: Share,
        tickets: Vec<Ticket>,
    ) -> Result<Result<(), Failed>, Trouble> {
        self.context
            .committer
            .commit(share, tickets)
            .await
            .ok_or(Trouble::ShuttingDown)
    }

    async fn handle(&mut self, batch: &Arc<Batch>, loaded: &Loaded) -> Result<(), Trouble> {
        let joined = self.feed_followers(batch, loaded);
        let results = self.run_lanes(batch, loaded).await;

        let logged_at_ms = batch.logged_before(batch.next);
        let mut share = Share::moving(self.cursor_move(batch.start, batch.next, logged_at_ms));
        share.dead_letters = batch.undecodable();
        share.joined = joined;
        let lanes: Vec<Arc<Handler>> = results
            .iter()
            .map(|(handler, _)| Arc::clone(handler))
            .collect();
        let mut tickets = Vec::new();
        let mut leaving = Vec::new();
        let mut effects = Vec::new();
        for (handler, result) in results {
            if let Some(stop) = result.stop {
                let retry = self.retry(&stop);
                leaving.push((
                    Arc::clone(&handler),
                    Cursor {
                        next: stop.offset,
                        retry,
                    },
                ));
            }
            share.decisions.extend(result.decisions);
            share.dead_letters.extend(result.dead_letters);
            share.answers.extend(result.answers);
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

        if let Err(failed) = self.commit(share, tickets).await? {
            leaving = self.commit_apart(batch, failed, &lanes, leaving).await?;
        }
        self.position.send_replace(batch.next);
        self.context.offsets.stored(&self.id, batch.next);
        self.context.board.head(&self.id, batch.next);
        for (handler, cursor) in leaving {
            self.send_away(&handler, cursor, Some(Arc::clone(batch)));
        }
        self.reach.head(batch.next);
        Ok(())
    }

    /// The lanes' share cannot be written as it is. Those that are in the way handle the batch
    /// again, each by itself; the head and the others go on.
    async fn commit_apart(
        &self,
        batch: &Batch,
        failed: Failed,
        lanes: &[Arc<Handler>],
        mut leaving: Vec<(Arc<Handler>, Cursor)>,
    ) -> Result<Vec<(Arc<Handler>, Cursor)>, Trouble> {
        let Failed { error, mut share } = failed;
        let in_the_way: Vec<&Arc<Handler>> = match error {
            ShareError::StateConflict => {
                let with_state = |handler: &&Arc<Handler>| {
                    share.state.iter().any(|state| state.plugin == handler.id)
                };
                lanes.iter().filter(with_state).collect()
            }
            ShareError::AlreadyDecided(_) | ShareError::Refused(_) => lanes.iter().collect(),
            error => return Err(Trouble::NotWritten(error)),
        };
        tracing::debug!(partition = %self.id, offset = batch.start, %error, lanes = in_the_way.len(), "lanes of a batch go on by themselves");
        for handler in in_the_way {
            share.strike(handler.id);
            leaving.retain(|(other, _)| other.id != handler.id);
            leaving.push((
                Arc::clone(handler),
                Cursor {
                    next: batch.start,
                    retry: None,
                },
            ));
        }
        // The tickets of others went with the first attempt, and so all plugins with state had to
        // leave; what remains has none.
        share.state.clear();
        share.detached = detached(&leaving);
        match self.commit(share, Vec::new()).await? {
            Ok(()) => Ok(leaving),
            // Another lane's share is in the way as well; then all of them go.
            Err(failed)
                if matches!(
                    failed.error,
                    ShareError::AlreadyDecided(_) | ShareError::Refused(_)
                ) && leaving.len() < lanes.len() =>
            {
                Box::pin(self.commit_apart(batch, failed, lanes, leaving)).await
            }
            Err(failed) => Err(Trouble::NotWritten(failed.error)),
        }
    }

    fn retry(&self, stop: &Stop) -> Option<RetryState> {
        match &stop.cause {
            StopCause::Failed { attempts, error } => {
                Some(self.context.retry_state(*attempts, error.clone()))
            }
            StopCause::Host { .. } | StopCause::Probed | StopCause::Cancelled => None,
        }
    }

    /// Gives the batch to those who follow; answers those who have caught up and are taken
    /// back with this batch.
    fn feed_followers(&mut self, batch: &Arc<Batch>, loaded: &Loaded) -> Vec<PluginId> {
        let joined = self.take_back(batch.start, loaded);
        for lane in self.away.values_mut() {
            if let Some(there) = &lane.follower
                && there.inbox.try_send(Arc::clone(batch)).is_err()
            {
                // Too far behind, or gone: it reads by itself and asks again.
                lane.follower = None;
            }
        }
        joined
    }

    /// Those who have handled everything before `position` and may go on with the head from there.
    fn take_back(&mut self, position: i64, loaded: &Loaded) -> Vec<PluginId> {
        let mut joined: Vec<PluginId> = self
            .away
            .iter()
            .filter(|(plugin, lane)| {
                let handler = loaded.handlers.get(plugin);
                handler.is_some_and(|handler| handler.may_stand_at_head())
                    && lane.follower.as_ref().is_some_and(|there| {
                        there.inbox.capacity() == there.inbox.max_capacity()
                            && there.progress.done_to.load(Ordering::Acquire) == position
                            // Last, since it takes effect: the lane may be letting go.
                            && there.progress.join()
                    })
            })
            .map(|(plugin, _)| *plugin)
            .collect();
        joined.sort_unstable();
        for plugin in &joined {
            self.forget_lane(*plugin);
        }
        joined
    }

    /// Takes back who has caught up with a head that has nothing to do.
    async fn join_idle(&mut self, loaded: &Loaded) -> Result<(), Trouble> {
        let position = *self.position.borrow();
        let joined = self.take_back(position, loaded);
        if joined.is_empty() {
            return Ok(());
        }
        // No record is passed by it, so no state expires.
        let mut share = Share::moving(self.cursor_move(position, position, 0));
        share.joined = joined;
        self.commit(share, Vec::new())
            .await?
            .map_err(|failed| Trouble::NotWritten(failed.error))
    }

    async fn run_lanes(
        &self,
        batch: &Arc<Batch>,
        loaded: &Loaded,
    ) -> Vec<(Arc<Handler>, RunResult)> {
        let mut lanes: HashMap<PluginId, Arc<Handler>> = HashMap::new();
        for decoded in batch
            .items
            .iter()
            .filter_map(|item| item.content.as_ref().ok())
        {
            for handler in loaded.subscribers(&decoded.event.kind).iter() {
                if !self.away.contains_key(&handler.id) {
                    lanes
                        .entry(handler.id)
                        .or_insert_with(|| Arc::clone(handler));
                }
            }
        }
        if lanes.is_empty() {
            return Vec::new();
        }
        let wanted = |decoded: &Decoded| {
            lanes
                .values()
                .any(|handler| handler.wants(&decoded.event.kind))
        };
        let past = self.past(batch, wanted).await;
        let mut handlers: Vec<&Arc<Handler>> = lanes.values().collect();
        handlers.sort_by_key(|handler| handler.id);
        let max_attempts = self.context.config.max_attempts;
        let running: Vec<Running> = handlers
            .into_iter()
            .map(|handler| {
                (
                    handler,
                    Plan::new(handler, batch, &past, batch.start, 0, max_attempts),
                )
            })
            .filter(|(_, plan)| !plan.is_empty())
            .map(|(handler, plan)| Running {
                run: plan.start(self.context.workers_for(handler)),
                handler: Arc::clone(handler),
            })
            .collect();
        self.gather(batch, running).await
    }

    async fn past(&self, batch: &Batch, wanted: impl Fn(&Decoded) -> bool) -> Past {
        loop {
            match Past::look_up(&self.context.store, batch, &wanted).await {
                Ok(past) => return past,
                // Nothing is committed for a partition that was taken away.
                Err(_) if *self.revoked.borrow() => return Past::default(),
                Err(error) => {
                    tracing::warn!(%error, "decisions cannot be looked up yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Waits for the lanes, but not longer than patience lasts: a lane never holds up another.
    async fn gather(&self, batch: &Batch, running: Vec<Running>) -> Vec<(Arc<Handler>, RunResult)> {
        let patience = Duration::from_millis(self.context.config.patience_ms);
        let last = Instant::now() + patience * QUEUEING;
        let mut results = Vec::with_capacity(running.len());
        let mut late = Vec::new();
        for mut lane in running {
            match lane.run.in_time(patience, last).await {
                Some(result) => results.push((
                    lane.handler,
                    result.unwrap_or_else(|| nothing_done(batch, "the host panicked")),
                )),
                None => {
                    lane.run.cancel();
                    late.push(lane);
                }
            }
        }
        let grace = Instant::now() + GRACE;
        for mut lane in late {
            tracing::debug!(plugin = %lane.handler.name, partition = %self.id, "a lane lags and leaves the head");
            lane.handler.plugin.counters.left_head.increment(1);
            let result = match timeout_at(grace, &mut lane.run.result).await {
                Ok(Ok(result)) => result,
                // What it is doing now is dropped and done again.
                _ => nothing_done(batch, "it lags"),
            };
            results.push((lane.handler, result));
        }
        results
    }

    /// From here on a lane goes on by itself. If it stood in `batch`, it follows at once.
    fn send_away(&mut self, handler: &Arc<Handler>, cursor: Cursor, batch: Option<Arc<Batch>>) {
        self.serial += 1;
        let serial = self.serial;
        let (follower, following) = if batch.is_some() {
            let (follower, following) = self.follower();
            (Some(follower), Some(following))
        } else {
            (None, None)
        };
        self.away.insert(handler.id, Away { serial, follower });
        self.reach.lane(handler.id, cursor.next);
        let retry = cursor.retry.as_ref();
        self.context.board.lane(
            &self.id,
            handler.id,
            cursor.next,
            retry.map(|retry| (retry.attempts, retry.last_error.clone())),
        );
        let lane = Lane {
            context: Arc::clone(&self.context),
            handler: Arc::clone(handler),
            serial,
            partition: self.id.clone(),
            log: self.log,
            cursor: cursor.next,
            retry: cursor.retry,
            current: batch.filter(|batch| cursor.next < batch.next),
            following,
            head: self.position.subscribe(),
            follow: self.follow.0.clone(),
            revoked: self.revoked.clone(),
            reach: Arc::clone(&self.reach),
            one_by_one_until: 0,
        };
        let plugin = handler.id;
        self.tasks
            .spawn(async move { (plugin, serial, lane.run().await) });
    }

    fn follower(&self) -> (Follower, Following) {
        let (inbox, receiver) = mpsc::channel(INBOX);
        let progress = Arc::new(FollowProgress::default());
        progress.done_to.store(-1, Ordering::Release);
        let follower = Follower {
            inbox,
            progress: Arc::clone(&progress),
        };
        let following = Following {
            from: *self.position.borrow(),
            inbox: receiver,
            progress,
        };
        (follower, following)
    }

    fn take_follower(&mut self, request: Follow) {
        let (follower, following) = self.follower();
        let lane = self.away.get_mut(&request.plugin);
        // One whose place was given to another task gets no answer, and ends at its next commit.
        if let Some(lane) = lane.filter(|lane| lane.serial == request.serial) {
            lane.follower = Some(follower);
            // It may have ended meanwhile.
            let _ = request.answer.send(following);
        }
    }

    fn forget_lane(&mut self, plugin: PluginId) {
        self.away.remove(&plugin);
        self.reach.ended(plugin);
        self.context.board.lane_ended(&self.id, plugin);
    }

    fn lane_ended(
        &mut self,
        ended: Result<(PluginId, u64, End), JoinError>,
    ) -> Result<(), Trouble> {
        let (plugin, serial, end) = ended?;
        let current = self
            .away
            .get(&plugin)
            .is_some_and(|lane| lane.serial == serial);
        match end {
            _ if !current => {}
            // Its row is gone, or somebody else's: the store tells where it stands now.
            End::Joined | End::Left => {
                self.forget_lane(plugin);
                self.arranged = None;
            }
            End::Stopped => self.reach.ended(plugin),
        }
        Ok(())
    }
}

fn detached(leaving: &[(Arc<Handler>, Cursor)]) -> Vec<Detached> {
    leaving
        .iter()
        .map(|(handler, cursor)| Detached {
            plugin: handler.id,
            next: cursor.next,
            retry: cursor.retry.clone(),
        })
        .collect()
}

fn nothing_done(batch: &Batch, why: &str) -> RunResult {
    let cause = StopCause::Host {
        error: why.to_owned(),
    };
    RunResult {
        stop: Some(Stop {
            offset: batch.start,
            cause,
        }),
        ..RunResult::default()
    }
}
