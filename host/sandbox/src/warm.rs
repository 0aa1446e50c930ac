//! Idle instances, kept for the next event.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::session::Live;

/// Idle instances of all plugins; beyond a bound the least recently used go.
pub(crate) struct Warm {
    idle: Mutex<Idle>,
    limit: usize,
}

#[derive(Default)]
struct Idle {
    by_plugin: HashMap<u64, VecDeque<(u64, Live)>>,
    count: usize,
    clock: u64,
}

impl Warm {
    pub(crate) fn new(limit: usize) -> Self {
        Self { idle: Mutex::default(), limit }
    }

    pub(crate) fn take(&self, plugin: u64) -> Option<Live> {
        let mut idle = self.lock();
        let (_, live) = idle.by_plugin.get_mut(&plugin)?.pop_back()?;
        idle.count -= 1;
        Some(live)
    }

    pub(crate) fn give_back(&self, plugin: u64, live: Live) {
        let evicted = {
            let mut idle = self.lock();
            idle.clock += 1;
            idle.count += 1;
            let now = idle.clock;
            idle.by_plugin.entry(plugin).or_default().push_back((now, live));
            if idle.count > self.limit { idle.evict() } else { None }
        };
        // Unmapping an instance's memory takes its time; not under the lock.
        drop(evicted);
    }

    /// Drops the idle instances of a plugin that is gone.
    pub(crate) fn forget(&self, plugin: u64) {
        let gone = {
            let mut idle = self.lock();
            let gone = idle.by_plugin.remove(&plugin);
            idle.count -= gone.as_ref().map_or(0, VecDeque::len);
            gone
        };
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn evict(&mut self) -> Option<Live> {
        let oldest = self
            .by_plugin
            .iter()
            .filter_map(|(plugin, instances)| instances.front().map(|(used, _)| (*used, *plugin)))
            .min()?;
        let (_, live) = self.by_plugin.get_mut(&oldest.1)?.pop_front()?;
        self.count -= 1;
        Some(live)
    }
}
