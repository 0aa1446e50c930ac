//! A stretch of the log handled again, past what was decided: to see what would be different, or to
//! send what was not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_bus::PartitionId;
use carillon_sandbox::Egress;
use carillon_store::{
    DeadLetterRow, Effect, LogId, NewNotification, NotificationRecord, Share, ShareError,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::model::{
    OperationError, Operator, ReplayDifference, ReplayEffects, ReplayRequest, ReplayState,
    ReplayStatus,
};
use super::{Done, Operations, Running, unavailable};
use crate::batch::Batch;
use crate::handler::Handler;
use crate::plan::{Plan, Purpose, RunResult};
use crate::scratch::Scratch;

/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 256;
const TURN_BYTES: usize = 1 << 20;
/// Differences and failures that are kept of one replay.
const KEPT: usize = 1_000;
/// The pause before events are run again that could not be run.
const AGAIN: Duration = Duration::from_millis(200);
/// Replays that are remembered.
const REMEMBERED: usize = 100;

/// What was sent, by id.
type Sent = BTreeMap<String, NotificationRecord>;

/// A replay that runs, or has run.
pub(super) struct Replay {
    status: Arc<Mutex<ReplayStatus>>,
    cancelled: Arc<AtomicBool>,
}

/// What one replay works with.
struct Work {
    operations: Operations,
    running: Running,
    /// What ran when the replay began.
    began_with: Arc<Handler>,
    request: ReplayRequest,
    scratch: Option<Arc<Scratch>>,
    status: Arc<Mutex<ReplayStatus>>,
    cancelled: Arc<AtomicBool>,
}

/// Part of a partition.
struct Stretch {
    log: LogId,
    partition: PartitionId,
    from: i64,
    to: i64,
}

impl Operations {
    /// Begins a replay; answers its number.
    ///
    /// # Errors
    /// When the plugin does not run, the times make no sense, or another replay of it runs.
    pub async fn replay(&self, name: &str, request: ReplayRequest, by: &Operator) -> Done<u64> {
        let done = self.begin_replay(name, request);
        let detail = json!({
            "fromMs": request.from_ms, "toMs": request.to_ms,
            "dryRun": request.effects == ReplayEffects::Compare,
            "withState": request.state == ReplayState::Write,
            "id": done.as_ref().ok(),
        });
        self.audit_record(by, "replay", Some(name), detail, &done)
            .await;
        done
    }

    fn begin_replay(&self, name: &str, request: ReplayRequest) -> Done<u64> {
        if request.from_ms >= request.to_ms {
            return Err(OperationError::Invalid(
                "`from` must lie before `to`: a replay handles the events that were logged from the one up to the other"
                    .to_owned(),
            ));
        }
        if request.effects == ReplayEffects::Compare && request.state == ReplayState::Write {
            return Err(OperationError::Invalid(
                "a dry run changes nothing, so it cannot write plugin state; leave one of the two out"
                    .to_owned(),
            ));
        }
        let running = self.running()?;
        let slot = self.slot(name)?;
        let handler = self.running_handler(name)?;
        let plugin = slot
            .plugin
            .map_err(|reason| OperationError::Conflict(format!("{name} does not run: {reason}")))?;
        let mut replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let busy = replays.values().any(|replay| {
            let status = replay.look();
            status.plugin == name && status.state == "running"
        });
        if busy {
            return Err(OperationError::Conflict(format!(
                "another replay of {name} is running; wait for it, or cancel it"
            )));
        }
        let id = self.next_replay_id();
        let status = Arc::new(Mutex::new(ReplayStatus {
            id,
            plugin: name.to_owned(),
            version: handler.label.to_string(),
            state: "running".to_owned(),
            dry_run: request.effects == ReplayEffects::Compare,
            with_state: request.state == ReplayState::Write,
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            ..ReplayStatus::default()
        }));
        let cancelled = Arc::new(AtomicBool::new(false));
        let scratch = (request.state == ReplayState::Leave && handler.state.is_some()).then(|| {
            Arc::new(Scratch::new(
                handler.id,
                self.inner.store.clone(),
                Handle::current(),
                plugin.limits().state_total_bytes,
            ))
        });
        let work = Work {
            operations: self.clone(),
            running,
            began_with: handler,
            request,
            scratch,
            status: Arc::clone(&status),
            cancelled: Arc::clone(&cancelled),
        };
        while replays.len() >= REMEMBERED {
            replays.pop_first();
        }
        replays.insert(id, Replay { status, cancelled });
        tokio::spawn(work.run());
        Ok(id)
    }

    /// How a replay stands.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn replay_status(&self, id: u64) -> Done<ReplayStatus> {
        self.with_replay(id, Replay::look)
    }

    /// Ends a replay after the events that it is handling. What it has sent stays sent.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn cancel_replay(&self, id: u64) -> Done<ReplayStatus> {
        self.with_replay(id, |replay| {
            replay.cancelled.store(true, Ordering::Release);
            replay.look()
        })
    }

    pub(super) fn cancel_all_replays(&self) {
        let replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for replay in replays.values() {
            replay.cancelled.store(true, Ordering::Release);
        }
    }

    fn with_replay<T>(&self, id: u64, look: impl FnOnce(&Replay) -> T) -> Done<T> {
        let replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        replays.get(&id).map(look).ok_or_else(|| {
            OperationError::NotFound(format!(
                "there is no replay {id}; the last {REMEMBERED} of this process are remembered"
            ))
        })
    }
}

impl Replay {
    fn look(&self) -> ReplayStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Work {
    async fn run(self) {
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
                    .inner
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
        let inner = &self.operations.inner;
        let heads = inner
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
            let from = inner
                .places
                .at_time(&id, self.request.from_ms, &inner.readers)
                .await
                .map_err(failed)?;
            let to = inner
                .places
                .at_time(&id, self.request.to_ms, &inner.readers)
                .await
                .map_err(failed)?;
            // What the plugin's lane has not reached it will handle by itself.
            let cursors = inner
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

    /// Counts what is different between two offsets, and keeps the first of it.
    fn compare(&self, batch: &Batch, from: i64, to: i64, result: &RunResult, sent: &Sent) {
        let failed: Vec<i64> = result
            .failures
            .iter()
            .map(|(index, _)| batch.items[*index].record.offset)
            .collect();
        let compared = |offset: i64| (from..to).contains(&offset) && !failed.contains(&offset);
        let sent: BTreeMap<&String, &NotificationRecord> = sent
            .iter()
            .filter(|(_, old)| compared(old.offset))
            .collect();
        let mut now: HashMap<String, &NewNotification> = HashMap::new();
        for (_, effect) in &result.effects {
            if let Effect::Notify(new) = effect {
                now.insert(new.id.to_string(), new);
            }
        }
        let mut differences = Vec::new();
        let (mut same, mut changed, mut fresh, mut missing) = (0, 0, 0, 0);
        for (id, new) in &now {
            let what = match sent.get(id) {
                Some(old) if shown_sent(old) == shown_now(new) => {
                    same += 1;
                    continue;
                }
                Some(_) => {
                    changed += 1;
                    "changed"
                }
                None => {
                    fresh += 1;
                    "new"
                }
            };
            differences.push(ReplayDifference {
                what: what.to_owned(),
                id: id.clone(),
                event_id: new.event_id.clone(),
                stream: new.stream.to_string(),
                sent: sent.get(id).map(|old| shown_sent(old)),
                now: Some(shown_now(new)),
            });
        }
        for (id, old) in sent.iter().filter(|(id, _)| !now.contains_key(id.as_str())) {
            missing += 1;
            differences.push(ReplayDifference {
                what: "missing".to_owned(),
                id: (*id).clone(),
                event_id: old.event_id.clone(),
                stream: old.stream.to_string(),
                sent: Some(shown_sent(old)),
                now: None,
            });
        }
        differences.sort_by(|a, b| a.id.cmp(&b.id));
        self.note(|status| {
            status.same += same;
            status.changed += changed;
            status.new += fresh;
            status.missing += missing;
            let room = KEPT.saturating_sub(status.differences.len());
            status
                .differences
                .extend(differences.into_iter().take(room));
        });
        self.count(batch, result);
    }

    /// What this plugin has sent for the events of a batch, by id. A batch for which that is more than
    /// is read at once is cut to what it was read for.
    async fn sent(&self, batch: &mut Batch) -> Done<Sent> {
        let (sent, end) = self
            .operations
            .inner
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

    /// Writes what was not written; answers whether it stands.
    async fn apply(
        &self,
        result: &mut RunResult,
        sent: &Sent,
        letters: &HashMap<i64, DeadLetterRow>,
    ) -> Done<bool> {
        result.effects.sort_by_key(|(index, _)| *index);
        let mut share = Share::without_cursor();
        let handled = result.decisions.iter();
        // They are none any more.
        share.settled = handled
            .filter_map(|decision| letters.get(&decision.source.offset).copied())
            .collect();
        for (_, effect) in &result.effects {
            // What was withdrawn then is withdrawn, and what was sent since must not be.
            if let Effect::Notify(new) = effect
                && !sent.contains_key(&new.id.to_string())
                && !self.is_superseded(new).await?
            {
                share.effects.push(effect.clone());
            }
        }
        share.decisions = std::mem::take(&mut result.decisions);
        let handled = share.decisions.clone();
        let (state, tickets) = result
            .state
            .take()
            .into_iter()
            .unzip::<_, _, Vec<_>, Vec<_>>();
        share.state = state;
        let stands = match self.running.context.committer.commit(share, tickets).await {
            Some(Ok(())) => true,
            Some(Err(failed)) if matches!(failed.error, ShareError::StateConflict) => false,
            Some(Err(failed)) => {
                return Err(OperationError::Unavailable(format!(
                    "the store refuses what the plugin decided: {}",
                    failed.error
                )));
            }
            None => {
                return Err(OperationError::Unavailable(
                    "the host is stopping".to_owned(),
                ));
            }
        };
        result.decisions = handled;
        Ok(stands)
    }

    /// The plugin's dead letters of a batch, by offset; what only compares needs none.
    async fn letters(&self, batch: &Batch) -> Done<HashMap<i64, DeadLetterRow>> {
        if self.request.effects == ReplayEffects::Compare {
            return Ok(HashMap::new());
        }
        let letters = self
            .operations
            .inner
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

    /// Whether something newer stands under the same collapse key: it must not be replaced by
    /// something old.
    async fn is_superseded(&self, new: &NewNotification) -> Done<bool> {
        let Some(key) = &new.collapse_key else {
            return Ok(false);
        };
        self.operations
            .inner
            .store
            .newer_stands(&new.stream, new.plugin, key, new.source.logged_at_ms)
            .await
            .map_err(unavailable)
    }

    fn count(&self, batch: &Batch, result: &RunResult) {
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

    fn note(&self, change: impl FnOnce(&mut ReplayStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look(&self) -> ReplayStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a recipient sees, of a stored notification.
fn shown_sent(old: &NotificationRecord) -> Value {
    json!({
        "category": old.category, "title": old.title, "body": old.body, "data": old.data,
        "link": old.link, "channels": old.channels, "priority": old.priority,
        "collapseKey": old.collapse_key, "deliverAtMs": old.deliver_at_ms,
        "expiresAtMs": old.expires_at_ms,
    })
}

/// What a recipient would see, of one that is not.
fn shown_now(new: &NewNotification) -> Value {
    json!({
        "category": new.category, "title": new.title, "body": new.body, "data": new.data,
        "link": new.link, "channels": new.channels, "priority": new.priority,
        "collapseKey": new.collapse_key, "deliverAtMs": new.deliver_at_ms,
        "expiresAtMs": new.expires_at_ms,
    })
}
