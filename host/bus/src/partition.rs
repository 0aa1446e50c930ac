//! Reading one partition that the group gave to this host.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use tokio::sync::Notify;

use crate::cluster::Cluster;
use crate::consumer::{GroupContext, PartitionId};
use crate::record::LogRecord;

/// The records of one partition, in order, from the start position on. Not reading it is
/// the back-pressure: fetched records wait in a bounded queue, and fetching pauses.
pub struct Partition {
    id: PartitionId,
    /// Fetched before the partition had a queue of its own.
    early: VecDeque<LogRecord>,
    queue: PartitionQueue<GroupContext>,
    arrived: Arc<Notify>,
    /// The next offset that is expected; below it, records are repeats of a fetch.
    next: i64,
    cluster: Cluster,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Partition {
    pub(crate) fn new(
        id: PartitionId,
        next: i64,
        early: VecDeque<LogRecord>,
        mut queue: PartitionQueue<GroupContext>,
        cluster: Cluster,
    ) -> Self {
        let arrived = Arc::new(Notify::new());
        let ring = Arc::clone(&arrived);
        queue.set_nonempty_callback(move || ring.notify_one());
        // What came before the callback was set rang no bell.
        arrived.notify_one();
        Self { id, early, queue, arrived, next, cluster }
    }

    /// Which partition this is.
    #[must_use]
    pub fn id(&self) -> &PartitionId {
        &self.id
    }

    /// The offset of the next record that [`Self::next_batch`] may answer.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// Waits for at least one record and answers what is there, at most `max_records` and
    /// about `max_bytes`. Cancel-safe.
    pub async fn next_batch(&mut self, max_records: usize, max_bytes: usize) -> Vec<LogRecord> {
        loop {
            let batch = self.ready_batch(max_records, max_bytes);
            if !batch.is_empty() {
                if let Some(unread) = self.cluster.unread() {
                    unread.read_to(&self.id.topic, self.id.partition, self.next);
                }
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    fn ready_batch(&mut self, max_records: usize, max_bytes: usize) -> Vec<LogRecord> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < max_records && bytes < max_bytes {
            let Some(record) = self.ready_record() else { break };
            if record.offset < self.next {
                continue;
            }
            bytes += record.size_bytes();
            self.next = record.offset + 1;
            batch.push(record);
        }
        if batch.len() == max_records || bytes >= max_bytes {
            // There may be more, and the callback rings only for an empty queue.
            self.arrived.notify_one();
        }
        batch
    }

    fn ready_record(&mut self) -> Option<LogRecord> {
        if let Some(record) = self.early.pop_front() {
            return Some(record);
        }
        loop {
            match self.queue.poll(Duration::ZERO)? {
                Ok(message) => {
                    debug_assert_eq!(message.partition(), self.id.partition, "a foreign partition's record");
                    return Some(LogRecord::from_message(&message));
                }
                Err(error) => {
                    metrics::counter!("carillon_kafka_errors_total", "client" => "consumer").increment(1);
                    tracing::warn!(partition = %self.id, %error, "reading from Kafka");
                }
            }
        }
    }
}
