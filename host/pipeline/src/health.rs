//! Whether events are being handled, and if not, why.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use carillon_bus::PartitionId;

/// What `/readyz` is answered from.
#[derive(Default)]
pub(crate) struct Health {
    started: AtomicBool,
    assigned: AtomicBool,
    failed: Mutex<Option<String>>,
    /// Partitions, and lanes away from their head by their plugin, that wait for the operator.
    stopped: Mutex<HashMap<(PartitionId, Option<String>), String>>,
}

impl Health {
    pub(crate) fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The group has answered: there are partitions, read or stopped.
    pub(crate) fn assigned(&self) {
        self.assigned.store(true, Ordering::Release);
    }

    pub(crate) fn failed(&self, reason: String) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub(crate) fn stopped(&self, partition: &PartitionId, plugin: Option<&str>, reason: String) {
        let key = (partition.clone(), plugin.map(str::to_owned));
        self.lock().insert(key, reason);
    }

    /// These partitions are taken up anew, or are no longer this host's.
    pub(crate) fn forget(&self, partitions: &[PartitionId]) {
        self.lock()
            .retain(|(partition, _), _| !partitions.contains(partition));
    }

    /// A plugin is gone, and with it what its lanes waited for.
    pub(crate) fn forget_plugin(&self, name: &str) {
        self.lock()
            .retain(|(_, plugin), _| plugin.as_deref() != Some(name));
    }

    /// The reason why not, for a person.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if !self.started.load(Ordering::Acquire) {
            return Err("the pipeline has not started".to_owned());
        }
        if let Some(reason) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(reason.clone());
        }
        let stopped = self.lock();
        if let Some((_, reason)) = stopped.iter().next() {
            return Err(format!(
                "{} partitions or lanes are stopped: {reason}",
                stopped.len()
            ));
        }
        if !self.assigned.load(Ordering::Acquire) {
            return Err("the consumer group has not given this host a partition yet".to_owned());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(PartitionId, Option<String>), String>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
