//! What all heads and lanes work with.

use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{Again, ReaderPool, UnknownPosition};
use carillon_store::{RetryState, Store};
use tokio::sync::watch;

use crate::backoff::{now_ms, pause};
use crate::board::Board;
use crate::committer::Committer;
use crate::config::PipelineConfig;
use crate::handler::Handler;
use crate::health::Health;
use crate::offsets::Offsets;
use crate::table::PluginTable;
use crate::workers::Workers;

/// What all heads and lanes work with.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    /// Run plugins that only compute.
    pub(crate) workers: Workers,
    /// Run plugins that may wait for hosts of the network.
    pub(crate) http_workers: Workers,
    pub(crate) board: Arc<Board>,
    pub(crate) plugins: PluginTable,
    pub(crate) readers: ReaderPool,
    pub(crate) offsets: Offsets,
    pub(crate) again: Again,
    pub(crate) health: Arc<Health>,
    pub(crate) unknown_position: UnknownPosition,
    pub(crate) config: PipelineConfig,
}

impl Context {
    /// The threads that a handler runs on. A call that waits for the network holds its thread, and
    /// must not hold one that others need.
    pub(crate) fn workers_for(&self, handler: &Handler) -> &Workers {
        if handler.reaches_out() {
            &self.http_workers
        } else {
            &self.workers
        }
    }

    /// What is stored after a failed attempt.
    pub(crate) fn retry_state(&self, attempts: u32, last_error: String) -> RetryState {
        let first = Duration::from_millis(self.config.retry_backoff_ms);
        let longest = Duration::from_millis(self.config.max_retry_backoff_ms);
        let wait = pause(attempts, first, longest);
        RetryState {
            attempts,
            retry_at_ms: now_ms()
                .saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
            last_error,
        }
    }
}

/// Resolves once the partition is taken away.
pub(crate) async fn taken_away(revoked: &mut watch::Receiver<bool>) {
    // An error means that the consumer is gone, and the partition with it.
    let _ = revoked.wait_for(|revoked| *revoked).await;
}
