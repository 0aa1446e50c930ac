//! What happens at the start of the host: what was loaded when the process ended is brought back.

use std::sync::Arc;

use carillon_store::Install;

use super::trials::SHADOW_FAULTS;
use super::{Operations, Slot, Trying};
use crate::stats::Stats;

impl Operations {
    /// Brings back what was loaded when the process ended.
    pub(crate) async fn restore(&self) -> Result<(), carillon_store::StoreError> {
        let installs = self.parts.store.installs().await?;
        let mut tasks = tokio::task::JoinSet::new();
        let at_once = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        for install in installs {
            if tasks.len() >= at_once {
                tasks.join_next().await;
            }
            let operations = self.clone();
            tasks.spawn(async move { operations.restore_one(install).await });
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn restore_one(&self, install: Install) {
        let name = install.name.to_string();
        let shared = self.shared(install.plugin, &name, install.run_state.clone());
        let plugin = self.bring_back(&install.load).await;
        if let Err(error) = &plugin {
            tracing::error!(
                plugin = name,
                version = install.load.version,
                "a plugin that was loaded could not be brought back, and its lanes keep their places: {error}"
            );
        }
        let mut candidate = None;
        if let Some(stored) = install.candidate.clone() {
            match self.bring_back(&stored.load).await {
                Ok(plugin) => {
                    candidate = Some(Trying {
                        faults: stored.abort_after.unwrap_or(SHADOW_FAULTS),
                        candidate: stored,
                        plugin,
                        stats: Arc::new(Stats::default()),
                    });
                }
                Err(error) => {
                    tracing::error!(
                        plugin = name,
                        version = stored.load.version,
                        "a candidate could not be brought back, and its trial ends: {error}"
                    );
                    if let Err(error) = self.parts.store.end_trial(install.plugin).await {
                        tracing::error!(plugin = name, %error, "the trial could not be ended");
                    }
                }
            }
        }
        let not_before_ms = match self.parts.store.first_load_ms(install.plugin).await {
            Ok(Some(first_ms)) if self.parts.embedded => first_ms,
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(plugin = name, %error, "when a plugin was loaded first cannot be read");
                0
            }
        };
        let slot = Slot {
            install,
            shared,
            plugin: plugin.map_err(|error| error.to_string()),
            candidate,
            not_before_ms,
        };
        self.put(&slot);
        self.slots().insert(name, slot);
    }
}
