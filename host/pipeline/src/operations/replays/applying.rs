//! What a replay sends that was not sent.

use std::collections::HashMap;

use carillon_store::{DeadLetterRow, Effect, NewNotification, Share, ShareError};

use super::Work;
use super::comparing::Sent;
use crate::operations::model::OperationError;
use crate::operations::{Done, unavailable};
use crate::plan::RunResult;

impl Work {
    /// Writes what was not written; answers whether it stands.
    pub(super) async fn apply(
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

    /// Whether something newer stands under the same collapse key: it must not be replaced by
    /// something old.
    async fn is_superseded(&self, new: &NewNotification) -> Done<bool> {
        let Some(key) = &new.collapse_key else {
            return Ok(false);
        };
        self.operations
            .parts
            .store
            .newer_stands(&new.stream, new.plugin, key, new.source.logged_at_ms)
            .await
            .map_err(unavailable)
    }
}
