//! One call: the plugin, its candidate or the built-in lane is asked.

use std::sync::Arc;

use carillon_sandbox::{Answer, Egress, Fault, GuestEvent, Plugin, Session};

use super::Run;
use super::memory::Memory;
use crate::batch::{Batch, Decoded, Item};
use crate::direct;
use crate::handler::{Canary, Code, Handler, Role};
use crate::plan::{Failure, Purpose};

/// The instances that a run calls.
pub(super) struct Sessions<'a> {
    active: Option<Session<'a>>,
    canary: Option<(&'a Canary, Session<'a>)>,
}

/// One call, and who took it.
pub(super) struct Called<'a> {
    pub(super) answer: Result<Answer, Fault>,
    pub(super) took_us: u32,
    pub(super) canary: Option<&'a Canary>,
}

impl<'a> Sessions<'a> {
    pub(super) fn open(handler: &'a Handler, purpose: &Purpose) -> Self {
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

impl Run {
    /// Asks the candidate, if the event is its. What it does not handle is the active version's to
    /// decide, at once: a candidate never makes a dead letter, and holds nothing up.
    pub(super) fn call_canary<'a>(
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

    pub(super) fn call<'a>(
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
