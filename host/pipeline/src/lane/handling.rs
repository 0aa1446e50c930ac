//! A batch through a lane: run, written, and the cursor moved.

use std::sync::Arc;
use std::time::Duration;

use carillon_store::{CursorMove, Lane as CursorLane, RetryState, Share, ShareError};

use super::{End, Lane, TROUBLE_PAUSE};
use crate::backoff::pause;
use crate::batch::{Batch, Decoded};
use crate::duplicates::Past;
use crate::plan::{Plan, Purpose, RunResult, Stop, StopCause};
use crate::state_space::Ticket;

impl Lane {
    /// Handles a batch from the cursor on, as far as it goes, and commits.
    pub(super) async fn handle(&mut self, batch: &Arc<Batch>, purpose: Purpose) -> Result<(), End> {
        let past = self.past(batch).await;
        let failed_before = self.retry.as_ref().map_or(0, |retry| retry.attempts);
        let max_attempts = self.context.config.max_attempts;
        let mut plan = Plan::new(
            &self.handler,
            batch,
            &past,
            self.cursor,
            failed_before,
            max_attempts,
        )
        .away(purpose.clone());
        if self.cursor < self.one_by_one_until || matches!(purpose, Purpose::Probe) {
            plan.keep_first();
        }
        let (planned_to, first) = (plan.next(), plan.first());
        let result = if plan.is_empty() {
            RunResult::default()
        } else {
            let workers = self.context.workers_for(&self.handler);
            match plan.start(workers).result.await {
                Ok(result) => result,
                Err(_) => self.panicked(batch, first, failed_before, &purpose),
            }
        };
        let next = result.stop.as_ref().map_or(planned_to, |stop| stop.offset);
        let retry = self.retry_after(result.stop.as_ref());
        let mut share = Share::moving(self.cursor_move(batch, next, retry.clone()));
        share.decisions = result.decisions;
        share.effects = result
            .effects
            .into_iter()
            .map(|(_, effect)| effect)
            .collect();
        share.dead_letters = result.dead_letters;
        share.answers = result.answers;
        let (state, tickets) = result.state.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        share.state = state;
        if self.commit(batch, share, tickets, first).await? {
            self.moved(next, retry);
            self.pause_after_host_trouble(result.stop.as_ref()).await;
        }
        Ok(())
    }

    async fn past(&self, batch: &Batch) -> Past {
        loop {
            let wants = |decoded: &Decoded| self.handler.wants(&decoded.event.kind);
            match Past::look_up(&self.context.store, batch, wants).await {
                Ok(past) => return past,
                Err(error) => {
                    tracing::warn!(%error, "decisions cannot be looked up yet");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
            }
        }
    }

    /// Writes a share; answers whether it stands. If not, the lane looks again at what it has to
    /// do.
    async fn commit(
        &mut self,
        batch: &Arc<Batch>,
        share: Share,
        tickets: Vec<Ticket>,
        first: Option<usize>,
    ) -> Result<bool, End> {
        match self.context.committer.commit(share, tickets).await {
            None => Err(End::Left),
            Some(Ok(())) => Ok(true),
            Some(Err(failed)) => match failed.error {
                // Somebody else was faster; another look at the store tells by how much.
                ShareError::StateConflict | ShareError::AlreadyDecided(_) => Ok(false),
                ShareError::Refused(reason) if self.cursor < self.one_by_one_until => {
                    self.blame(batch, first, &reason).await?;
                    Ok(false)
                }
                ShareError::Refused(reason) => {
                    tracing::warn!(plugin = %self.handler.name, reason, "the store refuses what a plugin decided; its events are written one by one");
                    self.one_by_one_until = batch.next;
                    Ok(false)
                }
                ShareError::Fenced { .. } | ShareError::Unavailable(_) => {
                    self.look_up_place().await?;
                    Ok(false)
                }
            },
        }
    }

    pub(super) fn cursor_move(
        &self,
        batch: &Batch,
        next: i64,
        retry: Option<RetryState>,
    ) -> CursorMove {
        CursorMove {
            log: self.log,
            partition: self.partition.partition,
            lane: CursorLane::Plugin(self.handler.id),
            expected: Some(self.cursor),
            next,
            logged_at_ms: batch.logged_before(next),
            retry,
        }
    }

    fn retry_after(&self, stop: Option<&Stop>) -> Option<RetryState> {
        match &stop?.cause {
            StopCause::Failed { attempts, error } => {
                Some(self.context.retry_state(*attempts, error.clone()))
            }
            // The host's trouble takes no attempt away, and a probe neither.
            StopCause::Host { .. } | StopCause::Probed | StopCause::Cancelled => self
                .retry
                .clone()
                .filter(|_| stop.is_some_and(|stop| stop.offset == self.cursor)),
        }
    }

    async fn pause_after_host_trouble(&self, stop: Option<&Stop>) {
        if let Some(Stop {
            cause: StopCause::Host { error },
            ..
        }) = stop
        {
            tracing::warn!(plugin = %self.handler.name, error, "the host could not run the plugin; it tries again");
            tokio::time::sleep(pause(1, Duration::from_millis(200), Duration::from_secs(1))).await;
        }
    }
}
