//! From bytes to lanes that run them, and back to an earlier version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use carillon_bus::PartitionId;
use carillon_sandbox::{Examined, Plugin, Refusal};
use carillon_store::{
    Install, LoadAction, LoadRecord, NewLoad, Place, PluginId, RunState, TrialMode,
};
use serde_json::json;

use super::model::{LoadOutcome, LoadRequest, OperationError, Operator, RunAs, StartAt};
use super::{Done, Operations, Slot, Trying, unavailable};
use crate::backoff::now_ms;
use crate::folder::FileRefused;
use crate::log_book::VersionLog;
use crate::stats::Stats;
use crate::table::Replaced;

/// Where no rule is given, a canary is taken away after this many faults …
const CANARY_FAULTS: u32 = 10;
/// … and a shadow, which hurts nobody but takes time, after this many.
const SHADOW_FAULTS: u32 = 100;
/// How often is looked whether the old version's last calls are done.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

/// A binary that has passed every check.
pub(super) struct Ready {
    pub(super) plugin: Plugin,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
    /// From the bytes to here.
    pub(super) took: Duration,
}

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

    /// Compiling takes its time, and is not done on the executor's threads.
    async fn examine(&self, binary: Vec<u8>) -> Result<Examined, Refusal> {
        let sandbox = self.inner.sandbox.clone();
        tokio::task::spawn_blocking(move || sandbox.examine(&binary))
            .await
            .unwrap_or_else(|error| Err(Refusal::Describe(error.to_string())))
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
                let places = self.start_places(before.as_ref(), request.start).await?;
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
            .inner
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
        let id = self.inner.store.plugin(&name).await.map_err(unavailable)?;
        let log = Arc::new(VersionLog {
            book: Arc::clone(&self.shared(id, &name, RunState::Active).book),
            version: examined.description().version.clone(),
        });
        tokio::task::spawn_blocking(move || examined.ready(grants, log))
            .await
            .map_err(|error| OperationError::Unavailable(error.to_string()))?
            .map_err(|refusal| OperationError::Refused(refusal.to_string()))
    }

    /// A plugin does not go back to a binary that does not know the shape of the state.
    pub(super) async fn check_state_version(
        &self,
        before: Option<&Slot>,
        plugin: &Plugin,
    ) -> Done<()> {
        let name = plugin.name();
        let new = plugin.examined().state_version();
        let id = self.inner.store.plugin(name).await.map_err(unavailable)?;
        let old = match before {
            Some(slot) => slot.install.load.state_version,
            // It was removed, and its state may have stayed.
            None => {
                let loads = self.inner.store.loads(id).await.map_err(unavailable)?;
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
            .inner
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
        let id = self.inner.store.plugin(name).await.map_err(unavailable)?;
        let record = self.new_load(&ready, &provenance, by);
        let load = self
            .inner
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
        let drained_ms = self.drain(&old, &mut ready.notes).await;
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
            drained_ms,
        ))
    }

    /// The new version runs beside the active one.
    async fn try_beside(
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
            .inner
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
        ready
            .notes
            .push(format!("it is taken away after {faults} faults"));
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
        let drained_ms = self.drain(&old, &mut ready.notes).await;
        self.tell_book(
            Some(&name),
            &format!("version {} runs beside it as {runs_as}", load.version),
        );
        let mut outcome = outcome(&name, &load, runs_as, Some(&replaced), &ready, drained_ms);
        outcome.replaced = None;
        Ok(outcome)
    }

    fn new_load<'a>(
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

    /// Waits until no call of an old version runs any more, within a bound; answers how long that
    /// took, in milliseconds.
    pub(super) async fn drain(&self, old: &Replaced, notes: &mut Vec<String>) -> u64 {
        let began = Instant::now();
        let bound = Duration::from_millis(self.inner.config.drain_ms);
        while !old.is_done() {
            if began.elapsed() > bound {
                notes.push(format!(
                    "calls of the old version are still under way after {} ms; they end at their own limits",
                    bound.as_millis()
                ));
                break;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        millis(began.elapsed())
    }

    async fn prune(&self) {
        match self
            .inner
            .store
            .prune_loads(self.inner.config.keep_versions.max(1))
            .await
        {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "old versions could not be pruned; it is tried again with the next load")
            }
        }
    }

    /// Cursors for a plugin that is new and does not begin with what arrives from now on.
    async fn start_places(&self, before: Option<&Slot>, start: StartAt) -> Done<Vec<Place>> {
        if start == StartAt::Latest {
            return Ok(Vec::new());
        }
        if let Some(slot) = before {
            return Err(OperationError::Conflict(format!(
                "{} is loaded already and goes on where it stands; to handle older events again, use `carillon plugin replay`",
                slot.install.name
            )));
        }
        let running = self.running()?;
        let heads = self
            .inner
            .store
            .head_cursors(&running.cluster_id)
            .await
            .map_err(unavailable)?;
        let mut places = Vec::new();
        for (log, topic, partition, head) in heads {
            let id = PartitionId {
                topic: topic.as_str().into(),
                partition,
            };
            let next = self.place(&id, start).await?;
            // Also where it is the head's own: events arrive until the lane runs.
            places.push(Place {
                log,
                partition,
                next: next.min(head),
                // Nothing that it may need has been passed yet.
                logged_at_ms: 0,
            });
        }
        Ok(places)
    }

    async fn place(&self, partition: &PartitionId, start: StartAt) -> Done<i64> {
        let failed = |error: carillon_bus::BusError| {
            OperationError::Unavailable(format!(
                "where {partition} begins cannot be found out: {error}"
            ))
        };
        match start {
            StartAt::Latest => Ok(i64::MAX),
            StartAt::Earliest => self
                .inner
                .places
                .watermarks(partition)
                .await
                .map(|marks| marks.low)
                .map_err(failed),
            StartAt::Time(at_ms) => self
                .inner
                .places
                .at_time(partition, at_ms, &self.inner.readers)
                .await
                .map_err(failed),
        }
    }

    /// Brings back what was loaded when the process ended.
    pub(crate) async fn restore(&self) -> Result<(), carillon_store::StoreError> {
        let installs = self.inner.store.installs().await?;
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
                    if let Err(error) = self.inner.store.end_trial(install.plugin).await {
                        tracing::error!(plugin = name, %error, "the trial could not be ended");
                    }
                }
            }
        }
        let not_before_ms = match self.inner.store.first_load_ms(install.plugin).await {
            Ok(Some(first_ms)) if self.inner.embedded => first_ms,
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

    /// A version that was loaded before, with the settings that it had then.
    pub(super) async fn bring_back(&self, load: &LoadRecord) -> Done<Plugin> {
        let binary = self
            .inner
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

    pub(super) async fn end_trial(&self, id: PluginId, trying: &Trying) -> Done<()> {
        self.inner.store.end_trial(id).await.map_err(unavailable)?;
        self.take_shadow_away(trying).await;
        Ok(())
    }

    async fn take_shadow_away(&self, trying: &Trying) {
        if trying.candidate.mode != TrialMode::Shadow {
            return;
        }
        let shadow = self.inner.table.remove(trying.candidate.plugin);
        self.drain(&shadow, &mut Vec::new()).await;
        self.forget_space(trying.candidate.plugin);
    }

    pub(super) fn tell_book(&self, name: Option<&str>, text: &str) {
        let Some(name) = name else { return };
        let slot = self.slots().get(name).cloned();
        if let Some(slot) = slot {
            slot.shared
                .book
                .host(&slot.install.load.version, "info", None, text.to_owned());
        }
    }

    pub(super) fn next_replay_id(&self) -> u64 {
        self.inner.next_replay.fetch_add(1, Ordering::Relaxed)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(
    name: &str,
    load: &LoadRecord,
    runs_as: &str,
    before: Option<&Slot>,
    ready: &Ready,
    drained_ms: u64,
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
        drained_ms,
        notes: ready.notes.clone(),
    }
}

/// After how many faults a candidate is taken away.
fn faults(asked: Option<u32>, default: u32) -> Done<u32> {
    match asked {
        Some(0) => Err(OperationError::Invalid(
            "a candidate is taken away after 1 fault or more, not after 0".to_owned(),
        )),
        asked => Ok(asked.unwrap_or(default)),
    }
}

/// A canary writes the state that the active version reads.
fn check_shared_state(before: Option<&Slot>, plugin: &Plugin) -> Done<()> {
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
