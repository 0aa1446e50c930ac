//! Trimming and sweeping, now and then.

use std::time::Duration;

use crate::error::StoreError;
use crate::open::Store;

impl Store {
    /// Trims streams, sweeps expired state and drops old decisions, as often as configured. Runs
    /// for ever; may be dropped at any await.
    pub async fn run_maintenance(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.config().maintenance_interval_ms.max(100)));
        loop {
            ticks.tick().await;
            if let Err(error) = self.maintain().await {
                tracing::warn!(%error, "maintenance of the store failed; it is tried again");
            }
        }
    }

    async fn maintain(&self) -> Result<(), StoreError> {
        let trimmed = self.trim_streams().await?;
        let swept = self.sweep_expired_state().await?;
        let dropped = self.drop_old_decisions().await?;
        if trimmed + swept > 0 || dropped > 0 {
            tracing::debug!(trimmed, swept, hours_dropped = dropped, "maintenance of the store");
        }
        Ok(())
    }
}
