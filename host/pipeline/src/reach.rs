//! How far a partition has been read by everybody who reads it here.
//!
//! Only the embedded broker needs to know: it drops the oldest records beyond 5 MB, and so
//! producers wait for the slowest lane.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use carillon_bus::Release;
use carillon_store::PluginId;

/// The places of the head and of the lanes that run beside it.
pub(crate) struct Reach {
    release: Release,
    places: Mutex<HashMap<PluginId, i64>>,
}

impl Reach {
    pub(crate) fn new(release: Release, head: i64) -> Self {
        Self {
            release,
            places: Mutex::new(HashMap::from([(PluginId::NONE, head)])),
        }
    }

    /// The head stands here now.
    pub(crate) fn head(&self, next: i64) {
        self.lane(PluginId::NONE, next);
    }

    /// The lane of a plugin stands here now.
    pub(crate) fn lane(&self, plugin: PluginId, next: i64) {
        self.change(|places| {
            places.insert(plugin, next);
        });
    }

    /// The lane of a plugin does not read any more.
    pub(crate) fn ended(&self, plugin: PluginId) {
        self.change(|places| {
            places.remove(&plugin);
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<PluginId, i64>)) {
        if !self.release.matters() {
            return;
        }
        let slowest = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut places);
            places.values().min().copied()
        };
        if let Some(slowest) = slowest {
            self.release.up_to(slowest);
        }
    }
}
