//! The one event of a lane that the host panics over, or that the store refuses, is found and
//! given up, so that the lane gets past it.

use std::sync::Arc;

use carillon_store::{Decision, Outcome, Share, ShareError};

use super::{End, Lane};
use crate::batch::{Batch, Why};
use crate::handler::Role;
use crate::plan::{Purpose, RunResult, Stop, StopCause};

impl Lane {
    /// The host panicked while it ran the plugin, and has said so. Events are run one by one then,
    /// so that the one that does it is known; for that one it counts as an attempt, so that it
    /// cannot do it for ever, and as a fault of the plugin, whose doing it is.
    pub(super) fn panicked(
        &mut self,
        batch: &Batch,
        first: Option<usize>,
        failed_before: u32,
        purpose: &Purpose,
    ) -> RunResult {
        let probing = matches!(purpose, Purpose::Probe);
        let offset = first.map_or(self.cursor, |index| batch.items[index].record.offset);
        let stop = |offset: i64, cause: StopCause| Some(Stop { offset, cause });
        // A probe is one event already.
        if self.cursor >= self.one_by_one_until && !probing {
            self.one_by_one_until = batch.next;
            let stop = stop(self.cursor, StopCause::Cancelled);
            return RunResult {
                stop,
                ..RunResult::default()
            };
        }
        let error = "the host panicked while it ran the plugin".to_owned();
        self.handler
            .panicked(first.map(|index| &batch.items[index]), &error);
        let attempts = if offset == self.cursor {
            failed_before + 1
        } else {
            1
        };
        if probing || attempts < self.context.config.max_attempts {
            let cause = match purpose {
                Purpose::Probe => StopCause::Probed,
                _ => StopCause::Failed { attempts, error },
            };
            let stop = stop(offset, cause);
            return RunResult {
                stop,
                ..RunResult::default()
            };
        }
        let mut result = self.given_up(batch, first, "panic", &error, attempts);
        result.stop = stop(offset + 1, StopCause::Cancelled);
        result
    }

    /// The store refuses what came of one event: it becomes a dead letter.
    pub(super) async fn blame(
        &mut self,
        batch: &Arc<Batch>,
        first: Option<usize>,
        reason: &str,
    ) -> Result<(), End> {
        let Some(index) = first else {
            return Err(self.stopped(format!("the store refuses its progress: {reason}")));
        };
        let next = batch.items[index].record.offset + 1;
        let reason = format!("the store refused what the plugin decided: {reason}");
        let given_up = self.given_up(batch, Some(index), "store", &reason, 1);
        let mut share = Share::moving(self.cursor_move(batch, next, None));
        share.decisions = given_up.decisions;
        share.dead_letters = given_up.dead_letters;
        match self.context.committer.commit(share, Vec::new()).await {
            None => Err(End::Left),
            Some(Ok(())) => {
                self.moved(next, None);
                Ok(())
            }
            Some(Err(failed)) => match failed.error {
                ShareError::Refused(reason) => {
                    Err(self.stopped(format!("the store refuses a dead letter: {reason}")))
                }
                _ => self.look_up_place().await,
            },
        }
    }

    /// The decision and the dead letter of an event that is not tried again.
    fn given_up(
        &self,
        batch: &Batch,
        index: Option<usize>,
        code: &str,
        reason: &str,
        attempts: u32,
    ) -> RunResult {
        let mut result = RunResult::default();
        let Some(item) = index.map(|index| &batch.items[index]) else {
            return result;
        };
        let Ok(decoded) = &item.content else {
            return result;
        };
        // Nobody hears of what a candidate does, so nobody has anything to make up for.
        if !matches!(self.handler.role, Role::Shadow(_)) {
            let why = Why {
                code,
                reason: reason.to_owned(),
                attempts,
            };
            self.handler.plugin.counters.dead_letters.increment(1);
            result.dead_letters.push(batch.dead_letter(
                item,
                self.handler.id,
                self.handler.version,
                why,
            ));
        }
        result.decisions.push(Decision {
            event_key: decoded.key,
            content_hash: decoded.content_hash,
            plugin: self.handler.id,
            version: self.handler.version,
            outcome: Outcome::DeadLettered,
            actions: 0,
            attempts,
            source: batch.source(item),
            replaces: false,
        });
        result
    }
}
