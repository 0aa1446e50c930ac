//! The handlers that lanes run, and which of them want an event.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

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

/// Handlers that gave way, and the table that they stood in.
pub(crate) struct Replaced {
    handlers: Vec<Arc<Handler>>,
    table: Weak<Loaded>,
}

impl Replaced {
    /// Whether nobody will call them any more: no run of theirs is under way, and no head holds
    /// the table to make another.
    pub(crate) fn is_done(&self) -> bool {
        self.handlers.is_empty()
            || (self.table.strong_count() == 0
                && self.handlers.iter().all(|handler| handler.running() == 0))
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
    pub(crate) fn put(&self, handlers: Vec<Handler>) -> Replaced {
        self.change(|all| {
            handlers
                .into_iter()
                .filter_map(|handler| all.insert(handler.id, Arc::new(handler)))
                .collect()
        })
    }

    /// Takes a plugin away.
    pub(crate) fn remove(&self, plugin: PluginId) -> Replaced {
        self.change(|all| all.remove(&plugin).into_iter().collect())
    }

    /// Makes lanes look again at where they belong.
    pub(crate) fn touch(&self) {
        self.change(|_| Vec::new());
    }

    fn change(
        &self,
        change: impl FnOnce(&mut HashMap<PluginId, Arc<Handler>>) -> Vec<Arc<Handler>>,
    ) -> Replaced {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut handlers = inner.handlers.clone();
        let replaced = change(&mut handlers);
        for handler in &replaced {
            handler.retire();
        }
        let generation = inner.generation + 1;
        let table = Arc::downgrade(&inner);
        *inner = Arc::new(Loaded {
            generation,
            handlers,
            by_kind: RwLock::default(),
        });
        drop(inner);
        self.changes.send_replace(generation);
        Replaced {
            handlers: replaced,
            table,
        }
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
        let mut by_kind = self.by_kind.write().unwrap_or_else(PoisonError::into_inner);
        if by_kind.len() < MAX_CACHED_KINDS {
            by_kind.insert(kind.clone(), Arc::clone(&found));
        }
        found
    }
}
