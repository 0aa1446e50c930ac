//! The handlers that lanes run, and which of them want an event.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use carillon_events::Kind;
use carillon_store::PluginId;
use tokio::sync::watch;

use crate::handler::Handler;

/// All handlers. Cheap to clone. Each change makes a new [`Loaded`], which lanes take up between
/// two events.
#[derive(Clone)]
pub(crate) struct PluginTable {
    inner: Arc<RwLock<Arc<Loaded>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for PluginTable {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }
}

#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) generation: u64,
    pub(crate) handlers: HashMap<PluginId, Arc<Handler>>,
    /// By kind, filled in on first sight: events of a kind always go to the same handlers.
    by_kind: RwLock<HashMap<Kind, Arc<[Arc<Handler>]>>>,
}

/// Kinds are a producer's words; beyond this many the table by kind is not extended.
const MAX_CACHED_KINDS: usize = 1_000;

impl PluginTable {
    /// Puts handlers in the places of their plugins; answers those that stood there.
    pub(crate) fn put(&self, handlers: Vec<Handler>) -> Vec<Arc<Handler>> {
        self.change(|all| {
            handlers
                .into_iter()
                .filter_map(|handler| all.insert(handler.id, Arc::new(handler)))
                .collect()
        })
    }

    /// Takes a plugin away.
    pub(crate) fn remove(&self, plugin: PluginId) -> Option<Arc<Handler>> {
        self.change(|all| all.remove(&plugin))
    }

    /// Makes lanes look again at where they belong.
    pub(crate) fn touch(&self) {
        self.change(|_| ());
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<PluginId, Arc<Handler>>) -> T) -> T {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut handlers = inner.handlers.clone();
        let changed = change(&mut handlers);
        let generation = inner.generation + 1;
        *inner = Arc::new(Loaded {
            generation,
            handlers,
            by_kind: RwLock::default(),
        });
        drop(inner);
        self.changes.send_replace(generation);
        changed
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn handler(&self, plugin: PluginId) -> Option<Arc<Handler>> {
        self.loaded().handlers.get(&plugin).cloned()
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Loaded {
    /// Who wants events of this kind, in the order of their numbers.
    pub(crate) fn subscribers(&self, kind: &Kind) -> Arc<[Arc<Handler>]> {
        if let Some(found) = self
            .by_kind
            .read()
            .unwrap_or_else(PoisonError::into_inner)
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
            .unwrap_or_else(PoisonError::into_inner);
        if by_kind.len() < MAX_CACHED_KINDS {
            by_kind.insert(kind.clone(), Arc::clone(&found));
        }
        found
    }
}
