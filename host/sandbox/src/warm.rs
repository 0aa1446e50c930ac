//! Idle instances, kept for the next event.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::session::Live;

/// Idle instances of all plugins; beyond a bound the least recently used go.
pub(crate) struct Warm {
    idle: Mutex<Idle>,
    max_instances: usize,
    max_memory_bytes: usize,
}

#[derive(Default)]
struct Idle {
    by_plugin: HashMap<u64, VecDeque<(u64, Live)>>,
    count: usize,
    memory_bytes: usize,
    clock: u64,
}

impl Warm {
    pub(crate) fn new(max_instances: usize, max_memory_bytes: usize) -> Self {
        Self {
            idle: Mutex::default(),
            max_instances,
            max_memory_bytes,
        }
    }

    /// The instance of a plugin that was used last: its memory is the warmest.
    pub(crate) fn take(&self, plugin: u64) -> Option<Live> {
        let mut idle = self.lock();
        let (_, live) = idle.by_plugin.get_mut(&plugin)?.pop_back()?;
        idle.gone(&live);
        Some(live)
    }

    pub(crate) fn give_back(&self, plugin: u64, live: Live) {
        let mut evicted = Vec::new();
        {
            let mut idle = self.lock();
            idle.clock += 1;
            idle.count += 1;
            idle.memory_bytes += live.memory_bytes();
            let now = idle.clock;
            idle.by_plugin
                .entry(plugin)
                .or_default()
                .push_back((now, live));
            while idle.count > self.max_instances || idle.memory_bytes > self.max_memory_bytes {
                let Some(oldest) = idle.evict() else { break };
                evicted.push(oldest);
            }
        }
        // Unmapping an instance's memory takes its time; not under the lock.
        drop(evicted);
    }

    /// Makes room for another instance; answers whether there was one to drop.
    pub(crate) fn drop_oldest(&self) -> bool {
        let oldest = self.lock().evict();
        oldest.is_some()
    }

    /// Drops the idle instances of a plugin that is gone.
    pub(crate) fn forget(&self, plugin: u64) {
        let gone = {
            let mut idle = self.lock();
            let gone = idle.by_plugin.remove(&plugin).unwrap_or_default();
            gone.iter().for_each(|(_, live)| idle.gone(live));
            gone
        };
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn gone(&mut self, live: &Live) {
        self.count -= 1;
        self.memory_bytes -= live.memory_bytes();
    }

    fn evict(&mut self) -> Option<Live> {
        let oldest = self
            .by_plugin
            .iter()
            .filter_map(|(plugin, instances)| instances.front().map(|(used, _)| (*used, *plugin)))
            .min()?;
        let (_, live) = self.by_plugin.get_mut(&oldest.1)?.pop_front()?;
        self.gone(&live);
        Some(live)
    }
}
