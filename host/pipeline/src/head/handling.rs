//! A batch through the lanes that stand at the head: run beside each other, written as one share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_store::{Cursor, Detached, PluginId, RetryState, Share, ShareError};
use tokio::time::{Instant, timeout_at};

use super::{Head, Trouble};
use crate::batch::{Batch, Decoded};
use crate::committer::Failed;
use crate::duplicates::Past;
use crate::handler::Handler;
use crate::plan::{Plan, RunHandle, RunResult, Stop, StopCause};
use crate::table::Loaded;

/// How long a lane that was told to stop may take to bring what it has.
const GRACE: Duration = Duration::from_millis(20);

/// A lane's patience begins when a thread takes its run up; it may wait for one this many times
/// as long.
const QUEUEING: u32 = 10;

/// A lane's share of a batch, while it runs.
struct Running {
    handler: Arc<Handler>,
    run: RunHandle,
}

impl Head {
    pub(super) async fn handle(
        &mut self,
        batch: &Arc<Batch>,
        loaded: &Loaded,
    ) -> Result<(), Trouble> {
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
