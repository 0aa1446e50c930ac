//! Appending records.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::cluster::Cluster;
use crate::config::ProducerConfig;
use crate::error::{BusError, SendError};
use crate::record::Record;

/// Where a record stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Appends records: idempotent, `acks=all`, in the order of [`Producer::enqueue`] per key.
/// Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<ThreadedProducer<Reports>>,
    cluster: Cluster,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Resolves once all in-sync replicas hold the record. Dropping it does not take the
/// record back.
#[derive(Debug)]
pub struct Delivery {
    report: oneshot::Receiver<Result<Sent, KafkaError>>,
    topic: String,
}

impl Producer {
    /// A producer for `cluster`.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(cluster: &Cluster, config: &ProducerConfig) -> Result<Self, BusError> {
        let reports = Reports {
            cluster: cluster.clone(),
        };
        let inner = cluster
            .producer_client(config)?
            .create_with_context(reports)?;
        Ok(Self {
            inner: Arc::new(inner),
            cluster: cluster.clone(),
        })
    }

    /// Whether the broker is in this process, and its log ends with it.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.cluster.is_embedded()
    }

    /// Appends a record and waits until it is safe.
    ///
    /// # Errors
    /// When the log did not take it. It may be sent again.
    pub async fn send(&self, record: Record) -> Result<Sent, SendError> {
        self.enqueue(record).await?.await
    }

    /// Hands a record over to be appended, and waits only while there is no room: the local
    /// queue is full, or the embedded broker would drop what nobody has read.
    ///
    /// # Errors
    /// When the record is refused at once, for its size for example.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, SendError> {
        let bytes = record.size_bytes();
        if let Some(unread) = self.cluster.unread() {
            unread.reserve(&record.topic, bytes).await;
        }
        // Whoever asked may lose interest while there is no room in the local queue.
        let reserved = Reserved {
            cluster: &self.cluster,
            topic: &record.topic,
            bytes,
        };
        let headers = record.owned_headers();
        let (sender, report) = oneshot::channel();
        let mut opaque = Box::new(Report {
            sender,
            topic: record.topic.clone(),
            bytes,
        });
        loop {
            let mut message: BaseRecord<'_, Vec<u8>, Vec<u8>, Box<Report>> =
                BaseRecord::with_opaque_to(&record.topic, opaque).payload(&record.value);
            if let Some(key) = &record.key {
                message = message.key(key);
            }
            if let Some(timestamp) = record.timestamp_ms {
                message = message.timestamp(timestamp);
            }
            if let Some(headers) = headers.clone() {
                message = message.headers(headers);
            }
            match self.inner.send(message) {
                Ok(()) => {
                    // From here on the delivery report settles it.
                    std::mem::forget(reserved);
                    return Ok(Delivery {
                        report,
                        topic: record.topic,
                    });
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    opaque = back.delivery_opaque;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((source, _)) => {
                    drop(reserved);
                    return Err(SendError::Kafka {
                        topic: record.topic,
                        source,
                    });
                }
            }
        }
    }

    /// Waits until everything that was handed over is safe or has failed, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        if let Err(error) = self.inner.flush(patience) {
            tracing::warn!(%error, "some records were not delivered before the producer closed");
        }
    }
}

impl Future for Delivery {
    type Output = Result<Sent, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.report)
            .poll(context)
            .map(|report| match report {
                Ok(Ok(sent)) => Ok(sent),
                Ok(Err(source)) => Err(SendError::Kafka {
                    topic: self.topic.clone(),
                    source,
                }),
                Err(_) => Err(SendError::Closed {
                    topic: self.topic.clone(),
                }),
            })
    }
}

/// Room that was reserved and not yet used.
struct Reserved<'a> {
    cluster: &'a Cluster,
    topic: &'a str,
    bytes: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(unread) = self.cluster.unread() {
            unread.settle(self.topic, self.bytes, None);
        }
    }
}

struct Report {
    sender: oneshot::Sender<Result<Sent, KafkaError>>,
    topic: String,
    bytes: usize,
}

/// Receives librdkafka's delivery reports.
struct Reports {
    cluster: Cluster,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        metrics::counter!("carillon_kafka_errors_total", "client" => "producer").increment(1);
        tracing::warn!(%error, reason, "Kafka producer");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Self::DeliveryOpaque) {
        let result = match result {
            Ok(message) => Ok(Sent {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(error.clone()),
        };
        if let Some(unread) = self.cluster.unread() {
            let place = result
                .as_ref()
                .ok()
                .map(|sent| (sent.partition, sent.offset));
            unread.settle(&report.topic, report.bytes, place);
        }
        // Whoever asked may not wait any more.
        let _ = report.sender.send(result);
    }
}
