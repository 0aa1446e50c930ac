//! From bytes to a plugin that is ready: examined, trusted, granted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_sandbox::{Examined, Plugin, Refusal};
use carillon_store::{LoadAction, LoadRecord, RunState};

use super::model::OperationError;
use super::{Done, Operations, Slot, unavailable};
use crate::log_book::VersionLog;

/// A binary that has passed every check.
pub(super) struct Ready {
    pub(super) plugin: Plugin,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
    /// From the bytes to here.
    pub(super) took: Duration,
}

impl Operations {
    /// Compiling takes its time, and is not done on the executor's threads.
    pub(super) async fn examine(&self, binary: Vec<u8>) -> Result<Examined, Refusal> {
        let sandbox = self.parts.sandbox.clone();
        tokio::task::spawn_blocking(move || sandbox.examine(&binary))
            .await
            .unwrap_or_else(|error| Err(Refusal::Describe(error.to_string())))
    }

    /// Trust, settings, grants, limits.
    pub(super) async fn make_ready(
        &self,
        examined: Examined,
        binary: &[u8],
        signature: Option<&[u8]>,
        mut overrides: BTreeMap<String, String>,
        began: Instant,
    ) -> Done<Ready> {
        let mut notes = Vec::new();
        let signer = self
            .parts
            .trust
            .check(examined.sha256(), binary, signature)
            .map_err(OperationError::Refused)?;
        if let Some(signer) = signer {
            notes.push(format!("signed by {signer}"));
        }
        overrides.retain(|key, _| {
            let read = examined
                .description()
                .settings
                .iter()
                .any(|setting| &setting.key == key);
            if !read {
                notes.push(format!(
                    "the setting {key:?} that was set by an operator is not read by this version, and is forgotten"
                ));
            }
            read
        });
        let plugin = self.grant(examined, &overrides).await?;
        Ok(Ready {
            plugin,
            settings: overrides,
            notes,
            took: began.elapsed(),
        })
    }

    async fn grant(
        &self,
        examined: Examined,
        overrides: &BTreeMap<String, String>,
    ) -> Done<Plugin> {
        let name = examined.name().to_owned();
        let grants = self.config_of(&name).grants(overrides);
        let id = self.parts.store.plugin(&name).await.map_err(unavailable)?;
        let log = Arc::new(VersionLog {
            book: Arc::clone(&self.shared(id, &name, RunState::Active).book),
            version: examined.description().version.clone(),
        });
        tokio::task::spawn_blocking(move || examined.ready(grants, log))
            .await
            .map_err(|error| OperationError::Unavailable(error.to_string()))?
            .map_err(|refusal| OperationError::Refused(refusal.to_string()))
    }

    /// A version that was loaded before, with the settings that it had then.
    pub(super) async fn bring_back(&self, load: &LoadRecord) -> Done<Plugin> {
        let binary = self
            .parts
            .store
            .binary(&load.sha256)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound(format!(
                    "the binary of load {} is not kept any more; load the file again",
                    load.id
                ))
            })?;
        let (bytes, signature) = (binary.bytes, binary.signature);
        let examined = self
            .examine(bytes.clone())
            .await
            .map_err(|refusal| OperationError::Refused(refusal.to_string()))?;
        let ready = self
            .make_ready(
                examined,
                &bytes,
                signature.as_deref(),
                load.settings.clone(),
                Instant::now(),
            )
            .await?;
        Ok(ready.plugin)
    }

    /// A plugin does not go back to a binary that does not know the shape of the state.
    pub(super) async fn check_state_version(
        &self,
        before: Option<&Slot>,
        plugin: &Plugin,
    ) -> Done<()> {
        let name = plugin.name();
        let new = plugin.examined().state_version();
        let id = self.parts.store.plugin(name).await.map_err(unavailable)?;
        let old = match before {
            Some(slot) => slot.install.load.state_version,
            // It was removed, and its state may have stayed.
            None => {
                let loads = self.parts.store.loads(id).await.map_err(unavailable)?;
                let active = loads
                    .iter()
                    .find(|load| load.action != LoadAction::Candidate);
                active.map_or(0, |load| load.state_version)
            }
        };
        if new >= old {
            return Ok(());
        }
        let bytes = self
            .parts
            .store
            .state_bytes(id)
            .await
            .map_err(unavailable)?;
        if bytes == 0 {
            return Ok(());
        }
        Err(OperationError::Conflict(format!(
            "this binary writes version {new} of its state, and the stored state is of version {old}, which it may misread; load a binary that knows version {old}, or remove the plugin with its state (carillon plugin remove {name} --state) and load it anew"
        )))
    }
}
