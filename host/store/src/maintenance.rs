//! Trimming and sweeping, now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::StoreError;
use crate::open::Store;

impl Store {
    /// Trims streams and trials, sweeps expired state and drops old decisions, as often as
    /// configured. Runs for ever; may be dropped at any await.
    pub async fn run_maintenance(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(
            self.config().maintenance_interval_ms.max(100),
        ));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut passed = BTreeSet::new();
        loop {
            ticks.tick().await;
            note("trimming streams", self.trim_streams().await);
            note(
                "forgetting what never became visible",
                self.forget_set_aside().await,
            );
            note("sweeping expired state", self.sweep_expired_state().await);
            note("trimming trials", self.trim_trials().await);
            note(
                "dropping old decisions",
                self.drop_decisions_passed_before(&mut passed).await,
            );
        }
    }

    /// Drops the hours that were past the window the last time already. After a restart the
    /// first new event may move the window by days, while other partitions still repeat
    /// events from before.
    async fn drop_decisions_passed_before(
        &self,
        passed: &mut BTreeSet<i64>,
    ) -> Result<u64, StoreError> {
        let now = self.hours_past_the_window();
        let both: BTreeSet<i64> = now.intersection(passed).copied().collect();
        *passed = now;
        self.drop_hours(&both).await?;
        Ok(both.len() as u64)
    }
}

/// One kind of work that fails does not keep the others from being done.
fn note(work: &'static str, done: Result<u64, StoreError>) {
    match done {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, work, "maintenance of the store"),
        Err(error) => {
            tracing::warn!(%error, work, "maintenance of the store failed; it is tried again")
        }
    }
}
