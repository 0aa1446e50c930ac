//! What becomes of an answer: effects, a decision, another attempt, a dead letter.

use carillon_sandbox::{Answer, Fault};
use carillon_store::{Decision, Outcome, PluginId, Side, VersionId};

use super::Run;
use super::sessions::Called;
use crate::batch::{Batch, Decoded, Item, Why};
use crate::comparison;
use crate::counted::counted;
use crate::effects::{effects, size_bytes};
use crate::handler::{Canary, Handler, Role};
use crate::plan::{Failure, Purpose, StopCause};
use crate::stats::Sample;

impl Run {
    pub(super) fn take_answer(
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
                    "given up after {}; the last one: {}",
                    counted(attempt, "attempt"),
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
    pub(super) fn say(
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
        plugin: PluginId,
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

    pub(super) fn dead_letter(
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
