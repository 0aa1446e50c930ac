//! Where the lanes of a plugin that is new begin.

use carillon_bus::PartitionId;
use carillon_store::Place;

use super::model::{OperationError, StartAt};
use super::{Done, Operations, Slot, unavailable};

impl Operations {
    /// Cursors for a plugin that is new and does not begin with what arrives from now on.
    pub(super) async fn first_places(
        &self,
        before: Option<&Slot>,
        start: StartAt,
    ) -> Done<Vec<Place>> {
        if start == StartAt::Latest {
            return Ok(Vec::new());
        }
        if let Some(slot) = before {
            return Err(OperationError::Conflict(format!(
                "{} is loaded already and goes on where it stands; to handle older events again, use `carillon plugin replay`",
                slot.install.name
            )));
        }
        let running = self.running()?;
        let heads = self
            .parts
            .store
            .head_cursors(&running.cluster_id)
            .await
            .map_err(unavailable)?;
        let mut places = Vec::new();
        for (log, topic, partition, head) in heads {
            let id = PartitionId {
                topic: topic.as_str().into(),
                partition,
            };
            let next = self.place(&id, start).await?;
            // Also where it is the head's own: events arrive until the lane runs.
            places.push(Place {
                log,
                partition,
                next: next.min(head),
                // Nothing that it may need has been passed yet.
                logged_at_ms: 0,
            });
        }
        Ok(places)
    }

    async fn place(&self, partition: &PartitionId, start: StartAt) -> Done<i64> {
        let failed = |error: carillon_bus::BusError| {
            OperationError::Unavailable(format!(
                "where {partition} begins cannot be found out: {error}"
            ))
        };
        match start {
            StartAt::Latest => Ok(i64::MAX),
            StartAt::Earliest => self
                .parts
                .places
                .watermarks(partition)
                .await
                .map(|marks| marks.low)
                .map_err(failed),
            StartAt::Time(at_ms) => self
                .parts
                .places
                .at_time(partition, at_ms, &self.parts.readers)
                .await
                .map_err(failed),
        }
    }
}
