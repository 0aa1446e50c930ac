//! Where logs begin and end, and which offset belongs to a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::config::ConsumerConfig;
use crate::consumer::{PartitionId, Watermarks};
use crate::error::BusError;
use crate::reader::ReaderPool;

/// How long brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that are looked at in one turn where the broker cannot tell times itself.
const SCANNED_AT_ONCE: usize = 1_000;
const SCANNED_BYTES: usize = 1 << 20;

/// Asks the brokers about places in their logs, without reading records. Cheap to clone.
#[derive(Clone)]
pub struct Places {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    config: ConsumerConfig,
    client: Mutex<Option<BaseConsumer>>,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places")
            .field("cluster", &self.inner.cluster)
            .finish_non_exhaustive()
    }
}

impl Places {
    /// Connects on first use.
    #[must_use]
    pub fn new(cluster: &Cluster, config: &ConsumerConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster: cluster.clone(),
                config: config.clone(),
                client: Mutex::default(),
            }),
        }
    }

    /// The offsets after the last record of each partition.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn ends(
        &self,
        partitions: &[PartitionId],
    ) -> Result<HashMap<PartitionId, i64>, BusError> {
        self.look_up(partitions, Offset::End).await
    }

    /// Where a partition begins and ends.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn watermarks(&self, partition: &PartitionId) -> Result<Watermarks, BusError> {
        let id = partition.clone();
        self.ask(move |client| {
            let (low, high) = client.fetch_watermarks(&id.topic, id.partition, PATIENCE)?;
            Ok(Watermarks { low, high })
        })
        .await
    }

    /// The offset of the first record that was logged at or after `time_ms` (milliseconds since
    /// 1970), or the end of the log where there is none. `readers` help where the broker cannot
    /// tell: the embedded one.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn at_time(
        &self,
        partition: &PartitionId,
        time_ms: i64,
        readers: &ReaderPool,
    ) -> Result<i64, BusError> {
        let marks = self.watermarks(partition).await?;
        if self.inner.cluster.is_embedded() {
            return scan(partition, time_ms, marks, readers).await;
        }
        let found = self
            .look_up(
                std::slice::from_ref(partition),
                Offset::Offset(time_ms.max(0)),
            )
            .await?;
        Ok(found.get(partition).copied().unwrap_or(marks.high))
    }

    /// `wanted` is a time in the place of an offset, as librdkafka's call takes it.
    async fn look_up(
        &self,
        partitions: &[PartitionId],
        wanted: Offset,
    ) -> Result<HashMap<PartitionId, i64>, BusError> {
        let partitions = partitions.to_vec();
        self.ask(move |client| {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for id in &partitions {
                list.add_partition_offset(&id.topic, id.partition, wanted)?;
            }
            let answered = client.offsets_for_times(list, PATIENCE)?;
            Ok(answered
                .elements()
                .iter()
                .filter_map(|element| match element.offset() {
                    Offset::Offset(offset) => {
                        let partition = PartitionId {
                            topic: element.topic().into(),
                            partition: element.partition(),
                        };
                        Some((partition, offset))
                    }
                    _ => None,
                })
                .collect())
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BaseConsumer) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, BusError> {
        let inner = Arc::clone(&self.inner);
        let answered = tokio::task::spawn_blocking(move || {
            let idle = inner
                .client
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let client = match idle {
                Some(client) => client,
                None => inner
                    .config
                    .reader_client(
                        inner.cluster.bootstrap_servers(),
                        inner.cluster.is_embedded(),
                    )?
                    .create()?,
            };
            let answer = ask(&client).map_err(|error| BusError::Unreachable {
                servers: inner.cluster.bootstrap_servers().to_owned(),
                waited_ms: PATIENCE.as_millis(),
                source: Box::new(error),
            });
            *inner.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
            answer
        });
        answered
            .await
            .unwrap_or_else(|_| Err(BusError::from(KafkaError::Canceled)))
    }
}

async fn scan(
    partition: &PartitionId,
    time_ms: i64,
    marks: Watermarks,
    readers: &ReaderPool,
) -> Result<i64, BusError> {
    let mut next = marks.low;
    while next < marks.high {
        let stretch = readers
            .read(partition, next, marks.high, SCANNED_AT_ONCE, SCANNED_BYTES)
            .await
            .map_err(|error| BusError::Config {
                section: "notification_service.kafka",
                reason: error.to_string(),
            })?;
        if let Some(found) = stretch
            .records
            .iter()
            .find(|record| record.timestamp_ms >= time_ms)
        {
            return Ok(found.offset);
        }
        next = stretch.next;
    }
    Ok(marks.high)
}
