//! Reading one partition that the group gave to this host.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::consumer::{GroupContext, PartitionId};
use crate::record::LogRecord;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The records of one partition, in order, from the start position on. Not reading it is
/// the back-pressure: fetched records wait in a bounded queue, and fetching pauses.
pub struct Partition {
    id: PartitionId,
    queue: PartitionQueue<GroupContext>,
    arrived: Arc<Notify>,
    /// The next offset that is expected; below it, records are repeats of a fetch.
    next: i64,
    /// The log does not have the next record.
    lost: bool,
    cluster: Cluster,
}

/// The next record of a partition is no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record at offset {next} is not in the log any more")]
pub struct PositionLost {
    /// The offset of the record.
    pub next: i64,
}

/// See [`Partition::release`].
#[derive(Debug, Clone)]
pub struct Release {
    id: PartitionId,
    cluster: Cluster,
}

impl Release {
    /// Whether anybody needs to be told.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.cluster.is_embedded()
    }

    /// Nobody will read anything before `next` again.
    pub fn up_to(&self, next: i64) {
        if let Some(unread) = self.cluster.unread() {
            unread.read_to(&self.id.topic, self.id.partition, next);
        }
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("id", &self.id)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Partition {
    pub(crate) fn new(
        id: PartitionId,
        next: i64,
        mut queue: PartitionQueue<GroupContext>,
        cluster: Cluster,
    ) -> Self {
        let arrived = Arc::new(Notify::new());
        let ring = Arc::clone(&arrived);
        queue.set_nonempty_callback(move || ring.notify_one());
        // What came before the callback was set rang no bell.
        arrived.notify_one();
        Self {
            id,
            queue,
            arrived,
            next,
            lost: false,
            cluster,
        }
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

    /// Says that nobody will read anything before `next` again. The embedded broker may drop it
    /// then; elsewhere it means nothing.
    #[must_use]
    pub fn release(&self) -> Release {
        Release {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
        }
    }

    /// Waits for at least one record and answers what is there, at most `max_records` and
    /// about `max_bytes`. Cancel-safe.
    ///
    /// # Errors
    /// When the log no longer has the next record; nothing more comes then.
    pub async fn next_batch(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, PositionLost> {
        loop {
            let batch = self.ready_batch(max_records, max_bytes)?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            // librdkafka rings when a queue is no longer empty. Looking without being rung costs
            // nothing and heals whatever keeps a bell from being heard.
            let _ = timeout(LOOK_EVERY, self.arrived.notified()).await;
        }
    }

    fn ready_batch(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, PositionLost> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < max_records && bytes < max_bytes {
            let record = match self.ready_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(_) if !batch.is_empty() => {
                    self.lost = true;
                    break;
                }
                Err(lost) => return Err(lost),
            };
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
        Ok(batch)
    }

    fn ready_record(&mut self) -> Result<Option<LogRecord>, PositionLost> {
        if self.lost {
            return Err(PositionLost { next: self.next });
        }
        loop {
            match self.queue.poll(Duration::ZERO) {
                None => return Ok(None),
                Some(Ok(message)) => {
                    debug_assert_eq!(
                        message.partition(),
                        self.id.partition,
                        "a foreign partition's record"
                    );
                    return Ok(Some(LogRecord::from_message(&message)));
                }
                // librdkafka fetches nothing more after this.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    self.lost = true;
                    return Err(PositionLost { next: self.next });
                }
                Some(Err(error)) => {
                    metrics::counter!("carillon_kafka_errors_total", "client" => "consumer")
                        .increment(1);
                    tracing::warn!(partition = %self.id, %error, "reading from Kafka");
                }
            }
        }
    }
}
