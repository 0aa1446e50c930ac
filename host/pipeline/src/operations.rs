//! What operators do to plugins, and what they see of them.
//!
//! Every way in (the watched folder, the admin API, the command line) ends here, so that each step
//! is taken once: check, write down, take effect, tell. Changes are made one at a time.

mod changes;
mod explain;
mod letters;
mod loading;
pub(crate) mod model;
mod replays;
mod trials;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use carillon_bus::{Places, ReaderPool};
use carillon_sandbox::{Plugin, Sandbox};
use carillon_store::{Candidate, Install, NewAudit, PluginId, RunState, Store, StoreError};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::backoff::now_ms;
use crate::board::Board;
use crate::config::{PipelineConfig, PluginConfig};
use crate::context::Context;
use crate::gate::{Gate, GateRules, Report};
use crate::handler::{
    Canary, Code, Counters, FaultRule, Handler, HandlerParts, PluginShared, Role,
};
use crate::health::Health;
use crate::log_book::LogBook;
use crate::state_space::StateSpace;
use crate::stats::Stats;
use crate::table::{PluginTable, Replaced};
use crate::trust::Trust;
use model::{OperationError, Operator};

/// Operations on the plugins of one host. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Operations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

/// What operations are made of.
pub(crate) struct OperationsParts {
    pub(crate) store: Store,
    pub(crate) sandbox: Sandbox,
    pub(crate) table: PluginTable,
    pub(crate) config: PipelineConfig,
    pub(crate) configs: HashMap<String, PluginConfig>,
    pub(crate) trust: Trust,
    pub(crate) board: Arc<Board>,
    pub(crate) places: Places,
    /// Their own, so that nobody who replays takes a reader from a lane.
    pub(crate) readers: ReaderPool,
    pub(crate) voided: Arc<Notify>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) health: Arc<Health>,
    /// Whether the log ends with the process.
    pub(crate) embedded: bool,
}

struct Inner {
    store: Store,
    sandbox: Sandbox,
    table: PluginTable,
    config: PipelineConfig,
    configs: HashMap<String, PluginConfig>,
    trust: Trust,
    board: Arc<Board>,
    places: Places,
    readers: ReaderPool,
    voided: Arc<Notify>,
    reports: mpsc::Sender<Report>,
    health: Arc<Health>,
    embedded: bool,
    slots: Mutex<BTreeMap<String, Slot>>,
    /// One a plugin for as long as the process runs: runs of an old version may still be under way.
    spaces: Mutex<HashMap<PluginId, Arc<StateSpace>>>,
    /// By name: what outlives the versions of a plugin.
    shared: Mutex<HashMap<String, Arc<PluginShared>>>,
    running: RwLock<Option<Running>>,
    replays: Mutex<BTreeMap<u64, replays::Replay>>,
    next_replay: AtomicU64,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    /// One replay of dead letters at a time, so that none is handled twice.
    handling_letters: tokio::sync::Mutex<()>,
}

/// What there is while partitions are being read.
#[derive(Clone)]
struct Running {
    context: Arc<Context>,
    cluster_id: Arc<str>,
}

/// An installed plugin.
#[derive(Clone)]
struct Slot {
    install: Install,
    shared: Arc<PluginShared>,
    /// What runs, or why nothing does.
    plugin: Result<Plugin, String>,
    candidate: Option<Trying>,
    /// See [`Handler`].
    not_before_ms: i64,
}

/// A candidate that runs.
#[derive(Clone)]
struct Trying {
    candidate: Candidate,
    plugin: Plugin,
    stats: Arc<Stats>,
    faults: u32,
}

type Done<T> = Result<T, OperationError>;

impl Operations {
    pub(crate) fn new(parts: OperationsParts) -> Self {
        let OperationsParts {
            store,
            sandbox,
            table,
            config,
            configs,
            trust,
            board,
            places,
            readers,
            voided,
            reports,
            health,
            embedded,
        } = parts;
        Self {
            inner: Arc::new(Inner {
                store,
                sandbox,
                table,
                config,
                configs,
                trust,
                board,
                places,
                readers,
                voided,
                reports,
                health,
                embedded,
                slots: Mutex::default(),
                spaces: Mutex::default(),
                shared: Mutex::default(),
                running: RwLock::default(),
                replays: Mutex::default(),
                next_replay: AtomicU64::new(1),
                changing: tokio::sync::Mutex::default(),
                handling_letters: tokio::sync::Mutex::default(),
            }),
        }
    }

    pub(crate) fn started(&self, context: Arc<Context>, cluster_id: Arc<str>) {
        *self
            .inner
            .running
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Running {
            context,
            cluster_id,
        });
    }

    /// Lets go of what the lanes work with, so that it can end.
    pub(crate) fn stopped(&self) {
        self.cancel_all_replays();
        *self
            .inner
            .running
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn running(&self) -> Done<Running> {
        self.inner
            .running
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| {
                OperationError::Unavailable(
                    "the host is not connected to Kafka yet, or it is stopping; try again"
                        .to_owned(),
                )
            })
    }

    /// The largest binary that is taken, in bytes.
    #[must_use]
    pub fn max_binary_bytes(&self) -> usize {
        self.inner.sandbox.max_binary_bytes()
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slot>> {
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, name: &str) -> Done<Slot> {
        let slots = self.slots();
        slots.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = slots.keys().map(String::as_str).collect();
            OperationError::NotFound(if known.is_empty() {
                format!("there is no plugin {name:?}; none is loaded")
            } else {
                format!(
                    "there is no plugin {name:?}; there are {}",
                    known.join(", ")
                )
            })
        })
    }

    fn config_of(&self, name: &str) -> PluginConfig {
        self.inner.configs.get(name).cloned().unwrap_or_default()
    }

    /// What the versions of a plugin share; made with the run state that is given.
    fn shared(&self, id: PluginId, name: &str, state: RunState) -> Arc<PluginShared> {
        let mut all = self
            .inner
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = all.get(name) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(PluginShared {
            gate: self.gate(id, name, state),
            stats: Arc::new(Stats::default()),
            counters: Counters::new(name),
            book: Arc::new(LogBook::default()),
        });
        all.insert(name.to_owned(), Arc::clone(&shared));
        shared
    }

    fn gate(&self, id: PluginId, name: &str, state: RunState) -> Gate {
        let config = &self.inner.config;
        let rules = GateRules {
            quarantine_after: config.quarantine_after.max(1),
            probe_backoff: std::time::Duration::from_millis(config.probe_backoff_ms.max(1)),
            max_probe_backoff: std::time::Duration::from_millis(config.max_probe_backoff_ms.max(1)),
        };
        Gate::new(id, name, state, rules, self.inner.reports.clone())
    }

    fn space(&self, id: PluginId, plugin: &Plugin) -> Option<Arc<StateSpace>> {
        if !plugin.imports_state() {
            return None;
        }
        let mut spaces = self
            .inner
            .spaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let space = spaces.entry(id).or_insert_with(|| {
            Arc::new(StateSpace::new(
                id,
                self.inner.store.clone(),
                Handle::current(),
                self.inner.config.state_cache_bytes,
                Arc::clone(&self.inner.voided),
            ))
        });
        space.set_quota_bytes(plugin.limits().state_total_bytes as u64);
        Some(Arc::clone(space))
    }

    fn forget_space(&self, id: PluginId) {
        self.inner
            .spaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// Lets lanes run what a slot holds; answers what gave way.
    fn put(&self, slot: &Slot) -> Replaced {
        let Ok(plugin) = &slot.plugin else {
            return self.inner.table.remove(slot.install.plugin);
        };
        let rule = |trying: &Trying| FaultRule {
            trial: trying.candidate.trial,
            plugin: slot.install.plugin,
            limit: trying.faults,
            faults: std::sync::atomic::AtomicU32::new(0),
            reports: self.inner.reports.clone(),
        };
        let mut handlers = Vec::new();
        let role = match &slot.candidate {
            None => Role::Active,
            Some(trying) => match trying.candidate.mode {
                carillon_store::TrialMode::Shadow => {
                    let name = format!("{}@shadow", slot.install.name);
                    // Its gate never closes; what is said about it stands with the plugin.
                    let shared = Arc::new(PluginShared {
                        gate: self.gate(trying.candidate.plugin, &name, RunState::Active),
                        stats: Arc::clone(&trying.stats),
                        counters: Counters::new(&name),
                        book: Arc::clone(&slot.shared.book),
                    });
                    handlers.push(Handler::new(HandlerParts {
                        id: trying.candidate.plugin,
                        name: name.into(),
                        version: trying.candidate.load.version_id,
                        label: trying.candidate.load.version.as_str().into(),
                        subscriptions: trying.plugin.description().subscriptions.clone(),
                        code: Code::Sandboxed(trying.plugin.clone()),
                        state: self.space(trying.candidate.plugin, &trying.plugin),
                        role: Role::Shadow(Arc::new(rule(trying))),
                        not_before_ms: slot.not_before_ms,
                        plugin: shared,
                    }));
                    Role::Compared(trying.candidate.trial)
                }
                carillon_store::TrialMode::Canary { percent } => Role::Shared(Arc::new(Canary {
                    plugin: trying.plugin.clone(),
                    version: trying.candidate.load.version_id,
                    label: trying.candidate.load.version.as_str().into(),
                    subscriptions: trying.plugin.description().subscriptions.clone(),
                    percent,
                    stats: Arc::clone(&trying.stats),
                    rule: rule(trying),
                })),
            },
        };
        // A canary's calls touch the same state: it takes part in the order if either asks.
        let state = match (&role, self.space(slot.install.plugin, plugin)) {
            (Role::Shared(canary), None) => self.space(slot.install.plugin, &canary.plugin),
            (_, space) => space,
        };
        handlers.push(Handler::new(HandlerParts {
            id: slot.install.plugin,
            name: Arc::clone(&slot.install.name),
            version: slot.install.load.version_id,
            label: slot.install.load.version.as_str().into(),
            subscriptions: plugin.description().subscriptions.clone(),
            code: Code::Sandboxed(plugin.clone()),
            state,
            role,
            not_before_ms: slot.not_before_ms,
            plugin: Arc::clone(&slot.shared),
        }));
        self.inner.table.put(handlers)
    }

    /// Does something to its end, whoever waits for it: half of a change must not be left because a
    /// client has gone away.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Done<T>> + Send + 'static,
    ) -> Done<T> {
        tokio::spawn(work).await.unwrap_or_else(|error| {
            Err(OperationError::Unavailable(format!(
                "the host failed while it did it, and its log says why: {error}"
            )))
        })
    }

    /// Writes down what an operator did, or tried.
    async fn audit_record<T>(
        &self,
        by: &Operator,
        action: &str,
        plugin: Option<&str>,
        detail: Value,
        result: &Done<T>,
    ) {
        let outcome = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!(
            who = by.who,
            from = by.from,
            action,
            plugin,
            outcome,
            "an operator's action"
        );
        let record = NewAudit {
            at_ms: now_ms(),
            who: by.who.clone(),
            from: by.from.clone(),
            action: action.to_owned(),
            plugin: plugin.map(str::to_owned),
            detail,
            outcome,
        };
        if let Err(error) = self.inner.store.audit(&record).await {
            tracing::error!(%error, action, "an operator's action could not be written down");
        }
    }

    /// A file of the watched folder is not loaded.
    pub(crate) async fn note_refused_file(&self, path: &Path, reason: &str) {
        let file = path.display().to_string();
        tracing::error!(file, "a plugin was not loaded: {reason}");
        let refused: Done<()> = Err(OperationError::Refused(reason.to_owned()));
        self.audit_record(
            &Operator::host("watched folder"),
            "load",
            None,
            json!({ "origin": file }),
            &refused,
        )
        .await;
    }

    /// Whether this very binary runs.
    pub(crate) fn runs(&self, sha256: &str) -> bool {
        self.slots()
            .values()
            .any(|slot| slot.install.load.sha256 == sha256)
    }

    /// What a file of the watched folder gave last.
    pub(crate) async fn given_by_file(&self, name: &str) -> Option<String> {
        match self.inner.store.watched_files().await {
            Ok(files) => files
                .into_iter()
                .find_map(|(file, sha256)| (file == name).then_some(sha256)),
            Err(error) => {
                tracing::warn!(%error, file = name, "what the folder gave cannot be read");
                None
            }
        }
    }

    /// A file of the watched folder was loaded.
    pub(crate) async fn note_given_file(&self, name: &str, sha256: &str) {
        if let Err(error) = self.inner.store.note_watched_file(name, sha256).await {
            tracing::warn!(%error, file = name, "what the folder gave could not be written down; the file is loaded again at the next start");
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // It is handed to `map_err`.
fn unavailable(error: StoreError) -> OperationError {
    OperationError::Unavailable(format!("the store cannot do it at the moment: {error}"))
}
