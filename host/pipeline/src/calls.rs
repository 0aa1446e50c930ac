//! A run: one lane's events of one batch, called one after another on a worker thread.

mod answers;
mod memory;
mod sessions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_sandbox::Answer;
use tokio::sync::oneshot;

use crate::batch::Why;
use crate::handler::{Handler, InUse, Role};
use crate::plan::{Plan, RunControl, RunResult, Step, Stop, StopCause};
use crate::stats::Sample;
use crate::workers::{Class, Job, Progress};
use memory::Memory;
use sessions::Sessions;

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
}
