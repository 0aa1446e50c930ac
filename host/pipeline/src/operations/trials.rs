//! Candidates beside the active version: begin, promote, abort, compare.

use std::sync::Arc;
use std::time::Instant;

use carillon_sandbox::Plugin;
use carillon_store::{LoadAction, PluginId, TrialMode, event_key_from_hex, event_key_hex};
use serde_json::json;

use super::loading::{Provenance, outcome};
use super::model::{
    CandidateSummary, LoadOutcome, OperationError, Operator, PluginSummary, TrialReport, TrialSide,
};
use super::ready::Ready;
use super::{Done, Operations, Slot, Trying, unavailable};
use crate::counted::counted;
use crate::stats::Stats;

/// Where no rule is given, a canary is taken away after this many faults …
pub(super) const CANARY_FAULTS: u32 = 10;
/// … and a shadow, which hurts nobody but takes time, after this many.
pub(super) const SHADOW_FAULTS: u32 = 100;
/// The most differences of one answer.
const MOST_DIFFERENCES: u32 = 1_000;

impl Operations {
    /// The new version runs beside the active one.
    pub(super) async fn try_beside(
        &self,
        before: Option<Slot>,
        mut ready: Ready,
        provenance: Provenance<'_>,
        mode: TrialMode,
        faults: u32,
        by: &Operator,
    ) -> Done<LoadOutcome> {
        let name = ready.plugin.name().to_string();
        let Some(mut slot) = before else {
            return Err(OperationError::Conflict(format!(
                "there is no active version of {name} that this one could run beside; load it as the active one"
            )));
        };
        if slot.plugin.is_err() {
            return Err(OperationError::Conflict(format!(
                "the active version of {name} could not be loaded; load this one as the active one"
            )));
        }
        let id = slot.install.plugin;
        let earlier = slot.candidate.take();
        if let Some(trying) = &earlier {
            ready.notes.push(format!(
                "the trial of version {} has ended",
                trying.candidate.load.version
            ));
        }
        let record = self.new_load(&ready, &provenance, by);
        let candidate = self
            .parts
            .store
            .record_candidate(id, record, mode, Some(faults))
            .await
            .map_err(unavailable)?;
        if let Some(earlier) = &earlier {
            self.take_shadow_away(earlier).await;
        }
        if mode == TrialMode::Shadow {
            self.forget_space(candidate.plugin);
        }
        let load = candidate.load.clone();
        ready.notes.push(format!(
            "it is taken away after {}",
            counted(faults, "fault")
        ));
        slot.install.candidate = Some(candidate.clone());
        slot.candidate = Some(Trying {
            candidate,
            plugin: ready.plugin.clone(),
            stats: Arc::new(Stats::default()),
            faults,
        });
        let old = self.put(&slot);
        let runs_as = match mode {
            TrialMode::Shadow => "shadow",
            TrialMode::Canary { .. } => "canary",
        };
        let replaced = slot.clone();
        self.slots().insert(name.clone(), slot);
        let drained = self.drain(&old, &mut ready.notes).await;
        self.tell_book(
            Some(&name),
            &format!("version {} runs beside it as {runs_as}", load.version),
        );
        let mut outcome = outcome(&name, &load, runs_as, Some(&replaced), &ready, drained);
        outcome.replaced = None;
        Ok(outcome)
    }

    /// The candidate takes the active version's place.
    ///
    /// # Errors
    /// When there is no candidate, or the store fails.
    pub async fn promote(&self, name: &str, by: &Operator) -> Done<LoadOutcome> {
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        self.to_the_end(async move {
            let done = operations.promote_candidate(&name, &by).await;
            operations
                .audit_record(&by, "promote", Some(&name), json!({}), &done)
                .await;
            done
        })
        .await
    }

    async fn promote_candidate(&self, name: &str, by: &Operator) -> Done<LoadOutcome> {
        let began = Instant::now();
        let _one_at_a_time = self.inner.changing.lock().await;
        let slot = self.slot(name)?;
        let trying = candidate(&slot)?.clone();
        let load = &trying.candidate.load;
        let binary = self
            .parts
            .store
            .binary(&load.sha256)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound("the binary of the candidate is gone".to_owned())
            })?;
        let ready = Ready {
            plugin: trying.plugin.clone(),
            settings: load.settings.clone(),
            notes: Vec::new(),
            took: began.elapsed(),
        };
        let provenance = Provenance {
            binary: &binary.bytes,
            signature: binary.signature.as_deref(),
            origin: &load.origin,
            action: LoadAction::Promote,
        };
        self.take_over(name, Some(slot), ready, provenance, &[], by)
            .await
    }

    /// Takes the candidate away.
    ///
    /// # Errors
    /// When there is no candidate, or the store fails.
    pub async fn abort(&self, name: &str, by: &Operator) -> Done<PluginSummary> {
        let (operations, name, by) = (self.clone(), name.to_owned(), by.clone());
        self.to_the_end(async move {
            let done = operations.abort_candidate(&name).await;
            operations
                .audit_record(&by, "abort", Some(&name), json!({}), &done)
                .await;
            done
        })
        .await
    }

    /// The rule that the candidate was loaded with has decided.
    pub(super) async fn abort_because(&self, name: &str, reason: &str) -> Done<PluginSummary> {
        let done = self.abort_candidate(name).await;
        self.audit_record(
            &Operator::host("rule of the trial"),
            "abort",
            Some(name),
            json!({ "reason": reason }),
            &done,
        )
        .await;
        done
    }

    async fn abort_candidate(&self, name: &str) -> Done<PluginSummary> {
        let _one_at_a_time = self.inner.changing.lock().await;
        let mut slot = self.slot(name)?;
        let trying = candidate(&slot)?.clone();
        slot.candidate = None;
        slot.install.candidate = None;
        self.end_trial(slot.install.plugin, &trying).await?;
        self.put(&slot);
        self.slots().insert(name.to_owned(), slot);
        self.summary(name)
    }

    pub(super) async fn end_trial(&self, id: PluginId, trying: &Trying) -> Done<()> {
        self.parts.store.end_trial(id).await.map_err(unavailable)?;
        self.take_shadow_away(trying).await;
        Ok(())
    }

    pub(super) async fn take_shadow_away(&self, trying: &Trying) {
        if trying.candidate.mode != TrialMode::Shadow {
            return;
        }
        let shadow = self.parts.table.remove(trying.candidate.plugin);
        self.drain(&shadow, &mut Vec::new()).await;
        self.forget_space(trying.candidate.plugin);
    }

    /// How the candidate, or the last one there was, differs from what is active.
    ///
    /// # Errors
    /// When there never was a candidate, or the store fails.
    pub async fn diff(&self, name: &str, after: Option<&str>, limit: u32) -> Done<TrialReport> {
        let slot = self.slot(name)?;
        if let Some(trying) = &slot.candidate
            && matches!(trying.candidate.mode, TrialMode::Canary { .. })
        {
            return Ok(canary_report(&slot, trying));
        }
        let after = after.map(event_key).transpose()?;
        let trial = self
            .parts
            .store
            .last_trial(slot.install.plugin)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound(format!(
                    "no version of {name} ran as a shadow; load one with `carillon plugin load FILE --shadow`"
                ))
            })?;
        let summary = self
            .parts
            .store
            .trial_summary(trial.trial)
            .await
            .map_err(unavailable)?;
        let limit = limit.clamp(1, MOST_DIFFERENCES);
        let differences = self
            .parts
            .store
            .trial_differences(trial.trial, after, limit)
            .await
            .map_err(unavailable)?;
        // A page may be short because its answers are long; only an empty one is the last.
        let next = differences.last().map(|last| event_key_hex(last.event_key));
        let ms = |us: Option<u32>| f64::from(us.unwrap_or(0)) / 1_000.0;
        Ok(TrialReport {
            plugin: name.to_owned(),
            mode: mode_name(trial.mode).to_owned(),
            running: trial.ended_ms.is_none(),
            active: TrialSide {
                version: trial.active.version.clone(),
                sha256: trial.active.sha256.clone(),
                calls: summary.compared + summary.only_active,
                faults: summary.faults_active,
                p50_ms: ms(summary.p50_us_active),
                p99_ms: ms(summary.p99_us_active),
            },
            candidate: TrialSide {
                version: trial.candidate.version.clone(),
                sha256: trial.candidate.sha256.clone(),
                calls: summary.compared + summary.only_candidate,
                faults: summary.faults_candidate,
                p50_ms: ms(summary.p50_us_candidate),
                p99_ms: ms(summary.p99_us_candidate),
            },
            compared: summary.compared,
            equal: summary.equal,
            different: summary.different,
            only_active: summary.only_active,
            only_candidate: summary.only_candidate,
            differences: differences
                .iter()
                .filter_map(|difference| serde_json::to_value(difference).ok())
                .collect(),
            next,
        })
    }
}

/// After how many faults a candidate is taken away.
pub(super) fn faults(asked: Option<u32>, default: u32) -> Done<u32> {
    match asked {
        Some(0) => Err(OperationError::Invalid(
            "a candidate is taken away after 1 fault or more, not after 0".to_owned(),
        )),
        asked => Ok(asked.unwrap_or(default)),
    }
}

/// A canary writes the state that the active version reads.
pub(super) fn check_shared_state(before: Option<&Slot>, plugin: &Plugin) -> Done<()> {
    let (Some(slot), new) = (before, plugin.examined().state_version()) else {
        return Ok(());
    };
    let old = slot.install.load.state_version;
    if new == old {
        return Ok(());
    }
    Err(OperationError::Conflict(format!(
        "this binary writes version {new} of its state and the active one version {old}: a canary shares the state with it, and each would misread the other; try it as a shadow, which has a copy"
    )))
}

fn candidate(slot: &Slot) -> Done<&Trying> {
    slot.candidate.as_ref().ok_or_else(|| {
        OperationError::Conflict(format!(
            "{} has no candidate; load one with `carillon plugin load FILE --shadow` or `--canary PERCENT`",
            slot.install.name
        ))
    })
}

pub(super) fn candidate_summary(trying: &Trying) -> CandidateSummary {
    let counts = trying.stats.counts();
    CandidateSummary {
        version: trying.candidate.load.version.clone(),
        sha256: trying.candidate.load.sha256.clone(),
        mode: mode_name(trying.candidate.mode).to_owned(),
        percent: match trying.candidate.mode {
            TrialMode::Canary { percent } => Some(percent),
            TrialMode::Shadow => None,
        },
        abort_after: Some(trying.faults),
        handled: counts.handled,
        faults: counts.faults,
        p99_ms: trying.stats.latency().p99_ms,
        since_ms: trying.candidate.since_ms,
    }
}

/// Each event goes to one of them, so there is nothing to lay side by side but their figures.
fn canary_report(slot: &Slot, trying: &Trying) -> TrialReport {
    let side = |stats: &Stats, version: &str, sha256: &str| {
        let (counts, latency) = (stats.counts(), stats.latency());
        TrialSide {
            version: version.to_owned(),
            sha256: sha256.to_owned(),
            calls: counts.handled + counts.faults,
            faults: counts.faults,
            p50_ms: latency.p50_ms,
            p99_ms: latency.p99_ms,
        }
    };
    let (active, candidate) = (&slot.install.load, &trying.candidate.load);
    TrialReport {
        plugin: slot.install.name.to_string(),
        mode: "canary".to_owned(),
        running: true,
        active: side(&slot.shared.stats, &active.version, &active.sha256),
        candidate: side(&trying.stats, &candidate.version, &candidate.sha256),
        compared: 0,
        equal: 0,
        different: 0,
        only_active: 0,
        only_candidate: 0,
        differences: Vec::new(),
        next: None,
    }
}

fn mode_name(mode: TrialMode) -> &'static str {
    match mode {
        TrialMode::Shadow => "shadow",
        TrialMode::Canary { .. } => "canary",
    }
}

fn event_key(text: &str) -> Done<[u8; 16]> {
    event_key_from_hex(text).ok_or_else(|| {
        OperationError::Invalid(format!(
            "{text:?} is not where a list goes on; give `next` of the answer before"
        ))
    })
}
