//! Apache Kafka for a test: one KRaft node that is broker and controller, brought by Maven.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::child::{Child, free_ports, wait_until};

/// A busy machine may need long for a Java process; an idle one needs about three seconds.
const START_BOUND: Duration = Duration::from_secs(90);
/// How long one request to the broker may take.
const REQUEST_BOUND: Duration = Duration::from_secs(10);

/// A broker that ends with the value. Its data stays over [`Kafka::restart`].
#[derive(Debug)]
pub struct Kafka {
    child: Child,
    command: Vec<String>,
    folder: PathBuf,
    log: PathBuf,
    bootstrap: String,
}

/// One record as a test writes or reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The key; none lets the client choose the partition.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// Headers with text values; empty when produced by a test.
    pub headers: Vec<(String, String)>,
    /// Where it stands; ignored when produced.
    pub position: (i32, i64),
    /// Its own time, milliseconds since 1970; none, when produced: now.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record to produce.
    #[must_use]
    pub fn new(topic: &str, key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.to_owned(),
            key: Some(key.as_bytes().to_vec()),
            value: value.into(),
            headers: Vec::new(),
            position: (0, 0),
            timestamp_ms: None,
        }
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Kafka {
    /// Formats a temporary folder, starts the node and waits until it answers.
    ///
    /// # Errors
    /// When the jars are missing (`make test` brings them), Java cannot be started, or the node
    /// does not answer in time; the end of its log is part of the message.
    pub async fn start() -> Result<Self> {
        let jars = jars()?;
        let folder = tempfile::Builder::new()
            .prefix("carillon-kafka-")
            .tempdir()?
            .keep();
        let log = folder.join("broker.log");
        let properties = folder.join("server.properties");
        let [broker, controller] = free_ports()?;
        std::fs::write(&properties, configuration(&folder, broker, controller))?;
        format_storage(&jars, &properties)?;
        let command = broker_command(&jars, &properties);
        let mut kafka = Self {
            child: Child::start(&command, &folder, &log)?,
            command,
            folder,
            log,
            bootstrap: format!("127.0.0.1:{broker}"),
        };
        kafka.wait_ready().await?;
        Ok(kafka)
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The process id of the Java process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends the node in order (SIGTERM, then SIGKILL); the data stays.
    ///
    /// # Errors
    /// When it was stopped before.
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(|_| ())
    }

    /// `kill -9`; the data stays.
    ///
    /// # Errors
    /// When it was stopped before.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Starts the node again, on the same ports with the same data, after [`Kafka::stop`] or
    /// [`Kafka::kill`].
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.child = Child::start(&self.command, &self.folder, &self.log)?;
        self.wait_ready().await
    }

    /// Creates a topic; one that exists already is no error.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_BOUND));
        for result in admin.create_topics([&topic], &options).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => bail!("topic {name} was not created: {code}"),
            }
        }
        Ok(())
    }

    /// Takes the records before an offset out of a partition, as retention does.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn retire(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_BOUND));
        admin.delete_records(&list, &options).await?;
        Ok(())
    }

    /// Produces the records in order, the same key always to the same partition, and waits for
    /// every acknowledgement.
    ///
    /// # Errors
    /// When the broker does not take them within a minute.
    pub async fn produce(&self, records: Vec<Record>) -> Result<()> {
        let producer = self.producer()?;
        tokio::task::spawn_blocking(move || {
            for record in &records {
                send(&producer, record)?;
            }
            producer
                .flush(Duration::from_secs(60))
                .context("the broker did not acknowledge the records")
        })
        .await?
    }

    /// A producer with the settings that the tests rely on.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn producer(&self) -> Result<BaseProducer> {
        let producer = self
            .client()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .create()?;
        Ok(producer)
    }

    /// A producer that sends each record at once, where its time is measured.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn prompt_producer(&self) -> Result<BaseProducer> {
        let producer = self
            .client()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .create()?;
        Ok(producer)
    }

    /// Everything that a topic holds now, partition by partition.
    ///
    /// # Errors
    /// When the topic does not exist or cannot be read.
    pub async fn read_all(&self, topic: &str) -> Result<Vec<Record>> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "carillon-test-reader")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || read_all(&consumer, &topic)).await?
    }

    /// The offset after the last record of each partition of a topic.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub async fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        let consumer: BaseConsumer = self.client().create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let partitions = partitions(&consumer, &topic)?;
            let end = |partition| {
                Ok(consumer
                    .fetch_watermarks(&topic, partition, REQUEST_BOUND)?
                    .1)
            };
            partitions.into_iter().map(end).collect()
        })
        .await?
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            // The broker comes back within seconds.
            .set("reconnect.backoff.max.ms", "200");
        config
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let consumer: BaseConsumer = self.client().create()?;
        let consumer = std::sync::Arc::new(consumer);
        let child = &self.child;
        let ready = wait_until("Apache Kafka to answer", START_BOUND, async || {
            if !child.is_running() {
                // The bound has no use then; the caller prints the log.
                return Ok(Some(false));
            }
            let consumer = consumer.clone();
            let metadata = tokio::task::spawn_blocking(move || {
                consumer
                    .fetch_metadata(None, Duration::from_millis(500))
                    .map(|metadata| metadata.brokers().len())
            });
            Ok((metadata.await?? == 1).then_some(true))
        });
        match ready.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(anyhow!(
                "Apache Kafka ended while starting:\n{}",
                child.log_tail()
            )),
            Err(error) => Err(error.context(child.log_tail())),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Refused where it was stopped before; then the folder is still there.
        let _ = self.child.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Hands one record to a producer, waiting where its queue is full.
///
/// # Errors
/// When the client refuses the record.
pub fn send(producer: &BaseProducer, record: &Record) -> Result<()> {
    loop {
        let mut message: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&record.topic).payload(&record.value);
        if let Some(key) = &record.key {
            message = message.key(key);
        }
        if let Some(timestamp_ms) = record.timestamp_ms {
            message = message.timestamp(timestamp_ms);
        }
        match producer.send(message) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST_BOUND)?;
    let found = metadata.topics().first().context("no metadata")?;
    if let Some(error) = found.error() {
        bail!("topic {topic}: {}", RDKafkaErrorCode::from(error));
    }
    let mut ids: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn read_all(consumer: &BaseConsumer, topic: &str) -> Result<Vec<Record>> {
    let mut list = TopicPartitionList::new();
    let mut missing = 0;
    for partition in partitions(consumer, topic)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, REQUEST_BOUND)?;
        list.add_partition_offset(topic, partition, Offset::Offset(low))?;
        missing += high - low;
    }
    consumer.assign(&list)?;
    let mut records = Vec::new();
    while missing > 0 {
        let message = consumer
            .poll(REQUEST_BOUND)
            .with_context(|| format!("{missing} records of {topic} did not come"))??;
        missing -= 1;
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter());
        records.push(Record {
            topic: topic.to_owned(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| {
                    let value = String::from_utf8_lossy(header.value.unwrap_or_default());
                    (header.key.to_owned(), value.into_owned())
                })
                .collect(),
            position: (message.partition(), message.offset()),
            timestamp_ms: message.timestamp().to_millis(),
        });
    }
    records.sort_by_key(|record| record.position);
    Ok(records)
}

/// The folder of jars: `CARILLON_KAFKA_JARS`, else `target/kafka`.
fn jars() -> Result<PathBuf> {
    let folder = match std::env::var_os("CARILLON_KAFKA_JARS") {
        Some(folder) => PathBuf::from(folder),
        None => crate::target_folder()?.join("kafka"),
    };
    if !folder.is_dir() {
        bail!(
            "no Apache Kafka at {}: run `tests/setup.sh test`, which brings it with Maven",
            folder.display()
        );
    }
    Ok(folder)
}

fn configuration(folder: &Path, broker: u16, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller
node.id=1
listeners=BROKER://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{broker}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=4194304
log.retention.check.interval.ms=1000
num.network.threads=2
num.io.threads=4
",
        data.display()
    )
}

fn class_path(jars: &Path) -> String {
    format!("{}/*", jars.display())
}

/// A cluster id of this broker's own, since cursors belong to one cluster: 16 random bytes in
/// Kafka's writing, URL-safe base64 without padding.
fn cluster_id() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut id: String = (0..21)
        .map(|_| char::from(DIGITS[rand::random_range(0..DIGITS.len())]))
        .collect();
    // The last of 22 digits carries two bits; `A` is both of them zero.
    id.push('A');
    id
}

fn format_storage(jars: &Path, properties: &Path) -> Result<()> {
    let output = Command::new("java")
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(class_path(jars))
        .args(["kafka.tools.StorageTool", "format"])
        .args(["-t", &cluster_id(), "-c"])
        .arg(properties)
        .output()
        .context("cannot start java; Apache Kafka 4 needs Java 17 or newer")?;
    if !output.status.success() {
        bail!(
            "Kafka's StorageTool failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn broker_command(jars: &Path, properties: &Path) -> Vec<String> {
    let logging = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/log4j2.properties");
    vec![
        "java".to_owned(),
        "-Xmx512m".to_owned(),
        "-Xms128m".to_owned(),
        format!("-Dlog4j2.configurationFile={}", logging.display()),
        "-cp".to_owned(),
        class_path(jars),
        "kafka.Kafka".to_owned(),
        properties.display().to_string(),
    ]
}
