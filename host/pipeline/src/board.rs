//! Where all lanes stand, for those who look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use carillon_bus::PartitionId;
use carillon_store::PluginId;

/// The partitions of this host.
#[derive(Default)]
pub(crate) struct Board {
    partitions: Mutex<HashMap<PartitionId, Standing>>,
}

/// One partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Where the head stands.
    pub(crate) head: i64,
    /// The end of the log, when it was last looked at; at least the head.
    pub(crate) end: i64,
    /// Lanes with a cursor of their own.
    pub(crate) away: HashMap<PluginId, Away>,
}

/// A lane away from the head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away {
    /// Its next record.
    pub(crate) cursor: i64,
    /// Attempts that failed there, and what the last one said.
    pub(crate) retry: Option<(u32, String)>,
    /// Why it stopped for good.
    pub(crate) stopped: Option<String>,
}

impl Board {
    pub(crate) fn head(&self, partition: &PartitionId, next: i64) {
        self.at(partition, |standing| {
            standing.head = next;
            standing.end = standing.end.max(next);
        });
    }

    pub(crate) fn end(&self, partition: &PartitionId, end: i64) {
        let mut partitions = self.lock();
        if let Some(standing) = partitions.get_mut(partition) {
            standing.end = standing.head.max(end);
        }
    }

    pub(crate) fn lane(
        &self,
        partition: &PartitionId,
        plugin: PluginId,
        cursor: i64,
        retry: Option<(u32, String)>,
    ) {
        self.at(partition, |standing| {
            let lane = standing.away.entry(plugin).or_default();
            lane.cursor = cursor;
            lane.retry = retry;
            lane.stopped = None;
        });
    }

    pub(crate) fn lane_stopped(&self, partition: &PartitionId, plugin: PluginId, reason: String) {
        self.at(partition, |standing| {
            standing.away.entry(plugin).or_default().stopped = Some(reason);
        });
    }

    pub(crate) fn lane_ended(&self, partition: &PartitionId, plugin: PluginId) {
        self.at(partition, |standing| {
            standing.away.remove(&plugin);
        });
    }

    pub(crate) fn forget(&self, partition: &PartitionId) {
        self.lock().remove(partition);
    }

    /// All partitions, sorted.
    pub(crate) fn look(&self) -> Vec<(PartitionId, Standing)> {
        let mut all: Vec<_> = self
            .lock()
            .iter()
            .map(|(id, standing)| (id.clone(), standing.clone()))
            .collect();
        all.sort_by(|(a, _), (b, _)| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        all
    }

    /// The lag of each plugin that is asked for, over all partitions of topics it can hear of.
    pub(crate) fn lags(&self, plugins: &[PluginId]) -> HashMap<PluginId, u64> {
        let partitions = self.lock();
        plugins
            .iter()
            .map(|plugin| {
                let lag = partitions
                    .values()
                    .map(|standing| {
                        let cursor = standing
                            .away
                            .get(plugin)
                            .map_or(standing.head, |lane| lane.cursor);
                        standing.end.saturating_sub(cursor).max(0).unsigned_abs()
                    })
                    .sum();
                (*plugin, lag)
            })
            .collect()
    }

    fn at(&self, partition: &PartitionId, change: impl FnOnce(&mut Standing)) {
        let mut partitions = self.lock();
        match partitions.get_mut(partition) {
            Some(standing) => change(standing),
            None => change(partitions.entry(partition.clone()).or_default()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PartitionId, Standing>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
