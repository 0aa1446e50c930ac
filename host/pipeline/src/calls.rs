//! A run: one lane's events of one batch, called one after another on a worker thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_sandbox::{Answer, Egress, Fault, GuestEvent, NoState, Plugin, Session, State};
use carillon_store::{Decision, Outcome, Side, VersionId};
use tokio::sync::oneshot;

use crate::batch::{Batch, Decoded, Item, Why};
use crate::comparison;
use crate::direct;
use crate::effects::{effects, size_bytes};
use crate::handler::{Canary, Code, Handler, InUse, Role};
use crate::plan::{Failure, Plan, Purpose, RunControl, RunResult, Step, Stop, StopCause};
use crate::scratch::{Scratch, ScratchCall};
use crate::state_space::RunState;
use crate::stats::Sample;
use crate::workers::{Class, Job, Progress};

/// Beyond this much gathered output a run stops and goes on with the next share, in bytes.
const RUN_BYTES: usize = 4 << 20;

pub(crate) struct Run {
    plan: Plan,
    at: usize,
    result: RunResult,
    gathered_bytes: usize,
    done: Option<oneshot::Sender<RunResult>>,
    control: Arc<RunControl>,
    sample: Sample,
    canary_sample: Sample,
    in_use: InUse,
}

/// Where the calls of a run find the plugin's state.
enum Memory {
    None,
    Shared(RunState),
    /// Only as long as a replay lasts.
    Scratch(Arc<Scratch>),
}

/// The instances that a run calls.
struct Sessions<'a> {
    active: Option<Session<'a>>,
    canary: Option<(&'a Canary, Session<'a>)>,
}

/// One call, and who took it.
struct Called<'a> {
    answer: Result<Answer, Fault>,
    took_us: u32,
    canary: Option<&'a Canary>,
}

impl Job for Run {
    fn run(&mut self, slice: Duration) -> Progress {
        let now = Instant::now();
        self.control.started(now);
        let until = now + slice;
        let handler = Arc::clone(self.in_use.handler());
        let mut sessions = Sessions::open(&handler, &self.plan.purpose);
        // A run over shared state is not interrupted and gone on with: what runs between two of
        // its parts would depend on the first and be depended on by the second. It may end early.
        let memory = match Memory::begin(&handler, &self.plan.purpose) {
            Ok(memory) => memory,
            Err(error) => {
                self.stop_here(StopCause::Host { error });
                return self.finish(&Memory::None);
            }
        };
        while self.at < self.plan.steps.len() && self.result.stop.is_none() {
            let slice_is_over = Instant::now() >= until;
            let away = self.plan.class == Class::Away;
            let cancelled = self.control.is_cancelled() || (away && handler.is_retired());
            if matches!(memory, Memory::None) && slice_is_over && !cancelled {
                return Progress::More;
            }
            let enough = self.gathered_bytes + memory.written_bytes() > RUN_BYTES;
            let part = slice_is_over && away;
            if cancelled || (self.at > 0 && (enough || part)) {
                self.stop_here(StopCause::Cancelled);
                break;
            }
            self.step(&handler, &mut sessions, &memory);
        }
        self.finish(&memory)
    }
}

impl<'a> Sessions<'a> {
    fn open(handler: &'a Handler, purpose: &Purpose) -> Self {
        let egress = match (purpose, &handler.role) {
            (_, Role::Shadow(_)) => Egress::Closed,
            (Purpose::Again { egress, .. }, _) => *egress,
            (Purpose::Live | Purpose::Probe, _) => Egress::Open,
        };
        let open = |plugin: &'a Plugin| plugin.session(egress);
        Self {
            active: match &handler.code {
                Code::Sandboxed(plugin) => Some(open(plugin)),
                Code::DirectRequests => None,
            },
            canary: match (&handler.role, purpose) {
                (Role::Shared(canary), Purpose::Live) => Some((&**canary, open(&canary.plugin))),
                _ => None,
            },
        }
    }
}

impl Memory {
    fn begin(handler: &Handler, purpose: &Purpose) -> Result<Self, String> {
        let Some(space) = &handler.state else {
            return Ok(Self::None);
        };
        if let Purpose::Again {
            scratch: Some(scratch),
            ..
        } = purpose
        {
            return Ok(Self::Scratch(Arc::clone(scratch)));
        }
        RunState::begin(space)
            .map(Self::Shared)
            .map_err(|error| error.to_string())
    }

    fn for_call(&self, now_ms: i64) -> Box<dyn State> {
        match self {
            Self::None => Box::new(NoState),
            Self::Shared(state) => state.for_call(now_ms),
            Self::Scratch(scratch) => Box::new(ScratchCall::new(scratch, now_ms)),
        }
    }

    fn settle(&self, handled: bool) {
        match self {
            Self::None => {}
            Self::Shared(state) if handled => state.keep_call(),
            Self::Shared(state) => state.drop_call(),
            Self::Scratch(scratch) if handled => scratch.keep_call(),
            Self::Scratch(scratch) => scratch.drop_call(),
        }
    }

    fn written_bytes(&self) -> usize {
        match self {
            Self::Shared(state) => state.written_bytes(),
            Self::None | Self::Scratch(_) => 0,
        }
    }
}

impl Run {
    pub(crate) fn new(
        plan: Plan,
        in_use: InUse,
        done: oneshot::Sender<RunResult>,
        control: Arc<RunControl>,
    ) -> Self {
        Self {
            plan,
            at: 0,
            result: RunResult::default(),
            gathered_bytes: 0,
            done: Some(done),
            control,
            sample: Sample::default(),
            canary_sample: Sample::default(),
            in_use,
        }
    }

    fn finish(&mut self, memory: &Memory) -> Progress {
        let handler = self.in_use.handler();
        handler.plugin.stats.add(&std::mem::take(&mut self.sample));
        if let Role::Shared(canary) = &handler.role {
            canary.stats.add(&std::mem::take(&mut self.canary_sample));
        }
        let mut result = std::mem::take(&mut self.result);
        if self.done.as_ref().is_none_or(oneshot::Sender::is_closed) {
            // Nobody waits any more, so nothing of it stands, and nobody must build on it.
            return Progress::Done;
        }
        let written = match memory {
            Memory::Shared(state) => state.finish(),
            Memory::None | Memory::Scratch(_) => None,
        };
        match written {
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
        let Some(step) = self.plan.steps.get(self.at) else {
            return;
        };
        let offset = self.plan.batch.items[step.index()].record.offset;
        self.result.stop = Some(Stop { offset, cause });
    }

    fn step(&mut self, handler: &Handler, sessions: &mut Sessions<'_>, memory: &Memory) {
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
                if !matches!(handler.role, Role::Shadow(_)) {
                    self.dead_letter(handler, handler.version, &batch, item, why);
                }
            }
            Step::Call { index, attempt } => {
                let item = &batch.items[index];
                let Ok(decoded) = &item.content else { return };
                let mut called =
                    self.call_canary(handler, sessions, memory, item, decoded, attempt);
                if called.is_none() {
                    called = Some(self.call(sessions, memory, item, decoded, attempt));
                }
                let Some(called) = called else { return };
                memory.settle(matches!(called.answer, Ok(Answer::Handled(_))));
                self.take_answer(handler, &batch, index, decoded, attempt, called);
            }
        }
        if self.result.stop.is_none() {
            self.at += 1;
        }
    }

    /// Asks the candidate, if the event is its. What it does not handle is the active version's to
    /// decide, at once: a candidate never makes a dead letter, and holds nothing up.
    fn call_canary<'a>(
        &mut self,
        handler: &Handler,
        sessions: &mut Sessions<'a>,
        memory: &Memory,
        item: &Item,
        decoded: &Decoded,
        attempt: u32,
    ) -> Option<Called<'a>> {
        let (canary, session) = sessions.canary.as_mut()?;
        if !canary.takes(&handler.name, item, decoded) {
            return None;
        }
        let event = guest_event(&self.plan.batch, item, decoded, attempt);
        let call = session.handle(&event, memory.for_call(item.record.timestamp_ms));
        let took_us = u32::try_from(call.took.as_micros()).unwrap_or(u32::MAX);
        self.canary_sample.took_us.push(took_us);
        let failure = match call.answer {
            Ok(Answer::Handled(_)) => {
                return Some(Called {
                    answer: call.answer,
                    took_us,
                    canary: Some(*canary),
                });
            }
            Ok(Answer::Reject(reason)) => Failure {
                code: "rejected",
                reason,
            },
            Ok(Answer::Retry(reason)) => Failure {
                code: "retry",
                reason,
            },
            Err(fault) => Failure {
                code: fault.code(),
                reason: fault.to_string(),
            },
        };
        memory.settle(false);
        self.canary_sample.faults += 1;
        let batch = Arc::clone(&self.plan.batch);
        self.say(
            handler,
            Some(canary),
            &batch,
            item,
            decoded,
            attempt,
            &failure,
        );
        canary
            .rule
            .fault(&format!("{}: {}", failure.code, failure.reason));
        None
    }

    fn call<'a>(
        &mut self,
        sessions: &mut Sessions<'a>,
        memory: &Memory,
        item: &Item,
        decoded: &Decoded,
        attempt: u32,
    ) -> Called<'a> {
        let Some(session) = sessions.active.as_mut() else {
            return Called {
                answer: Ok(direct::handle(&decoded.event)),
                took_us: 1,
                canary: None,
            };
        };
        let event = guest_event(&self.plan.batch, item, decoded, attempt);
        let call = session.handle(&event, memory.for_call(item.record.timestamp_ms));
        let took_us = u32::try_from(call.took.as_micros()).unwrap_or(u32::MAX);
        self.sample.took_us.push(took_us);
        Called {
            answer: call.answer,
            took_us,
            canary: None,
        }
    }

    fn take_answer(
        &mut self,
        handler: &Handler,
        batch: &Batch,
        index: usize,
        decoded: &Decoded,
        attempt: u32,
        called: Called<'_>,
    ) {
        self.record(handler, batch, index, decoded, &called);
        let version = called
            .canary
            .map_or(handler.version, |canary| canary.version);
        let item = &batch.items[index];
        let failure = match called.answer {
            Ok(Answer::Handled(actions)) => {
                self.count(called.canary).handled += 1;
                if called.canary.is_none() {
                    self.answered(handler);
                }
                handler.plugin.counters.handled.increment(1);
                let effects = if matches!(handler.role, Role::Shadow(_)) {
                    Vec::new()
                } else {
                    effects(handler, version, batch, item, decoded, actions)
                };
                let actions = u32::try_from(effects.len()).unwrap_or(u32::MAX);
                self.decide(
                    handler.id,
                    version,
                    batch,
                    item,
                    decoded,
                    (Outcome::Handled, actions, attempt),
                );
                self.gathered_bytes += effects.iter().map(size_bytes).sum::<usize>();
                self.result
                    .effects
                    .extend(effects.into_iter().map(|effect| (index, effect)));
                return;
            }
            Ok(Answer::Reject(reason)) => {
                handler.plugin.counters.rejected.increment(1);
                // To refuse an event is an answer.
                self.answered(handler);
                let failure = Failure {
                    code: "rejected",
                    reason,
                };
                self.say(handler, None, batch, item, decoded, attempt, &failure);
                self.give_up(handler, version, batch, index, decoded, attempt, failure);
                return;
            }
            Ok(Answer::Retry(reason)) => {
                handler.plugin.counters.retried.increment(1);
                Failure {
                    code: "retry",
                    reason,
                }
            }
            Err(Fault::Host(error)) => {
                self.stop_here(StopCause::Host { error });
                return;
            }
            Err(fault) => {
                count_fault(handler, &fault);
                Failure {
                    code: fault.code(),
                    reason: fault.to_string(),
                }
            }
        };
        self.sample.faults += 1;
        self.say(handler, None, batch, item, decoded, attempt, &failure);
        let reason = format!("{}: {}", failure.code, failure.reason);
        match &handler.role {
            Role::Shadow(rule) => rule.fault(&reason),
            _ if self.counts_for_gate(handler) => handler.plugin.gate.fault(&reason),
            _ => {}
        }
        let probing = matches!(self.plan.purpose, Purpose::Probe);
        if self.notes_faults(handler) || (attempt >= self.plan.max_attempts && !probing) {
            let failure = Failure {
                code: failure.code,
                reason: format!(
                    "given up after {attempt} attempts; the last one: {}",
                    failure.reason
                ),
            };
            self.give_up(handler, version, batch, index, decoded, attempt, failure);
        } else if probing {
            self.stop_here(StopCause::Probed);
        } else {
            self.stop_here(StopCause::Failed {
                attempts: attempt,
                error: reason,
            });
        }
    }

    fn answered(&self, handler: &Handler) {
        if self.counts_for_gate(handler) {
            handler.plugin.gate.healthy();
        }
    }

    /// Whether the lanes' standing hangs on it: what old events do says nothing about them, and
    /// what a version did that has given way nothing about its successor.
    fn counts_for_gate(&self, handler: &Handler) -> bool {
        matches!(self.plan.purpose, Purpose::Live | Purpose::Probe) && !handler.is_retired()
    }

    /// Whether a fault is noted and the run goes on.
    fn notes_faults(&self, handler: &Handler) -> bool {
        matches!(self.plan.purpose, Purpose::Again { .. })
            || matches!(handler.role, Role::Shadow(_))
    }

    fn count(&mut self, canary: Option<&Canary>) -> &mut Sample {
        if canary.is_some() {
            &mut self.canary_sample
        } else {
            &mut self.sample
        }
    }

    /// The event is not tried again.
    #[allow(clippy::too_many_arguments)]
    fn give_up(
        &mut self,
        handler: &Handler,
        version: VersionId,
        batch: &Batch,
        index: usize,
        decoded: &Decoded,
        attempt: u32,
        failure: Failure,
    ) {
        let item = &batch.items[index];
        if matches!(self.plan.purpose, Purpose::Again { .. }) {
            self.result.failures.push((index, failure));
            return;
        }
        self.decide(
            handler.id,
            version,
            batch,
            item,
            decoded,
            (Outcome::DeadLettered, 0, attempt),
        );
        if matches!(handler.role, Role::Shadow(_)) {
            return;
        }
        let why = Why {
            code: failure.code,
            reason: failure.reason,
            attempts: attempt,
        };
        self.dead_letter(handler, version, batch, item, why);
    }

    /// Writes down the answer where a trial compares it with another's.
    fn record(
        &mut self,
        handler: &Handler,
        batch: &Batch,
        index: usize,
        decoded: &Decoded,
        called: &Called<'_>,
    ) {
        if !matches!(self.plan.purpose, Purpose::Live) {
            return;
        }
        let (trial, side) = match &handler.role {
            Role::Compared(trial) => (*trial, Side::Active),
            Role::Shadow(rule) => (rule.trial, Side::Candidate),
            Role::Active | Role::Shared(_) => return,
        };
        let answer = comparison::answer(
            comparison::Answerer {
                trial,
                side,
                plugin: handler.id,
            },
            decoded,
            batch.source(&batch.items[index]),
            &called.answer,
            called.took_us,
        );
        self.result.answers.push(answer);
    }

    /// Tells the operator.
    #[allow(clippy::too_many_arguments)]
    fn say(
        &self,
        handler: &Handler,
        canary: Option<&Canary>,
        batch: &Batch,
        item: &Item,
        decoded: &Decoded,
        attempt: u32,
        failure: &Failure,
    ) {
        let label = canary.map_or(&handler.label, |canary| &canary.label);
        tracing::warn!(
            plugin = %handler.name,
            version = %label,
            event = decoded.event.id,
            kind = %decoded.event.kind,
            partition = %batch.partition,
            offset = item.record.offset,
            attempt,
            max_attempts = self.plan.max_attempts,
            code = failure.code,
            correlation = decoded.event.correlation_id,
            "a plugin did not handle an event: {}", failure.reason
        );
        handler.plugin.book.host(
            label,
            "warn",
            Some(&decoded.event.id),
            format!(
                "attempt {attempt} of {} at {} offset {}: {}: {}",
                self.plan.max_attempts,
                batch.partition,
                item.record.offset,
                failure.code,
                failure.reason
            ),
        );
    }

    fn decide(
        &mut self,
        plugin: carillon_store::PluginId,
        version: VersionId,
        batch: &Batch,
        item: &Item,
        decoded: &Decoded,
        (outcome, actions, attempts): (Outcome, u32, u32),
    ) {
        self.result.decisions.push(Decision {
            event_key: decoded.key,
            content_hash: decoded.content_hash,
            plugin,
            version,
            outcome,
            actions,
            attempts,
            source: batch.source(item),
            replaces: matches!(self.plan.purpose, Purpose::Again { .. }),
        });
    }

    fn dead_letter(
        &mut self,
        handler: &Handler,
        version: VersionId,
        batch: &Batch,
        item: &Item,
        why: Why<'_>,
    ) {
        handler.plugin.counters.dead_letters.increment(1);
        self.sample.dead_letters += 1;
        self.result
            .dead_letters
            .push(batch.dead_letter(item, handler.id, version, why));
    }
}

fn count_fault(handler: &Handler, fault: &Fault) {
    metrics::counter!("carillon_plugin_calls_total", "plugin" => handler.name.to_string(), "outcome" => fault.code())
        .increment(1);
}

fn guest_event<'a>(
    batch: &'a Batch,
    item: &'a Item,
    decoded: &'a Decoded,
    attempt: u32,
) -> GuestEvent<'a> {
    let event = &decoded.event;
    GuestEvent {
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
    }
}
