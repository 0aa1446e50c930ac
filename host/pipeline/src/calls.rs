//! A run: one lane's events of one batch, called one after another on a worker thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use carillon_sandbox::{Answer, Fault, GuestEvent, NoState, Session};
use carillon_store::{DeadLetter, Decision, Effect, Outcome, StateWrites};
use tokio::sync::oneshot;

use crate::batch::{Batch, Decoded, Item, Why};
use crate::direct;
use crate::duplicates::{Novelty, Past};
use crate::effects::{effects, size_bytes};
use crate::plugins::{Code, Handler};
use crate::state_space::{RunState, Ticket};
use crate::workers::{Job, Progress, Workers};

/// What a lane is to do with one item of a batch.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call {
        index: usize,
        attempt: u32,
    },
    /// An id that was decided already, with other content.
    Impostor {
        index: usize,
    },
}

/// The events of a batch that a lane has to handle.
pub(crate) struct Plan {
    handler: Arc<Handler>,
    batch: Arc<Batch>,
    steps: Vec<Step>,
    max_attempts: u32,
    from: i64,
    next: i64,
    /// Whether a run over shared state may stop when its slice is over.
    in_parts: bool,
}

/// Beyond this much gathered output a run stops and goes on with the next share, in bytes.
const RUN_BYTES: usize = 4 << 20;

/// What a run came to, up to where it stopped.
#[derive(Default)]
pub(crate) struct RunResult {
    /// By the index of the item.
    pub(crate) effects: Vec<(usize, Effect)>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) state: Option<(StateWrites, Ticket)>,
    pub(crate) stop: Option<Stop>,
}

/// Where and why a run stopped before its end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// The offset of the record that is to be tried again.
    pub(crate) offset: i64,
    pub(crate) cause: StopCause,
}

#[derive(Debug, Clone)]
pub(crate) enum StopCause {
    /// The plugin's: this many attempts have failed.
    Failed { attempts: u32, error: String },
    /// The host's: it does not count as an attempt.
    Host { error: String },
    /// It took too long beside the others.
    Cancelled,
}

impl Plan {
    /// Chooses from `batch` what `handler` has to do from the record `from` on, on which it has
    /// failed `failed_before` times.
    pub(crate) fn new(
        handler: &Arc<Handler>,
        batch: &Arc<Batch>,
        past: &Past,
        from: i64,
        failed_before: u32,
        max_attempts: u32,
    ) -> Self {
        let mut earlier = HashMap::new();
        let mut steps = Vec::new();
        for (index, item) in batch.items.iter().enumerate() {
            let Ok(decoded) = &item.content else { continue };
            if item.record.offset < from || !handler.wants(&decoded.event.kind) {
                continue;
            }
            let attempt = if item.record.offset == from {
                failed_before + 1
            } else {
                1
            };
            match past.novelty(handler.id, decoded, &mut earlier) {
                Novelty::New => steps.push(Step::Call { index, attempt }),
                Novelty::Repeat => {
                    handler.counters.duplicates.increment(1);
                }
                Novelty::Impostor => steps.push(Step::Impostor { index }),
            }
        }
        Self {
            handler: Arc::clone(handler),
            batch: Arc::clone(batch),
            steps,
            max_attempts,
            from,
            next: batch.next,
            in_parts: false,
        }
    }

    /// Leaves only the first event to be handled.
    pub(crate) fn keep_first(&mut self) {
        self.steps.truncate(1);
        if let Some(Step::Call { index, .. } | Step::Impostor { index }) = self.steps.first() {
            self.next = self.batch.items[*index].record.offset + 1;
        }
    }

    /// Lets a run over shared state stop when its slice is over, so that it does not hold its
    /// thread; what it has done by then is a share of its own.
    pub(crate) fn in_parts(mut self) -> Self {
        self.in_parts = true;
        self
    }

    /// The record of the first event to be handled.
    pub(crate) fn first(&self) -> Option<usize> {
        self.steps.first().map(|step| match step {
            Step::Call { index, .. } | Step::Impostor { index } => *index,
        })
    }

    /// The cursor once all of it is done.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs on `workers`.
    pub(crate) fn start(self, workers: &Workers) -> RunHandle {
        let (done, result) = oneshot::channel();
        let control = Arc::new(RunControl::default());
        let (plugin, one_at_a_time) = (self.handler.id, self.handler.state.is_some());
        let run = Run {
            plan: self,
            at: 0,
            result: RunResult::default(),
            gathered_bytes: 0,
            done: Some(done),
            control: Arc::clone(&control),
        };
        workers.submit(plugin, one_at_a_time, Box::new(run));
        RunHandle { result, control }
    }
}

/// A run that was started.
pub(crate) struct RunHandle {
    /// Fails if the host panicked meanwhile.
    pub(crate) result: oneshot::Receiver<RunResult>,
    control: Arc<RunControl>,
}

#[derive(Default)]
struct RunControl {
    cancelled: AtomicBool,
    started: OnceLock<Instant>,
}

impl RunHandle {
    /// Waits for the result until `patience` has passed since a thread took the run up, and until
    /// `last` at the most. `None`: time is over; `Some(None)`: the host panicked.
    pub(crate) async fn in_time(
        &mut self,
        patience: Duration,
        last: tokio::time::Instant,
    ) -> Option<Option<RunResult>> {
        loop {
            let now = tokio::time::Instant::now();
            let deadline = match self.control.started.get() {
                Some(started) => tokio::time::Instant::from_std(*started + patience),
                None => now + patience,
            };
            let deadline = deadline.min(last);
            match tokio::time::timeout_at(deadline, &mut self.result).await {
                Ok(result) => return Some(result.ok()),
                Err(_)
                    if self
                        .control
                        .started
                        .get()
                        .is_some_and(|started| started.elapsed() >= patience) =>
                {
                    return None;
                }
                Err(_) if tokio::time::Instant::now() >= last => return None,
                Err(_) => {}
            }
        }
    }

    /// Asks it to stop before its next event and to bring what it has.
    pub(crate) fn cancel(&self) {
        self.control.cancelled.store(true, Ordering::Relaxed);
    }
}

struct Run {
    plan: Plan,
    at: usize,
    result: RunResult,
    gathered_bytes: usize,
    done: Option<oneshot::Sender<RunResult>>,
    control: Arc<RunControl>,
}

impl Job for Run {
    fn run(&mut self, slice: Duration) -> Progress {
        let now = Instant::now();
        self.control.started.get_or_init(|| now);
        let until = now + slice;
        let handler = Arc::clone(&self.plan.handler);
        let mut session = match &handler.code {
            Code::Sandboxed(plugin) => Some(plugin.session()),
            Code::DirectRequests => None,
        };
        // A run over shared state is not interrupted and gone on with: what runs between two of
        // its parts would depend on the first and be depended on by the second. It may end early.
        let state = match handler.state.as_ref().map(RunState::begin).transpose() {
            Ok(state) => state,
            Err(error) => {
                self.stop_here(StopCause::Host {
                    error: error.to_string(),
                });
                return self.finish(None);
            }
        };
        while self.at < self.plan.steps.len() && self.result.stop.is_none() {
            let slice_is_over = Instant::now() >= until;
            if state.is_none() && slice_is_over && !self.control.cancelled.load(Ordering::Relaxed) {
                return Progress::More;
            }
            let enough =
                self.gathered_bytes + state.as_ref().map_or(0, RunState::written_bytes) > RUN_BYTES;
            let part = slice_is_over && self.plan.in_parts;
            if self.control.cancelled.load(Ordering::Relaxed) || (self.at > 0 && (enough || part)) {
                self.stop_here(StopCause::Cancelled);
                break;
            }
            self.step(&handler, session.as_mut(), state.as_ref());
        }
        self.finish(state.as_ref())
    }
}

impl Run {
    fn finish(&mut self, state: Option<&RunState>) -> Progress {
        let mut result = std::mem::take(&mut self.result);
        if self.done.as_ref().is_none_or(oneshot::Sender::is_closed) {
            // Nobody waits any more, so nothing of it stands, and nobody must build on it.
            return Progress::Done;
        }
        match state.and_then(RunState::finish) {
            None => {}
            Some(Some(writes)) => result.state = Some(writes),
            // Another run was undone under this one: nothing of it stands.
            Some(None) => {
                let offset = self.plan.from;
                let cause = StopCause::Host {
                    error: "its state was undone by another lane".to_owned(),
                };
                result = RunResult {
                    stop: Some(Stop { offset, cause }),
                    ..RunResult::default()
                };
            }
        }
        if let Some(done) = self.done.take() {
            // Nobody waits any more if the partition was taken away.
            let _ = done.send(result);
        }
        Progress::Done
    }

    fn stop_here(&mut self, cause: StopCause) {
        let index = match self.plan.steps.get(self.at) {
            Some(Step::Call { index, .. } | Step::Impostor { index }) => *index,
            None => return,
        };
        let offset = self.plan.batch.items[index].record.offset;
        self.result.stop = Some(Stop { offset, cause });
    }

    fn step(
        &mut self,
        handler: &Handler,
        session: Option<&mut Session<'_>>,
        state: Option<&RunState>,
    ) {
        let batch = Arc::clone(&self.plan.batch);
        match self.plan.steps[self.at] {
            Step::Impostor { index } => {
                let item = &batch.items[index];
                let reason = "another event with the same eventId was handled before; give each event an id of its own";
                let why = Why {
                    code: "duplicate-id",
                    reason: reason.to_owned(),
                    attempts: 0,
                };
                self.dead_letter(handler, &batch, item, why);
            }
            Step::Call { index, attempt } => {
                let item = &batch.items[index];
                let Ok(decoded) = &item.content else { return };
                let answer = call(session, state, &batch, item, decoded, attempt);
                if matches!(answer, Ok(Answer::Handled(_))) {
                    if let Some(state) = state {
                        state.keep_call();
                    }
                } else if let Some(state) = state {
                    state.drop_call();
                }
                self.take_answer(handler, &batch, index, decoded, attempt, answer);
            }
        }
        if self.result.stop.is_none() {
            self.at += 1;
        }
    }

    fn take_answer(
        &mut self,
        handler: &Handler,
        batch: &Batch,
        index: usize,
        decoded: &Decoded,
        attempt: u32,
        answer: Result<Answer, Fault>,
    ) {
        let item = &batch.items[index];
        let (code, error) = match answer {
            Ok(Answer::Handled(actions)) => {
                handler.counters.handled.increment(1);
                let effects = effects(handler, batch, item, decoded, actions);
                self.decide(
                    handler,
                    batch,
                    item,
                    decoded,
                    Outcome::Handled,
                    effects.len(),
                    attempt,
                );
                self.gathered_bytes += effects.iter().map(size_bytes).sum::<usize>();
                self.result
                    .effects
                    .extend(effects.into_iter().map(|effect| (index, effect)));
                return;
            }
            Ok(Answer::Reject(reason)) => {
                handler.counters.rejected.increment(1);
                tracing::warn!(
                    plugin = %handler.name,
                    event = decoded.event.id,
                    kind = %decoded.event.kind,
                    partition = %batch.partition,
                    offset = item.record.offset,
                    correlation = decoded.event.correlation_id,
                    "a plugin rejects an event, which becomes a dead letter: {reason}"
                );
                self.decide(
                    handler,
                    batch,
                    item,
                    decoded,
                    Outcome::DeadLettered,
                    0,
                    attempt,
                );
                self.dead_letter(
                    handler,
                    batch,
                    item,
                    Why {
                        code: "rejected",
                        reason,
                        attempts: attempt,
                    },
                );
                return;
            }
            Ok(Answer::Retry(reason)) => {
                handler.counters.retried.increment(1);
                ("retry", reason)
            }
            Err(Fault::Host(error)) => {
                self.stop_here(StopCause::Host { error });
                return;
            }
            Err(fault) => {
                count_fault(handler, &fault);
                (fault.code(), fault.to_string())
            }
        };
        tracing::warn!(
            plugin = %handler.name,
            event = decoded.event.id,
            kind = %decoded.event.kind,
            partition = %batch.partition,
            offset = item.record.offset,
            attempt,
            max_attempts = self.plan.max_attempts,
            code,
            correlation = decoded.event.correlation_id,
            "a plugin did not handle an event: {error}"
        );
        if attempt >= self.plan.max_attempts {
            let reason = format!("given up after {attempt} attempts; the last one: {error}");
            self.decide(
                handler,
                batch,
                item,
                decoded,
                Outcome::DeadLettered,
                0,
                attempt,
            );
            self.dead_letter(
                handler,
                batch,
                item,
                Why {
                    code,
                    reason,
                    attempts: attempt,
                },
            );
        } else {
            self.stop_here(StopCause::Failed {
                attempts: attempt,
                error,
            });
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn decide(
        &mut self,
        handler: &Handler,
        batch: &Batch,
        item: &Item,
        decoded: &Decoded,
        outcome: Outcome,
        actions: usize,
        attempts: u32,
    ) {
        self.result.decisions.push(Decision {
            event_key: decoded.key,
            content_hash: decoded.content_hash,
            plugin: handler.id,
            version: handler.version,
            outcome,
            actions: u32::try_from(actions).unwrap_or(u32::MAX),
            attempts,
            source: batch.source(item),
        });
    }

    fn dead_letter(&mut self, handler: &Handler, batch: &Batch, item: &Item, why: Why<'_>) {
        handler.counters.dead_letters.increment(1);
        self.result
            .dead_letters
            .push(batch.dead_letter(item, handler.id, handler.version, why));
    }
}

fn count_fault(handler: &Handler, fault: &Fault) {
    metrics::counter!("carillon_plugin_calls_total", "plugin" => handler.name.to_string(), "outcome" => fault.code())
        .increment(1);
}

fn call(
    session: Option<&mut Session<'_>>,
    state: Option<&RunState>,
    batch: &Batch,
    item: &Item,
    decoded: &Decoded,
    attempt: u32,
) -> Result<Answer, Fault> {
    let event = &decoded.event;
    let Some(session) = session else {
        return Ok(direct::handle(event));
    };
    let guest_event = GuestEvent {
        id: &event.id,
        kind: event.kind.as_str(),
        time_ms: event.time_ms,
        logged_at_ms: item.record.timestamp_ms,
        user_id: event.user_id.as_deref(),
        resource_id: event.resource_id.as_deref(),
        subject_id: event.subject_id.as_deref(),
        data: event.data.get(),
        correlation_id: event.correlation_id.as_deref(),
        topic: &batch.partition.topic,
        // Kafka numbers partitions and offsets from 0.
        partition: batch.partition.partition.unsigned_abs(),
        offset: item.record.offset.unsigned_abs(),
        attempt,
    };
    let state = match state {
        Some(state) => state.for_call(item.record.timestamp_ms),
        None => Box::new(NoState),
    };
    session.handle(&guest_event, state).0
}
