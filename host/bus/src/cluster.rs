//! Where the log lives.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use uuid::Uuid;

use crate::config::{ConsumerConfig, ProducerConfig};
use crate::error::BusError;
use crate::unread::Unread;

/// What the cluster ids of embedded brokers begin with.
pub const EMBEDDED_CLUSTER_PREFIX: &str = "embedded-";

/// Partitions of each topic of the embedded broker.
pub(crate) const EMBEDDED_PARTITIONS: i32 = 4;

/// Where the log lives: Kafka servers, or the broker in this process. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) servers: String,
    pub(crate) embedded: Option<Embedded>,
}

pub(crate) struct Embedded {
    /// To the thread that owns the broker, which librdkafka binds to one thread.
    requests: mpsc::Sender<NewTopic>,
    /// Drawn at start: this log ends with the process.
    id: String,
    pub(crate) unread: Unread,
}

struct NewTopic {
    name: String,
    done: mpsc::Sender<KafkaResult<()>>,
}

impl Embedded {
    /// Makes a topic; one that exists already is left as it is.
    pub(crate) fn create_topic(&self, topic: &str) -> Result<(), BusError> {
        let (done, answer) = mpsc::channel();
        self.requests
            .send(NewTopic {
                name: topic.to_owned(),
                done,
            })
            .map_err(|error| embedded_failed(&error.to_string()))?;
        match answer
            .recv()
            .map_err(|error| embedded_failed(&error.to_string()))?
        {
            Ok(()) | Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs until nobody can ask any more; then the broker and its log end.
fn own_broker(started: &mpsc::Sender<KafkaResult<String>>, topics: &mpsc::Receiver<NewTopic>) {
    let broker = match MockCluster::new(1) {
        Ok(broker) => broker,
        Err(error) => {
            // Whoever asked is gone if this fails.
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(broker.bootstrap_servers()));
    while let Ok(topic) = topics.recv() {
        let _ = topic
            .done
            .send(broker.create_topic(&topic.name, EMBEDDED_PARTITIONS, 1));
    }
}

fn embedded_failed(reason: &str) -> BusError {
    BusError::Config {
        section: "notification_service.kafka",
        reason: format!("the embedded broker does not run: {reason}"),
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("servers", &self.inner.servers)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The Kafka that these servers belong to.
    #[must_use]
    pub fn servers(servers: &[String]) -> Self {
        Self {
            inner: Arc::new(Inner {
                servers: servers.join(","),
                embedded: None,
            }),
        }
    }

    /// A broker in this process. Its log ends with the process, and it drops the oldest
    /// records of a partition beyond 5 MB; [`crate::Producer`]s wait before that happens.
    ///
    /// # Errors
    /// When no port can be opened on the loopback address.
    pub fn embedded() -> Result<Self, BusError> {
        let (requests, topics) = mpsc::channel::<NewTopic>();
        let (started, answer) = mpsc::channel();
        std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || own_broker(&started, &topics))
            .map_err(|error| embedded_failed(&error.to_string()))?;
        let servers = answer
            .recv()
            .map_err(|error| embedded_failed(&error.to_string()))??;
        let id = format!("{EMBEDDED_CLUSTER_PREFIX}{}", Uuid::now_v7().simple());
        let embedded = Embedded {
            requests,
            id,
            unread: Unread::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                servers,
                embedded: Some(embedded),
            }),
        })
    }

    /// Whether the broker is in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.inner.embedded.is_some()
    }

    /// `host:port`, comma-separated.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.inner.servers
    }

    /// The id of the cluster: half of the identity of a log.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn id(&self, config: &ConsumerConfig, patience: Duration) -> Result<String, BusError> {
        if let Some(embedded) = &self.inner.embedded {
            return Ok(embedded.id.clone());
        }
        let consumer: BaseConsumer = config.reader_client(&self.inner.servers, false)?.create()?;
        self.answer(patience, || {
            let metadata = consumer
                .client()
                .fetch_metadata(Some("__none"), Duration::from_secs(2));
            // Without it a cursor would not know its log; a name of our own would be another log
            // as soon as the cluster says its id.
            let unnamed = || KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownProtocol);
            let id = consumer.client().fetch_cluster_id(Duration::from_secs(2));
            metadata.and_then(|_| id.ok_or_else(unnamed))
        })
    }

    /// Repeats `ask` until it answers or patience ends, and says who did not answer.
    pub(crate) fn answer<T>(
        &self,
        patience: Duration,
        ask: impl Fn() -> KafkaResult<T>,
    ) -> Result<T, BusError> {
        let started = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) if started.elapsed() < patience => {
                    tracing::warn!(servers = self.inner.servers, %error, "no Kafka broker answers yet");
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(source) => {
                    return Err(BusError::Unreachable {
                        servers: self.inner.servers.clone(),
                        waited_ms: started.elapsed().as_millis(),
                        source: Box::new(source),
                    });
                }
            }
        }
    }

    pub(crate) fn producer_client(
        &self,
        config: &ProducerConfig,
    ) -> Result<ClientConfig, BusError> {
        config.client(&self.inner.servers)
    }

    pub(crate) fn unread(&self) -> Option<&Unread> {
        self.inner
            .embedded
            .as_ref()
            .map(|embedded| &embedded.unread)
    }
}
