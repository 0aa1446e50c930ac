//! An event that the store does not know, looked for in the log itself.

use std::time::Duration;

use carillon_bus::{LogRecord, PartitionId};
use tokio::time::Instant;
use uuid::Uuid;

use super::Spot;
use crate::operations::model::OperationError;
use crate::operations::{Done, Operations, unavailable};

/// An event that the store does not know is looked for in this many of the newest records of each
/// partition, and before that in those around its time where its id tells it …
const LOOKED_AT: i64 = 20_000;
const AROUND_BEFORE_MS: i64 = 60_000;
const AROUND_AFTER_MS: i64 = 600_000;
/// … and for no longer than this.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);
/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 1_000;
const TURN_BYTES: usize = 1 << 20;

impl Operations {
    /// The record of an event by its id, and where it lies.
    pub(super) async fn find(&self, id: &str) -> Done<(Spot, LogRecord)> {
        let running = self.running()?;
        let heads = self
            .parts
            .store
            .head_cursors(&running.cluster_id)
            .await
            .map_err(unavailable)?;
        let deadline = Instant::now() + LOOK_PATIENCE;
        for (log, topic, partition, _) in heads {
            let partition = PartitionId {
                topic: topic.as_str().into(),
                partition,
            };
            if let Some((offset, record)) = self.find_in(&partition, id, deadline).await? {
                let spot = Spot {
                    log,
                    partition,
                    offset,
                };
                return Ok((spot, record));
            }
        }
        let over = if Instant::now() >= deadline {
            format!("; the search ended after {} s", LOOK_PATIENCE.as_secs())
        } else {
            String::new()
        };
        Err(OperationError::NotFound(format!(
            "nothing is known by {id:?}: no notification has this id, no plugin decided on such an event, and it is not among the newest {LOOKED_AT} records of each partition{over}; if you know where the record lies, ask for topic/partition/offset"
        )))
    }

    async fn find_in(
        &self,
        partition: &PartitionId,
        id: &str,
        deadline: Instant,
    ) -> Done<Option<(i64, LogRecord)>> {
        let failed = |error: String| OperationError::Unavailable(error);
        let parts = &self.parts;
        let marks = parts
            .places
            .watermarks(partition)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let newest = (marks.low.max(marks.high - LOOKED_AT), marks.high);
        let mut stretches = vec![newest];
        if let Some(ms) = time_of(id) {
            let place = async |ms: i64| {
                let found = parts.places.at_time(partition, ms, &parts.readers).await;
                found.map_err(|error| failed(error.to_string()))
            };
            let from = place(ms - AROUND_BEFORE_MS).await?;
            let to = place(ms + AROUND_AFTER_MS).await?;
            // There first: events are mostly logged when they happen.
            stretches.insert(0, (from, to.min(from + LOOKED_AT)));
        }
        for (from, to) in stretches {
            let found = self.find_between(partition, id, from, to, deadline).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn find_between(
        &self,
        partition: &PartitionId,
        id: &str,
        from: i64,
        end: i64,
        deadline: Instant,
    ) -> Done<Option<(i64, LogRecord)>> {
        let mut at = from;
        while at < end && Instant::now() < deadline {
            let stretch = self
                .parts
                .readers
                .read(partition, at, end, TURN, TURN_BYTES)
                .await
                .map_err(|error| OperationError::Unavailable(error.to_string()))?;
            for record in stretch.records {
                let value = record.value.as_deref().unwrap_or_default();
                // Decoding is dearer than looking.
                let mentioned = value
                    .windows(id.len().max(1))
                    .any(|bytes| bytes == id.as_bytes());
                if mentioned && carillon_events::decode(value).is_ok_and(|event| event.id == id) {
                    return Ok(Some((record.offset, record)));
                }
            }
            at = stretch.next;
        }
        Ok(None)
    }
}

/// When an event happened, where its id is a UUID of version 7.
fn time_of(id: &str) -> Option<i64> {
    let uuid = Uuid::parse_str(id).ok()?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    (uuid.get_version_num() == 7)
        .then(|| i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).ok())
        .flatten()
}
