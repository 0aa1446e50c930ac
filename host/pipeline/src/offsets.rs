//! Offsets for those who watch lag in Kafka: the head's, after the store holds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use carillon_bus::PartitionId;

/// Positions that the store holds and Kafka has not been told of.
#[derive(Clone, Default)]
pub(crate) struct Offsets {
    changed: Arc<Mutex<HashMap<PartitionId, i64>>>,
}

impl Offsets {
    pub(crate) fn stored(&self, partition: &PartitionId, next: i64) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        match changed.get_mut(partition) {
            Some(known) => *known = next,
            None => drop(changed.insert(partition.clone(), next)),
        }
    }

    pub(crate) fn take(&self) -> Vec<(PartitionId, i64)> {
        self.changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain()
            .collect()
    }
}
