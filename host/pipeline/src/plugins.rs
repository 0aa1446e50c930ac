//! The plugins that are loaded, and which of them want an event.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use carillon_events::{Kind, Subscription};
use carillon_sandbox::Plugin;
use carillon_store::{PluginId, VersionId};
use metrics::Counter;
use serde::Serialize;

use crate::state_space::StateSpace;

/// Something that handles events: a sandboxed plugin, or a lane that is built in.
pub(crate) struct Handler {
    pub(crate) id: PluginId,
    pub(crate) name: Arc<str>,
    pub(crate) version: VersionId,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) code: Code,
    /// Shared by all lanes of a plugin that imports `state`.
    pub(crate) state: Option<Arc<StateSpace>>,
    pub(crate) counters: Counters,
}

/// What is counted for each event; looked up once, since a look-up costs as much as a call.
pub(crate) struct Counters {
    pub(crate) handled: Counter,
    pub(crate) rejected: Counter,
    pub(crate) retried: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) left_head: Counter,
}

impl Counters {
    pub(crate) fn new(plugin: &str) -> Self {
        let calls = |outcome: &'static str| metrics::counter!("carillon_plugin_calls_total", "plugin" => plugin.to_owned(), "outcome" => outcome);
        Self {
            handled: calls("handled"),
            rejected: calls("rejected"),
            retried: calls("retried"),
            duplicates: metrics::counter!("carillon_duplicate_events_total", "plugin" => plugin.to_owned()),
            dead_letters: metrics::counter!("carillon_dead_letters_total", "plugin" => plugin.to_owned()),
            left_head: metrics::counter!("carillon_lanes_left_head_total", "plugin" => plugin.to_owned()),
        }
    }
}

pub(crate) enum Code {
    Sandboxed(Plugin),
    /// Requests for a notification, see [`crate::direct`].
    DirectRequests,
}

impl Handler {
    pub(crate) fn wants(&self, kind: &Kind) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| subscription.matches(kind))
    }
}

/// What operators see of a plugin.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// One sentence.
    pub summary: String,
    /// What it subscribes to.
    pub subscriptions: Vec<String>,
    /// The interfaces that it imports.
    pub asked: Vec<String>,
}

/// All loaded plugins. Cheap to clone.
#[derive(Clone, Default)]
pub struct PluginTable {
    inner: Arc<RwLock<Arc<Loaded>>>,
}

impl std::fmt::Debug for PluginTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) handlers: HashMap<PluginId, Arc<Handler>>,
    /// By kind, filled in on first sight: events of a kind always go to the same handlers.
    by_kind: RwLock<HashMap<Kind, Arc<[Arc<Handler>]>>>,
}

/// Kinds are a producer's words; beyond this many the table by kind is not extended.
const MAX_CACHED_KINDS: usize = 1_000;

impl PluginTable {
    pub(crate) fn insert(&self, handler: Handler) {
        let mut inner = self
            .inner
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut handlers = inner.handlers.clone();
        handlers.insert(handler.id, Arc::new(handler));
        *inner = Arc::new(Loaded {
            handlers,
            by_kind: RwLock::default(),
        });
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(
            &self
                .inner
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// What is loaded, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PluginStatus> {
        let mut list: Vec<PluginStatus> = self
            .loaded()
            .handlers
            .values()
            .filter_map(|handler| match &handler.code {
                Code::Sandboxed(plugin) => Some(status(plugin)),
                Code::DirectRequests => None,
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }
}

impl Loaded {
    /// Who wants events of this kind, in the order of their numbers.
    pub(crate) fn subscribers(&self, kind: &Kind) -> Arc<[Arc<Handler>]> {
        if let Some(found) = self
            .by_kind
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(kind)
        {
            return Arc::clone(found);
        }
        let mut found: Vec<Arc<Handler>> = self
            .handlers
            .values()
            .filter(|handler| handler.wants(kind))
            .cloned()
            .collect();
        found.sort_by_key(|handler| handler.id);
        let found: Arc<[Arc<Handler>]> = found.into();
        let mut by_kind = self
            .by_kind
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if by_kind.len() < MAX_CACHED_KINDS {
            by_kind.insert(kind.clone(), Arc::clone(&found));
        }
        found
    }
}

fn status(plugin: &Plugin) -> PluginStatus {
    let description = plugin.description();
    PluginStatus {
        name: description.name.clone(),
        version: description.version.clone(),
        sha256: plugin.sha256().to_owned(),
        summary: description.summary.clone(),
        subscriptions: description
            .subscriptions
            .iter()
            .map(ToString::to_string)
            .collect(),
        asked: plugin.asked().to_vec(),
    }
}
