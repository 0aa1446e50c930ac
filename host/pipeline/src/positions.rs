//! Where partitions start: at the store's cursors, as long as they belong to this log.

use std::sync::Arc;

use carillon_bus::{OffsetReset, PartitionId, Positions, Start, UnknownPosition, Watermarks};
use carillon_store::{CursorMove, Lane, LogId, Share, Store};
use tokio::runtime::Handle;

use crate::backoff::now_ms;

/// Answers the consumer on its own thread.
pub(crate) struct StoredPositions {
    pub(crate) store: Store,
    pub(crate) runtime: Handle,
    pub(crate) cluster: Arc<str>,
    pub(crate) embedded: bool,
    pub(crate) reset: OffsetReset,
    pub(crate) unknown: UnknownPosition,
}

/// What to do about a partition's cursor.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Go on where it stands.
    Stay(i64),
    /// Put it there first.
    Put(i64),
    /// Wait for the operator.
    Stop(String),
}

impl Positions for StoredPositions {
    fn starts(&self, partitions: &[(PartitionId, Watermarks)]) -> Result<Vec<Start>, String> {
        self.runtime
            .block_on(self.find(partitions))
            .map_err(|error| error.to_string())
    }
}

impl StoredPositions {
    /// All starts that are new are stored together, before the first fetch: after a crash they
    /// are the same, and no partition is taken for one that was added later.
    async fn find(
        &self,
        partitions: &[(PartitionId, Watermarks)],
    ) -> Result<Vec<Start>, Box<dyn std::error::Error>> {
        let mut starts = Vec::with_capacity(partitions.len());
        let mut puts = Vec::new();
        for (partition, watermarks) in partitions {
            let log = self
                .store
                .log(&self.cluster, &partition.topic, now_ms())
                .await?;
            let cursor = self.store.cursors(log, partition.partition).await?.head;
            let choice = match cursor {
                Some(cursor) => self.known(partition, cursor, *watermarks),
                None => self.unknown(log, partition, *watermarks).await?,
            };
            starts.push(match choice {
                Choice::Stay(offset) => Start::At(offset),
                Choice::Stop(reason) => Start::Stopped(reason),
                Choice::Put(offset) => {
                    puts.push(Share::moving(CursorMove {
                        log,
                        partition: partition.partition,
                        lane: Lane::Head,
                        expected: cursor,
                        next: offset,
                        // Until its records are passed they may need what has expired since; where
                        // there are none, those to come are from now on.
                        logged_at_ms: if watermarks.low == watermarks.high {
                            now_ms()
                        } else {
                            0
                        },
                        retry: None,
                    }));
                    Start::At(offset)
                }
            });
        }
        if !puts.is_empty() {
            for result in self.store.commit(&puts).await {
                result?;
            }
        }
        Ok(starts)
    }

    fn known(&self, partition: &PartitionId, cursor: i64, log: Watermarks) -> Choice {
        if cursor < log.low {
            let gone = log.low - cursor;
            return self.lost(
                log,
                &format!("{partition}: {gone} events (offsets {cursor} to {}) were removed by Kafka's retention before they were handled", log.low - 1),
            );
        }
        if cursor > log.high {
            return self.lost(
                log,
                &format!("{partition}: the cursor stands at {cursor}, but the log ends at {}: it is another log under the same name", log.high),
            );
        }
        Choice::Stay(cursor)
    }

    async fn unknown(
        &self,
        log: LogId,
        partition: &PartitionId,
        marks: Watermarks,
    ) -> Result<Choice, carillon_store::StoreError> {
        // The log of an embedded broker begins with the process.
        if self.embedded {
            return Ok(Choice::Put(marks.low));
        }
        // A partition that was added later has nothing before its first record.
        if self.store.log_has_cursors(log).await? {
            return Ok(Choice::Put(marks.low));
        }
        let others = self
            .store
            .other_logs_with_cursors(log, &partition.topic)
            .await?;
        let real_others: Vec<&String> = others
            .iter()
            .filter(|cluster| !cluster.starts_with(carillon_bus::EMBEDDED_CLUSTER_PREFIX))
            .collect();
        if let Some(other) = real_others.first() {
            return Ok(self.lost(
                marks,
                &format!("{partition}: the store holds cursors of cluster {other}, and this is cluster {}", self.cluster),
            ));
        }
        Ok(Choice::Put(match self.reset {
            OffsetReset::Earliest => marks.low,
            OffsetReset::Latest => marks.high,
        }))
    }

    fn lost(&self, log: Watermarks, what: &str) -> Choice {
        match self.unknown {
            UnknownPosition::Stop => Choice::Stop(format!(
                "{what}; choose where to go on with notification_service.kafka.unknown_position = \"earliest\" or \"latest\", and restart"
            )),
            UnknownPosition::Earliest => {
                tracing::error!(
                    offset = log.low,
                    "{what}; going on at the earliest record, as configured"
                );
                Choice::Put(log.low)
            }
            UnknownPosition::Latest => {
                tracing::error!(
                    offset = log.high,
                    "{what}; going on at the latest record, as configured"
                );
                Choice::Put(log.high)
            }
        }
    }
}
