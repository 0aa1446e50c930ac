//! A replay at work: the stretch is read, and the plugin run over it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use carillon_bus::PartitionId;
use carillon_sandbox::Egress;
use carillon_store::{DeadLetterRow, LogId};

use super::Work;
use super::comparing::Sent;
use crate::batch::Batch;
use crate::handler::Handler;
use crate::operations::model::{OperationError, ReplayEffects, ReplayStatus};
use crate::operations::{Done, unavailable};
use crate::plan::{Plan, Purpose, RunResult};

/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 256;
const TURN_BYTES: usize = 1 << 20;
/// Differences and failures that are kept of one replay.
pub(super) const KEPT: usize = 1_000;
/// The pause before events are run again that could not be run.
const AGAIN: Duration = Duration::from_millis(200);

/// Part of a partition.
struct Stretch {
    log: LogId,
    partition: PartitionId,
    from: i64,
    to: i64,
}

impl Work {
    pub(super) async fn run(self) {
        let ended = self.all().await;
        self.note(|status| match ended {
            Ok(()) if self.cancelled.load(Ordering::Acquire) => {
                status.state = "cancelled".to_owned();
            }
            Ok(()) => status.state = "done".to_owned(),
            Err(error) => {
                status.state = "failed".to_owned();
                status.error = Some(error.to_string());
            }
        });
        let status = self.look();
        tracing::info!(
            replay = status.id,
            plugin = status.plugin,
            state = status.state,
            handled = status.handled,
            new = status.new,
            changed = status.changed,
            missing = status.missing,
            failed = status.failed,
            "a replay has ended"
        );
    }

    async fn all(&self) -> Done<()> {
        let stretches = self.stretches().await?;
        let records = stretches
            .iter()
            .map(|stretch| {
                stretch
                    .to
                    .saturating_sub(stretch.from)
                    .max(0)
                    .unsigned_abs()
            })
            .sum();
        self.note(|status| status.records = records);
        for stretch in stretches {
            let mut at = stretch.from;
            while at < stretch.to && !self.cancelled.load(Ordering::Acquire) {
                let read = self
                    .operations
                    .parts
                    .readers
                    .read(&stretch.partition, at, stretch.to, TURN, TURN_BYTES)
                    .await
                    .map_err(|error| OperationError::Unavailable(error.to_string()))?;
                let mut batch =
                    Batch::decode(stretch.partition.clone(), stretch.log, at, read.records);
                batch.next = read.next;
                let sent = self.sent(&mut batch).await?;
                let next = batch.next;
                self.batch(&Arc::new(batch), &sent).await?;
                let passed = next.saturating_sub(at).max(0).unsigned_abs();
                self.note(|status| status.read += passed);
                at = next;
            }
        }
        Ok(())
    }

    /// What was logged in the time that was asked for.
    async fn stretches(&self) -> Done<Vec<Stretch>> {
        let parts = &self.operations.parts;
        let heads = parts
            .store
            .head_cursors(&self.running.cluster_id)
            .await
            .map_err(unavailable)?;
        let mut stretches = Vec::new();
        for (log, topic, partition, head) in heads {
            let id = PartitionId {
                topic: topic.as_str().into(),
                partition,
            };
            let failed = |error: carillon_bus::BusError| {
                OperationError::Unavailable(format!("{id} cannot be looked into: {error}"))
            };
            let from = parts
                .places
                .at_time(&id, self.request.from_ms, &parts.readers)
                .await
                .map_err(failed)?;
            let to = parts
                .places
                .at_time(&id, self.request.to_ms, &parts.readers)
                .await
                .map_err(failed)?;
            // What the plugin's lane has not reached it will handle by itself.
            let cursors = parts
                .store
                .cursors(log, id.partition)
                .await
                .map_err(unavailable)?;
            let own = cursors
                .own
                .iter()
                .find(|(plugin, _)| *plugin == self.began_with.id)
                .map_or(head, |(_, cursor)| cursor.next);
            let to = to.min(head).min(own);
            if from < to {
                stretches.push(Stretch {
                    log,
                    partition: id,
                    from,
                    to,
                });
            }
        }
        Ok(stretches)
    }

    async fn batch(&self, batch: &Arc<Batch>, sent: &Sent) -> Done<()> {
        // Before the run: a run over shared state is not to wait for anything once it is done.
        let letters = self.letters(batch).await?;
        let mut from = batch.start;
        while !self.cancelled.load(Ordering::Acquire) {
            let handler = self.handler()?;
            let mut plan = Plan::again(
                &handler,
                batch,
                Purpose::Again {
                    egress: Egress::Closed,
                    scratch: self.scratch.clone(),
                },
            );
            plan.skip_to(from);
            if plan.is_empty() {
                self.compare(batch, from, batch.next, &RunResult::default(), sent);
                return Ok(());
            }
            let workers = self.running.context.workers_for(&handler);
            let mut result = plan.start(workers).result.await.map_err(|_| {
                OperationError::Unavailable("the host panicked while it ran the plugin".to_owned())
            })?;
            let stop = result.stop.take();
            let to = stop.as_ref().map_or(batch.next, |stop| stop.offset);
            let stands = match self.request.effects {
                ReplayEffects::Compare => true,
                ReplayEffects::Apply => self.apply(&mut result, sent, &letters).await?,
            };
            if stands {
                self.compare(batch, from, to, &result, sent);
                from = to;
            }
            match stop {
                None if stands => return Ok(()),
                // It was not run as far as it should have been, or has to be run again.
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
        Ok(())
    }

    /// What runs now, as long as it is the version that the replay began with.
    fn handler(&self) -> Done<Arc<Handler>> {
        let handler = self.operations.running_handler(&self.began_with.name)?;
        if handler.version == self.began_with.version {
            return Ok(handler);
        }
        Err(OperationError::Conflict(format!(
            "version {} took the place of {} meanwhile; start the replay again",
            handler.label, self.began_with.label
        )))
    }

    /// What this plugin has sent for the events of a batch, by id. A batch for which that is more than
    /// is read at once is cut to what it was read for.
    async fn sent(&self, batch: &mut Batch) -> Done<Sent> {
        let (sent, end) = self
            .operations
            .parts
            .store
            .notifications_between(
                self.began_with.id,
                batch.log,
                batch.partition.partition,
                batch.start..batch.next,
            )
            .await
            .map_err(unavailable)?;
        batch.end_at(end);
        // What is no event any more is not handled again, so nothing of it can be missing.
        let events = batch.items.iter().filter(|item| item.content.is_ok());
        let events: HashSet<i64> = events.map(|item| item.record.offset).collect();
        Ok(sent
            .into_iter()
            .filter(|notification| events.contains(&notification.offset))
            .map(|notification| (notification.id.to_string(), notification))
            .collect())
    }

    /// The plugin's dead letters of a batch, by offset; what only compares needs none.
    async fn letters(&self, batch: &Batch) -> Done<HashMap<i64, DeadLetterRow>> {
        if self.request.effects == ReplayEffects::Compare {
            return Ok(HashMap::new());
        }
        let letters = self
            .operations
            .parts
            .store
            .dead_letters_between(
                self.began_with.id,
                batch.log,
                batch.partition.partition,
                batch.start..batch.next,
            )
            .await
            .map_err(unavailable)?;
        Ok(letters.into_iter().collect())
    }

    pub(super) fn count(&self, batch: &Batch, result: &RunResult) {
        let handled = result.decisions.len() as u64;
        let failures: Vec<String> = result
            .failures
            .iter()
            .map(|(index, failure)| {
                format!(
                    "{} offset {}: {}: {}",
                    batch.partition,
                    batch.items[*index].record.offset,
                    failure.code,
                    failure.reason
                )
            })
            .collect();
        self.note(|status| {
            status.handled += handled;
            status.failed += failures.len() as u64;
            let room = KEPT.saturating_sub(status.failures.len());
            status.failures.extend(failures.into_iter().take(room));
        });
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut ReplayStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look(&self) -> ReplayStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
