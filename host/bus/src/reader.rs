//! Readers for those who read a partition at a place of their own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::config::ConsumerConfig;
use crate::consumer::{PartitionId, Watermarks};
use crate::error::{BusError, ReadError};
use crate::record::LogRecord;

/// The longest turn of a reader.
const TURN: Duration = Duration::from_secs(5);
const FETCH_WAIT: &str = "fetch.wait.max.ms";
const WATERMARK_PATIENCE: Duration = Duration::from_secs(10);

/// A bounded number of readers that take turns.
pub struct ReaderPool {
    cluster: Cluster,
    config: ConsumerConfig,
    idle: Arc<Mutex<Vec<Reader>>>,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for ReaderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderPool")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// What was read in one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The records, in order.
    pub records: Vec<LogRecord>,
    /// Where to go on: there is no record between the last one and here. Offsets have holes
    /// where transactions or compaction left them.
    pub next: i64,
}

/// What librdkafka tells a reader.
struct ReaderContext;

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is where many turns end, and no trouble.
        if matches!(
            error,
            KafkaError::Global(RDKafkaErrorCode::PartitionEOF) | KafkaError::PartitionEOF(_)
        ) {
            return;
        }
        metrics::counter!("carillon_kafka_errors_total", "client" => "reader").increment(1);
        tracing::warn!(%error, reason, "Kafka reader");
    }
}

impl ConsumerContext for ReaderContext {}

struct Reader {
    client: BaseConsumer<ReaderContext>,
    /// Where the next record comes from without seeking.
    place: Option<(PartitionId, i64)>,
}

impl ReaderPool {
    /// At most `readers` at a time.
    #[must_use]
    pub fn new(cluster: &Cluster, config: &ConsumerConfig, readers: usize) -> Self {
        Self {
            cluster: cluster.clone(),
            config: config.clone(),
            idle: Arc::default(),
            turns: Arc::new(Semaphore::new(readers.max(1))),
        }
    }

    /// Reads from `offset` on, at most `max_records` and about `max_bytes`, and up to but not
    /// including `until`, which the log must reach. Waits for a turn.
    ///
    /// # Errors
    /// When the offset is not in the log, or no broker answers.
    pub async fn read(
        &self,
        id: &PartitionId,
        offset: i64,
        until: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Stretch, ReadError> {
        if offset >= until {
            return Ok(Stretch {
                records: Vec::new(),
                next: offset,
            });
        }
        let failed = |reason: String| ReadError::Failed {
            topic: id.topic.to_string(),
            partition: id.partition,
            reason,
        };
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let idle = self.take(id, offset);
        let reader = match idle {
            Some(reader) => reader,
            None => self.open().map_err(|error| failed(error.to_string()))?,
        };
        let task = {
            let (id, idle) = (id.clone(), Arc::clone(&self.idle));
            tokio::task::spawn_blocking(move || {
                let mut reader = reader;
                let result = reader.read(&id, offset, until, max_records, max_bytes);
                if result.is_err() {
                    reader.place = None;
                }
                // Also when nobody waits any more: the turn ends when the reading does.
                idle.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(reader);
                drop(turn);
                result
            })
        };
        task.await.map_err(|error| failed(error.to_string()))?
    }

    fn take(&self, id: &PartitionId, offset: i64) -> Option<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let there = idle.iter().position(|reader| {
            reader
                .place
                .as_ref()
                .is_some_and(|(place, next)| place == id && *next == offset)
        });
        match there {
            Some(index) => Some(idle.swap_remove(index)),
            None => idle.pop(),
        }
    }

    fn open(&self) -> Result<Reader, BusError> {
        let mut client = self
            .config
            .reader_client(self.cluster.bootstrap_servers(), self.cluster.is_embedded())?;
        client
            .set("queued.max.messages.kbytes", "4096")
            .set("enable.partition.eof", "true");
        // A reader moves from one partition to another, and the broker holds the fetch of the old
        // place for this long before it hears of the new one.
        if !self.config.properties.contains_key(FETCH_WAIT) {
            client.set(FETCH_WAIT, "10");
        }
        Ok(Reader {
            client: client.create_with_context(ReaderContext)?,
            place: None,
        })
    }
}

impl Reader {
    fn read(
        &mut self,
        id: &PartitionId,
        offset: i64,
        mut until: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Stretch, ReadError> {
        let failed = |error: KafkaError| ReadError::Failed {
            topic: id.topic.to_string(),
            partition: id.partition,
            reason: error.to_string(),
        };
        let moved = self
            .place
            .as_ref()
            .is_none_or(|(place, next)| place != id || *next != offset);
        if moved {
            self.place = None;
            let (low, high) = self
                .client
                .fetch_watermarks(&id.topic, id.partition, WATERMARK_PATIENCE)
                .map_err(failed)?;
            in_range(id, offset, Watermarks { low, high })?;
            until = until.min(high);
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(&id.topic, id.partition, Offset::Offset(offset))
                .map_err(failed)?;
            self.client.assign(&list).map_err(failed)?;
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut next = offset;
        let mut ended = false;
        let deadline = Instant::now() + TURN;
        while records.len() < max_records
            && bytes < max_bytes
            && next < until
            && !ended
            && Instant::now() < deadline
        {
            match self
                .client
                .poll(Duration::from_millis(if records.is_empty() {
                    500
                } else {
                    20
                })) {
                Some(Ok(message)) => {
                    next = message.offset() + 1;
                    let record = LogRecord::from_message(&message);
                    bytes += record.size_bytes();
                    records.push(record);
                }
                // The log reached `until` before this fetching began, so all up to there has been
                // read. A reader that goes on from an earlier turn may find the end of that turn
                // here, and must look again.
                Some(Err(KafkaError::PartitionEOF(_))) if moved => next = next.max(until),
                Some(Err(KafkaError::PartitionEOF(_))) => ended = true,
                // librdkafka fetches nothing more after this.
                Some(Err(
                    error @ KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset),
                )) => {
                    let (low, high) = self
                        .client
                        .fetch_watermarks(&id.topic, id.partition, WATERMARK_PATIENCE)
                        .map_err(failed)?;
                    in_range(id, next, Watermarks { low, high })?;
                    return Err(failed(error));
                }
                Some(Err(error)) => return Err(failed(error)),
                // Enough for a turn: what is there is worth more than waiting for the rest.
                None if !records.is_empty() => break,
                None => {}
            }
        }
        let overshot = records.last().is_some_and(|record| record.offset >= until);
        records.retain(|record| record.offset < until);
        // A reader that has read beyond cannot go on from `until` without seeking.
        self.place = (!overshot && !ended && next < until).then(|| (id.clone(), next));
        if self.place.is_none() {
            // Otherwise it would go on asking for what nobody reads. It assigns anew in any case.
            let _ = self.client.unassign();
        }
        Ok(Stretch {
            records,
            next: next.min(until),
        })
    }
}

fn in_range(id: &PartitionId, offset: i64, marks: Watermarks) -> Result<(), ReadError> {
    if (marks.low..=marks.high).contains(&offset) {
        return Ok(());
    }
    Err(ReadError::OutOfRange {
        topic: id.topic.to_string(),
        partition: id.partition,
        offset,
        low: marks.low,
        high: marks.high,
    })
}
