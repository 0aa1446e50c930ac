//! What operators do to plugins, and what they see of them.
//!
//! Every way in (the watched folder, the admin API, the command line) ends here, so that each step
//! is taken once: check, write down, take effect, tell. Changes are made one at a time.

mod changes;
mod explain;
mod first_places;
mod handlers;
mod letters;
mod loading;
pub(crate) mod model;
mod ready;
mod replays;
mod restoring;
mod trials;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use carillon_bus::{Places, ReaderPool};
use carillon_sandbox::{Plugin, Sandbox};
use carillon_store::{Candidate, Install, NewAudit, PluginId, Store, StoreError};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::backoff::now_ms;
use crate::board::Board;
use crate::config::{PipelineConfig, PluginConfig};
use crate::context::Context;
use crate::gate::Report;
use crate::handler::PluginShared;
use crate::health::Health;
use crate::state_space::StateSpace;
use crate::stats::Stats;
use crate::table::PluginTable;
use crate::trust::Trust;
use model::{OperationError, Operator};

/// Operations on the plugins of one host. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    parts: Arc<OperationsParts>,
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

/// What operations change.
#[derive(Default)]
struct Inner {
    slots: Mutex<BTreeMap<String, Slot>>,
    /// One a plugin for as long as the process runs: runs of an old version may still be under way.
    spaces: Mutex<HashMap<PluginId, Arc<StateSpace>>>,
    /// By name: what outlives the versions of a plugin.
    shared: Mutex<HashMap<String, Arc<PluginShared>>>,
    running: RwLock<Option<Running>>,
    replays: Mutex<BTreeMap<u64, replays::Replay>>,
    /// The number of the newest.
    last_replay: AtomicU64,
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
    /// See [`crate::handler::Handler`].
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
        Self {
            parts: Arc::new(parts),
            inner: Arc::default(),
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
        self.parts.sandbox.max_binary_bytes()
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
        self.parts.configs.get(name).cloned().unwrap_or_default()
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
        if let Err(error) = self.parts.store.audit(&record).await {
            tracing::error!(%error, action, "an operator's action could not be written down");
        }
    }

    fn tell_book(&self, name: Option<&str>, text: &str) {
        let Some(name) = name else { return };
        let slot = self.slots().get(name).cloned();
        if let Some(slot) = slot {
            slot.shared
                .book
                .host(&slot.install.load.version, "info", None, text.to_owned());
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
        match self.parts.store.watched_files().await {
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
        if let Err(error) = self.parts.store.note_watched_file(name, sha256).await {
            tracing::warn!(%error, file = name, "what the folder gave could not be written down; the file is loaded again at the next start");
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // It is handed to `map_err`.
fn unavailable(error: StoreError) -> OperationError {
    OperationError::Unavailable(format!("the store cannot do it at the moment: {error}"))
}
