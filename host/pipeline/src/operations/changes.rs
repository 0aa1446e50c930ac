//! Pause, resume, roll back, other settings, remove.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use carillon_store::{LoadAction, LoadRecord, RunState, StateFate};
use serde_json::json;

use super::loading::Provenance;
use super::model::{LoadOutcome, OperationError, Operator, PluginSummary};
use super::ready::Ready;
use super::{Done, Operations, Slot, unavailable};
use crate::backoff::now_ms;
use crate::gate::Report;

impl Operations {
    /// Lets a plugin's lanes stand still. Their cursors stay.
    ///
    /// # Errors
    /// When there is no such plugin, or the store fails.
    pub async fn pause(&self, name: &str, by: &Operator) -> Done<PluginSummary> {
        let paused = RunState::Paused { since_ms: now_ms() };
        self.change_to(name, paused, "pause", by).await
    }

    /// Lets a plugin that is paused or quarantined go on where it stands.
    ///
    /// # Errors
    /// When there is no such plugin, or the store fails.
    pub async fn resume(&self, name: &str, by: &Operator) -> Done<PluginSummary> {
        self.change_to(name, RunState::Active, "resume", by).await
    }

    async fn change_to(
        &self,
        name: &str,
        state: RunState,
        action: &'static str,
        by: &Operator,
    ) -> Done<PluginSummary> {
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        self.to_the_end(async move {
            let done = operations.change_state(&name, state).await;
            operations
                .audit_record(&by, action, Some(&name), json!({}), &done)
                .await;
            done
        })
        .await
    }

    async fn change_state(&self, name: &str, state: RunState) -> Done<PluginSummary> {
        let _one_at_a_time = self.inner.changing.lock().await;
        let slot = self.slot(name)?;
        // In the store first: a crash in between leaves what the operator wanted.
        self.parts
            .store
            .set_run_state(slot.install.plugin, &state)
            .await
            .map_err(unavailable)?;
        slot.shared.gate.set(state.clone());
        self.parts.table.touch();
        let what = match &state {
            RunState::Active => "it goes on",
            RunState::Paused { .. } => "it is paused",
            RunState::Quarantined { .. } => "it is quarantined",
        };
        self.tell_book(Some(name), what);
        if let Some(slot) = self.slots().get_mut(name) {
            slot.install.run_state = state;
        }
        self.summary(name)
    }

    /// Goes back to an earlier load: its binary and its settings. `to` is the number of a load, a
    /// version, or the beginning of a SHA-256; without it, the newest load that differs from what
    /// runs.
    ///
    /// # Errors
    /// When there is no such load, or it cannot be made ready; what runs keeps running then.
    pub async fn rollback(&self, name: &str, to: Option<&str>, by: &Operator) -> Done<LoadOutcome> {
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        let to = to.map(str::to_owned);
        self.to_the_end(async move {
            let done = operations.go_back(&name, to.as_deref(), &by).await;
            operations
                .audit_record(&by, "rollback", Some(&name), json!({ "to": to }), &done)
                .await;
            done
        })
        .await
    }

    async fn go_back(&self, name: &str, to: Option<&str>, by: &Operator) -> Done<LoadOutcome> {
        let began = Instant::now();
        let _one_at_a_time = self.inner.changing.lock().await;
        let slot = self.slot(name)?;
        let loads = self
            .parts
            .store
            .loads(slot.install.plugin)
            .await
            .map_err(unavailable)?;
        let load = choose(&slot, &loads, to)?;
        let plugin = self.bring_back(load).await?;
        let binary = self
            .parts
            .store
            .binary(&load.sha256)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound(format!("the binary of load {} is gone", load.id))
            })?;
        let ready = Ready {
            plugin,
            settings: load.settings.clone(),
            notes: vec![format!("as load {} had it", load.id)],
            took: began.elapsed(),
        };
        self.check_state_version(Some(&slot), &ready.plugin).await?;
        let provenance = Provenance {
            binary: &binary.bytes,
            signature: binary.signature.as_deref(),
            origin: &load.origin,
            action: LoadAction::Rollback,
        };
        self.take_over(name, Some(slot), ready, provenance, &[], by)
            .await
    }

    /// Sets settings of a plugin, over what the configuration says; `None` goes back to that.
    ///
    /// # Errors
    /// When the plugin does not read one of them; what runs keeps running then.
    pub async fn change_settings(
        &self,
        name: &str,
        changes: BTreeMap<String, Option<String>>,
        by: &Operator,
    ) -> Done<LoadOutcome> {
        let keys: Vec<&String> = changes.keys().collect();
        let detail = json!({ "keys": keys });
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        self.to_the_end(async move {
            let done = operations.set_settings(&name, changes, &by).await;
            operations
                .audit_record(&by, "settings", Some(&name), detail, &done)
                .await;
            done
        })
        .await
    }

    async fn set_settings(
        &self,
        name: &str,
        changes: BTreeMap<String, Option<String>>,
        by: &Operator,
    ) -> Done<LoadOutcome> {
        let began = Instant::now();
        let _one_at_a_time = self.inner.changing.lock().await;
        let slot = self.slot(name)?;
        let running = slot
            .plugin
            .clone()
            .map_err(|reason| OperationError::Conflict(format!("{name} does not run: {reason}")))?;
        let mut overrides = slot.install.load.settings.clone();
        for (key, value) in changes {
            let read = &running.description().settings;
            if !read.iter().any(|setting| setting.key == key) {
                let known: Vec<&str> = read.iter().map(|setting| setting.key.as_str()).collect();
                return Err(OperationError::Refused(format!(
                    "{name} does not read a setting {key:?}; it reads {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                )));
            }
            match value {
                Some(value) => overrides.insert(key, value),
                None => overrides.remove(&key),
            };
        }
        let binary = self
            .parts
            .store
            .binary(running.sha256())
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound(format!("the binary of {name} is not kept any more"))
            })?;
        let ready = self
            .make_ready(
                running.examined().clone(),
                &binary.bytes,
                binary.signature.as_deref(),
                overrides,
                began,
            )
            .await?;
        let origin = slot.install.load.origin.clone();
        let provenance = Provenance {
            binary: &binary.bytes,
            signature: binary.signature.as_deref(),
            origin: &origin,
            action: LoadAction::Settings,
        };
        self.take_over(name, Some(slot), ready, provenance, &[], by)
            .await
    }

    /// Takes a plugin away, with the places of its lanes. What it sent, decided and could not
    /// handle stays; its state as `state` says.
    ///
    /// # Errors
    /// When there is no such plugin, or the store fails.
    pub async fn remove(&self, name: &str, state: StateFate, by: &Operator) -> Done<()> {
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        self.to_the_end(async move {
            let done = operations.take_away(&name, state).await;
            let detail = json!({ "state": format!("{state:?}").to_lowercase() });
            operations
                .audit_record(&by, "remove", Some(&name), detail, &done)
                .await;
            done
        })
        .await
    }

    async fn take_away(&self, name: &str, state: StateFate) -> Done<()> {
        let _one_at_a_time = self.inner.changing.lock().await;
        let slot = self.slot(name)?;
        let id = slot.install.plugin;
        if let Some(trying) = &slot.candidate {
            self.end_trial(id, trying).await?;
        }
        let removed = self.parts.table.remove(id);
        self.drain(&removed, &mut Vec::new()).await;
        self.parts
            .store
            .uninstall(id, state)
            .await
            .map_err(unavailable)?;
        self.forget_space(id);
        self.tell_book(Some(name), "it was removed");
        self.slots().remove(name);
        // With the last of it, those who follow its log are told that it has ended.
        self.inner
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.parts.health.forget_plugin(name);
        self.unmeasure(name);
        self.parts.table.touch();
        Ok(())
    }

    /// The loads of a plugin that can be gone back to, newest first.
    ///
    /// # Errors
    /// When there is no such plugin, or the store fails.
    pub async fn versions(&self, name: &str) -> Done<Vec<LoadRecord>> {
        let slot = self.slot(name)?;
        self.parts
            .store
            .loads(slot.install.plugin)
            .await
            .map_err(unavailable)
    }

    /// Writes down, and lets take effect, what gates and trials report.
    pub(crate) async fn hear(&self, report: Report) {
        match report {
            Report::Changed { plugin } => {
                // An operator may have decided since: what holds now is written.
                let _one_at_a_time = self.inner.changing.lock().await;
                let found = {
                    let mut slots = self.slots();
                    let slot = slots
                        .values_mut()
                        .find(|slot| slot.install.plugin == plugin);
                    slot.map(|slot| {
                        let state = slot.shared.gate.state();
                        slot.install.run_state = state.clone();
                        (slot.install.name.to_string(), state)
                    })
                };
                let Some((name, state)) = found else { return };
                let name = Some(name);
                // Heads arrange their lanes anew, unless it is only another probe that failed.
                if !matches!(&state, RunState::Quarantined { probes: 1.., .. }) {
                    self.parts.table.touch();
                }
                let written = self
                    .parts
                    .store
                    .set_run_state(plugin, &state)
                    .await
                    .map_err(unavailable);
                let (action, text) = match &state {
                    RunState::Quarantined {
                        reason, probes: 0, ..
                    } => ("quarantine", format!("it is quarantined: {reason}")),
                    // Only the first is news.
                    RunState::Quarantined { .. } | RunState::Paused { .. } => return,
                    RunState::Active => ("release", "it works again and goes on".to_owned()),
                };
                self.tell_book(name.as_deref(), &text);
                self.audit_record(
                    &Operator::host("host"),
                    action,
                    name.as_deref(),
                    json!({ "reason": text }),
                    &written,
                )
                .await;
            }
            Report::TrialFailed {
                plugin,
                trial,
                reason,
            } => {
                let name = {
                    let slots = self.slots();
                    let slot = slots.values().find(|slot| {
                        let trying = slot.candidate.as_ref();
                        slot.install.plugin == plugin
                            && trying.is_some_and(|trying| trying.candidate.trial == trial)
                    });
                    slot.map(|slot| slot.install.name.to_string())
                };
                let Some(name) = name else { return };
                tracing::error!(plugin = name, "a candidate is taken away: {reason}");
                self.tell_book(
                    Some(&name),
                    &format!("the candidate is taken away: {reason}"),
                );
                // What can go wrong is told by the audit record.
                let _ = self.abort_because(&name, &reason).await;
            }
        }
    }
}

fn choose<'a>(slot: &Slot, loads: &'a [LoadRecord], to: Option<&str>) -> Done<&'a LoadRecord> {
    let current = &slot.install.load;
    let differs = |load: &&LoadRecord| {
        load.version_id != current.version_id || load.settings != current.settings
    };
    let name = &slot.install.name;
    let Some(to) = to else {
        // Who went back already goes back further.
        let same = |load: &&LoadRecord| load.id < current.id && !differs(load);
        let from = match current.action {
            LoadAction::Rollback => loads.iter().find(same).map_or(current.id, |load| load.id),
            _ => current.id,
        };
        return loads
            .iter()
            .filter(|load| load.id < from && load.action != LoadAction::Candidate)
            .find(differs)
            .ok_or_else(|| {
                OperationError::NotFound(format!(
                    "there is no earlier load of {name} that differs from what runs; `carillon plugin versions {name}` lists what there is"
                ))
            });
    };
    let by_number = loads.iter().find(|load| load.id.0.to_string() == to);
    let by_version = || loads.iter().find(|load| load.version == to);
    let by_sum = || {
        loads
            .iter()
            .find(|load| to.len() >= 6 && load.sha256.starts_with(to))
    };
    by_number
        .or_else(by_version)
        .or_else(by_sum)
        .ok_or_else(|| {
            let known: Vec<String> = loads
                .iter()
                .map(|load| format!("{} (version {})", load.id, load.version))
                .collect();
            OperationError::NotFound(format!(
                "no load of {name} is {to:?}; there are {}",
                known.join(", ")
            ))
        })
}
