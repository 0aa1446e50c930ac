//! What a lane has to do with a batch, and the run that it becomes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use carillon_sandbox::Egress;
use carillon_store::{DeadLetter, Decision, Effect, StateWrites, TrialAnswer};
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::calls::Run;
use crate::duplicates::{Novelty, Past};
use crate::handler::{Handler, InUse};
use crate::scratch::Scratch;
use crate::state_space::Ticket;
use crate::workers::{Class, Workers};

/// What a lane is to do with one item of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Call {
        index: usize,
        attempt: u32,
    },
    /// An id that was decided already, with other content.
    Impostor {
        index: usize,
    },
}

impl Step {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Call { index, .. } | Self::Impostor { index } => index,
        }
    }
}

/// What a run is for.
#[derive(Clone)]
pub(crate) enum Purpose {
    /// The lane goes on.
    Live,
    /// To see whether a quarantined plugin works again: failing takes no attempt.
    Probe,
    /// Events are handled again, past what was decided. A fault is noted and the run goes on.
    Again {
        /// Whether the plugin may reach hosts.
        egress: Egress,
        /// Where what it writes to its state goes; `None`: to its state.
        scratch: Option<Arc<Scratch>>,
    },
}

/// The events of a batch that a lane has to handle.
pub(crate) struct Plan {
    pub(crate) handler: Arc<Handler>,
    pub(crate) batch: Arc<Batch>,
    pub(crate) steps: Vec<Step>,
    pub(crate) max_attempts: u32,
    pub(crate) from: i64,
    pub(crate) purpose: Purpose,
    /// Whose turn it takes on the threads. A run of [`Class::Away`] may stop when its slice is
    /// over, so that it does not hold its thread; what it has done by then is a share of its own.
    pub(crate) class: Class,
    next: i64,
}

/// What a run came to, up to where it stopped.
#[derive(Default)]
pub(crate) struct RunResult {
    /// By the index of the item.
    pub(crate) effects: Vec<(usize, Effect)>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) answers: Vec<TrialAnswer>,
    pub(crate) state: Option<(StateWrites, Ticket)>,
    pub(crate) stop: Option<Stop>,
    /// What failed where faults are only noted, by the index of the item.
    pub(crate) failures: Vec<(usize, Failure)>,
}

/// A call that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// A short name of the cause.
    pub(crate) code: &'static str,
    /// The cause.
    pub(crate) reason: String,
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
    /// A probe has failed, which does not count either.
    Probed,
    /// It took too long beside the others, or another version takes over.
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
            let too_old =
                item.record.timestamp_ms < handler.not_before_ms && item.record.is_sent_again();
            if item.record.offset < from || too_old || !handler.wants(&decoded.event.kind) {
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
                    handler.plugin.counters.duplicates.increment(1);
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
            purpose: Purpose::Live,
            class: Class::Head,
            next: batch.next,
        }
    }

    /// Everything in `batch` that `handler` wants, whatever was decided about it.
    pub(crate) fn again(handler: &Arc<Handler>, batch: &Arc<Batch>, purpose: Purpose) -> Self {
        let mut plan = Self::new(handler, batch, &Past::default(), batch.start, 0, 1);
        plan.purpose = purpose;
        plan.class = Class::Away;
        plan
    }

    /// Leaves out what comes before a record.
    pub(crate) fn skip_to(&mut self, offset: i64) {
        let items = &self.batch.items;
        self.steps
            .retain(|step| items[step.index()].record.offset >= offset);
    }

    /// Leaves only the first event to be handled.
    pub(crate) fn keep_first(&mut self) {
        self.steps.truncate(1);
        if let Some(step) = self.steps.first() {
            self.next = self.batch.items[step.index()].record.offset + 1;
        }
    }

    /// For a lane away from the head.
    pub(crate) fn away(mut self, purpose: Purpose) -> Self {
        self.class = Class::Away;
        self.purpose = purpose;
        self
    }

    /// The record of the first event to be handled.
    pub(crate) fn first(&self) -> Option<usize> {
        self.steps.first().map(|step| step.index())
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
        let in_use = InUse::of(&self.handler);
        let (plugin, class) = (self.handler.id, self.class);
        let one_at_a_time = self.handler.state.is_some();
        let run = Run::new(self, in_use, done, Arc::clone(&control));
        workers.submit(plugin, class, one_at_a_time, Box::new(run));
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
pub(crate) struct RunControl {
    cancelled: AtomicBool,
    started: OnceLock<Instant>,
}

impl RunControl {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A thread has taken it up, now or before.
    pub(crate) fn started(&self, now: Instant) {
        self.started.get_or_init(|| now);
    }
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
