//! A load: from the request to lanes that run the new version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_sandbox::{Examined, Refusal};
use carillon_store::{Install, LoadAction, LoadRecord, NewLoad, Place, RunState, TrialMode};
use serde_json::json;

use super::model::{LoadOutcome, LoadRequest, OperationError, Operator, RunAs};
use super::ready::Ready;
use super::trials::{CANARY_FAULTS, SHADOW_FAULTS, check_shared_state, faults};
use super::{Done, Operations, Slot, unavailable};
use crate::backoff::now_ms;
use crate::folder::FileRefused;

/// What is written down with a load.
pub(super) struct Provenance<'a> {
    pub(super) binary: &'a [u8],
    pub(super) signature: Option<&'a [u8]>,
    pub(super) origin: &'a str,
    pub(super) action: LoadAction,
}

impl Operations {
    /// Loads a binary. The new version is ready before the old one goes; if it fails at any step,
    /// the old one keeps running.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn load(&self, request: LoadRequest, by: &Operator) -> Done<LoadOutcome> {
        let began = Instant::now();
        let examined = self.examine(request.binary.clone()).await;
        let (operations, by) = (self.clone(), by.clone());
        self.to_the_end(async move {
            operations
                .load_or_refuse(examined, request, &by, began)
                .await
        })
        .await
    }

    /// As [`Self::load`], for files that may still be in the middle of being written.
    pub(crate) async fn load_file(
        &self,
        request: LoadRequest,
        by: &Operator,
    ) -> Result<LoadOutcome, FileRefused> {
        let began = Instant::now();
        let examined = self.examine(request.binary.clone()).await;
        if let Err(refusal) = &examined
            && refusal.may_be_cut_off()
        {
            return Err(FileRefused::Incomplete(refusal.to_string()));
        }
        self.load_or_refuse(examined, request, by, began)
            .await
            .map_err(FileRefused::For)
    }

    async fn load_or_refuse(
        &self,
        examined: Result<Examined, Refusal>,
        request: LoadRequest,
        by: &Operator,
        began: Instant,
    ) -> Done<LoadOutcome> {
        let origin = request.origin.clone();
        let asked_name = request.name.clone();
        let name = examined
            .as_ref()
            .ok()
            .map(|examined| examined.name().to_owned());
        let loaded = match examined {
            Ok(examined) => self.load_examined(examined, request, by, began).await,
            Err(refusal) => Err(OperationError::Refused(refusal.to_string())),
        };
        let name = name.or(asked_name);
        let detail = match &loaded {
            Ok(outcome) => {
                json!({ "origin": origin, "sha256": outcome.sha256, "version": outcome.version, "runsAs": outcome.runs_as })
            }
            Err(_) => json!({ "origin": origin }),
        };
        self.audit_record(by, "load", name.as_deref(), detail, &loaded)
            .await;
        let counted = if loaded.is_ok() { "loaded" } else { "refused" };
        metrics::counter!("carillon_plugin_loads_total", "outcome" => counted).increment(1);
        match &loaded {
            Ok(outcome) => tracing::info!(
                plugin = outcome.plugin,
                version = outcome.version,
                runs_as = outcome.runs_as,
                replaced = outcome.replaced,
                ready_ms = outcome.ready_ms,
                drained_ms = outcome.drained_ms,
                "a plugin was loaded"
            ),
            Err(error) => {
                tracing::error!(plugin = name, origin, "a plugin was not loaded: {error}");
                self.tell_book(
                    name.as_deref(),
                    &format!("a version from {origin} was not loaded: {error}"),
                );
            }
        }
        loaded
    }

    async fn load_examined(
        &self,
        examined: Examined,
        request: LoadRequest,
        by: &Operator,
        began: Instant,
    ) -> Done<LoadOutcome> {
        if let Some(name) = &request.name
            && name != examined.name()
        {
            return Err(OperationError::Refused(format!(
                "the binary says that it is the plugin {:?}, and it was to be loaded as {name:?}; give that name, or another binary",
                examined.name()
            )));
        }
        let _one_at_a_time = self.inner.changing.lock().await;
        let name = examined.name().to_owned();
        let before = self.slots().get(&name).cloned();
        let overrides = before
            .as_ref()
            .map(|slot| slot.install.load.settings.clone())
            .unwrap_or_default();
        let signature = request.signature.as_deref();
        let ready = self
            .make_ready(examined, &request.binary, signature, overrides, began)
            .await?;
        self.check_state_version(before.as_ref(), &ready.plugin)
            .await?;
        let provenance = Provenance {
            binary: &request.binary,
            signature,
            origin: &request.origin,
            action: match request.run_as {
                RunAs::Active => LoadAction::Load,
                RunAs::Shadow { .. } | RunAs::Canary { .. } => LoadAction::Candidate,
            },
        };
        match request.run_as {
            RunAs::Active => {
                let places = self.first_places(before.as_ref(), request.start).await?;
                self.take_over(&name, before, ready, provenance, &places, by)
                    .await
            }
            RunAs::Shadow { abort_after } => {
                let faults = faults(abort_after, SHADOW_FAULTS)?;
                self.try_beside(before, ready, provenance, TrialMode::Shadow, faults, by)
                    .await
            }
            RunAs::Canary {
                percent,
                abort_after,
            } => {
                if !(1..=99).contains(&percent) {
                    return Err(OperationError::Invalid(format!(
                        "a canary gets 1 to 99 percent of the keys, not {percent}"
                    )));
                }
                let faults = faults(abort_after, CANARY_FAULTS)?;
                check_shared_state(before.as_ref(), &ready.plugin)?;
                let mode = TrialMode::Canary { percent };
                self.try_beside(before, ready, provenance, mode, faults, by)
                    .await
            }
        }
    }

    /// The new version takes the old one's place.
    pub(super) async fn take_over(
        &self,
        name: &str,
        before: Option<Slot>,
        mut ready: Ready,
        provenance: Provenance<'_>,
        places: &[Place],
        by: &Operator,
    ) -> Done<LoadOutcome> {
        let id = self.parts.store.plugin(name).await.map_err(unavailable)?;
        let record = self.new_load(&ready, &provenance, by);
        let load = self
            .parts
            .store
            .record_load(id, record, places)
            .await
            .map_err(unavailable)?;
        if let Some(trying) = before.as_ref().and_then(|slot| slot.candidate.as_ref()) {
            self.take_shadow_away(trying).await;
            if provenance.action != LoadAction::Promote {
                ready.notes.push(format!(
                    "the trial of version {} has ended, since what it ran beside is gone",
                    trying.candidate.load.version
                ));
            }
        }
        let state = match before.as_ref().map(|slot| slot.shared.gate.state()) {
            Some(paused @ RunState::Paused { .. }) => {
                ready.notes.push(
                    "the plugin is paused and stays so; `carillon plugin resume` lets it go on"
                        .to_owned(),
                );
                paused
            }
            Some(RunState::Quarantined { .. }) => {
                ready.notes.push(
                    "the plugin was quarantined; its lanes go on with this version".to_owned(),
                );
                RunState::Active
            }
            Some(RunState::Active) | None => RunState::Active,
        };
        let shared = self.shared(id, name, state.clone());
        let slot = Slot {
            install: Install {
                plugin: id,
                name: name.into(),
                load: load.clone(),
                run_state: state.clone(),
                candidate: None,
            },
            shared: Arc::clone(&shared),
            plugin: Ok(ready.plugin.clone()),
            candidate: None,
            not_before_ms: before.as_ref().map_or(0, |slot| slot.not_before_ms),
        };
        let old = self.put(&slot);
        // Now that no lane takes up the old version any more.
        shared.gate.set(state);
        self.slots().insert(name.to_owned(), slot);
        let drained = self.drain(&old, &mut ready.notes).await;
        self.prune().await;
        self.tell_book(
            Some(name),
            &format!(
                "version {} (load {}) runs now, loaded by {} from {}",
                load.version, load.id, load.who, load.origin
            ),
        );
        Ok(outcome(
            name,
            &load,
            "active",
            before.as_ref(),
            &ready,
            drained,
        ))
    }

    pub(super) fn new_load<'a>(
        &self,
        ready: &'a Ready,
        provenance: &Provenance<'a>,
        by: &'a Operator,
    ) -> NewLoad<'a> {
        NewLoad {
            version: &ready.plugin.description().version,
            sha256: ready.plugin.sha256(),
            state_version: ready.plugin.examined().state_version(),
            binary: provenance.binary,
            signature: provenance.signature,
            settings: ready.settings.clone(),
            who: &by.who,
            origin: provenance.origin,
            action: provenance.action,
            now_ms: now_ms(),
        }
    }

    async fn prune(&self) {
        match self
            .parts
            .store
            .prune_loads(self.parts.config.keep_versions.max(1))
            .await
        {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "old versions could not be pruned; it is tried again with the next load")
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn outcome(
    name: &str,
    load: &LoadRecord,
    runs_as: &str,
    before: Option<&Slot>,
    ready: &Ready,
    drained: Duration,
) -> LoadOutcome {
    LoadOutcome {
        plugin: name.to_owned(),
        version: load.version.clone(),
        sha256: load.sha256.clone(),
        load: load.id.0,
        runs_as: runs_as.to_owned(),
        is_new: before.is_none(),
        replaced: before.map(|slot| slot.install.load.version.clone()),
        ready_ms: millis(ready.took),
        drained_ms: millis(drained),
        notes: ready.notes.clone(),
    }
}
