//! The settings of both seeds, mapped onto librdkafka's.

use std::collections::BTreeMap;

use carillon_events::Topic;
use rdkafka::ClientConfig;
use serde::Deserialize;

use crate::error::BusError;

const CONSUMER_SECTION: &str = "notification_service.kafka";

/// Keys that the bus sets itself because a promise hangs on them.
const OWN_KEYS: [(&str, &str); 6] = [
    ("acks", "every event must be on all in-sync replicas"),
    (
        "enable.idempotence",
        "a retried record must not stand in the log twice",
    ),
    (
        "enable.auto.commit",
        "offsets are committed only after the store holds them; use enable_auto_commit",
    ),
    (
        "auto.offset.reset",
        "a lost position must stop its lane, not skip events; use auto_offset_reset",
    ),
    (
        "partition.assignment.strategy",
        "revoked partitions are drained as a whole",
    ),
    (
        "group.protocol",
        "the classic protocol is the one that is supported",
    ),
];

/// `[booking_service.kafka]`: how events are produced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerConfig {
    /// `host:port` of some brokers; empty: the embedded broker.
    pub bootstrap_servers: Vec<String>,
    /// What brokers log this client as.
    pub client_id: String,
    /// Must be `all`.
    pub acks: String,
    /// How often librdkafka retries a request; the outbox retries without end.
    pub retries: u32,
    /// The largest batch, in bytes.
    pub batch_size: u32,
    /// How long a batch waits to fill, in milliseconds.
    pub linger_ms: u32,
    /// How much may wait to be sent, in bytes.
    pub buffer_memory: u64,
    /// The names of topics.
    pub topics: TopicNames,
    /// Passed through to librdkafka: SASL, TLS and the like.
    pub properties: BTreeMap<String, String>,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            client_id: "booking-service".to_owned(),
            acks: "all".to_owned(),
            retries: 3,
            batch_size: 16_384,
            linger_ms: 10,
            buffer_memory: 33_554_432,
            topics: TopicNames::default(),
            properties: BTreeMap::new(),
        }
    }
}

/// Where a partition starts that has no cursor yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// At the next record to come.
    Latest,
}

/// What to do where a cursor does not fit the log: another log under the same name, or
/// records that retention has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPosition {
    /// Stop the partition and say so, until the operator has chosen.
    Stop,
    /// Go on at the first record there is.
    Earliest,
    /// Go on at the next record to come.
    Latest,
}

/// `[notification_service.kafka]`: how events are consumed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerConfig {
    /// `host:port` of some brokers; empty: the embedded broker.
    pub bootstrap_servers: Vec<String>,
    /// What brokers log this client as.
    pub client_id: String,
    /// The consumer group.
    pub group_id: String,
    /// Where a partition without a cursor starts.
    pub auto_offset_reset: OffsetReset,
    /// Whether offsets are committed to Kafka for those who watch lag. The store's cursors
    /// are the truth either way.
    pub enable_auto_commit: bool,
    /// How often, in milliseconds.
    pub auto_commit_interval_ms: u32,
    /// Without a heartbeat for this long the group takes the partitions away, in
    /// milliseconds.
    pub session_timeout_ms: u32,
    /// How often a heartbeat is sent, in milliseconds.
    pub heartbeat_interval_ms: u32,
    /// What to do where a cursor does not fit the log.
    pub unknown_position: UnknownPosition,
    /// Further topics: names, or patterns that begin with `^`.
    pub extra_topics: Vec<String>,
    /// Where dead letters are copied to.
    pub dead_letter_topic: String,
    /// How much may be fetched ahead over all partitions, in bytes.
    pub prefetch_bytes: u64,
    /// The names of topics.
    pub topics: TopicNames,
    /// Passed through to librdkafka: SASL, TLS and the like.
    pub properties: BTreeMap<String, String>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            client_id: "notification-service".to_owned(),
            group_id: "notification-group".to_owned(),
            auto_offset_reset: OffsetReset::Earliest,
            enable_auto_commit: true,
            auto_commit_interval_ms: 1_000,
            session_timeout_ms: 30_000,
            heartbeat_interval_ms: 10_000,
            unknown_position: UnknownPosition::Stop,
            extra_topics: Vec::new(),
            dead_letter_topic: "carillon.dead-letters".to_owned(),
            prefetch_bytes: 64 << 20,
            topics: TopicNames::default(),
            properties: BTreeMap::new(),
        }
    }
}

/// `[….kafka.topics]`: what the event topics are called, by the key of each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicNames {
    /// Bookings.
    pub booking_events: Option<String>,
    /// The waitlist.
    pub waitlist_events: Option<String>,
    /// Conflicts.
    pub conflict_events: Option<String>,
    /// Usage.
    pub analytics_events: Option<String>,
    /// Requests for a notification.
    pub notification_events: Option<String>,
    /// Users.
    pub user_events: Option<String>,
    /// Resources.
    pub resource_events: Option<String>,
}

impl TopicNames {
    /// What a topic is called here.
    #[must_use]
    pub fn name(&self, topic: Topic) -> &str {
        let configured = match topic {
            Topic::BookingEvents => &self.booking_events,
            Topic::WaitlistEvents => &self.waitlist_events,
            Topic::ConflictEvents => &self.conflict_events,
            Topic::AnalyticsEvents => &self.analytics_events,
            Topic::NotificationEvents => &self.notification_events,
            Topic::UserEvents => &self.user_events,
            Topic::ResourceEvents => &self.resource_events,
        };
        configured.as_deref().unwrap_or_else(|| topic.name())
    }

    /// The names of all event topics.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        Topic::ALL
            .iter()
            .map(|topic| self.name(*topic).to_owned())
            .collect()
    }
}

impl ProducerConfig {
    pub(crate) fn client(&self, servers: &str) -> Result<ClientConfig, BusError> {
        const SECTION: &str = "booking_service.kafka";
        if self.acks != "all" && self.acks != "-1" {
            return Err(BusError::Config {
                section: SECTION,
                reason: format!(
                    "acks = \"{}\" could lose events; only \"all\" is accepted, so leave the key out or set it to \"all\"",
                    self.acks
                ),
            });
        }
        let mut client = base(servers, &self.client_id);
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("retries", self.retries.max(1).to_string())
            .set("batch.size", self.batch_size.to_string())
            .set("linger.ms", self.linger_ms.to_string())
            .set(
                "queue.buffering.max.kbytes",
                (self.buffer_memory / 1024).max(1).to_string(),
            )
            // An event may have 1 MiB; a dead letter carries its headers on top.
            .set("message.max.bytes", (2 << 20).to_string())
            .set("compression.type", "lz4");
        pass_through(&mut client, SECTION, &self.properties)?;
        Ok(client)
    }
}

impl ConsumerConfig {
    pub(crate) fn client(
        &self,
        servers: &str,
        embedded: bool,
        partitions: usize,
    ) -> Result<ClientConfig, BusError> {
        let mut client = self.reader_client(servers, embedded)?;
        // A split partition queue has the limit to itself, so the total is divided. A fetch can
        // overshoot it by one response of 1 MiB.
        let per_partition_kb = (self.prefetch_bytes / 1024 / (partitions.max(1) as u64)).max(64);
        client
            .set("group.id", &self.group_id)
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                self.heartbeat_interval_ms.to_string(),
            )
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("queued.max.messages.kbytes", per_partition_kb.to_string())
            .set("topic.metadata.refresh.interval.ms", "30000")
            // A pattern must never match it: each dead letter would become another.
            .set("topic.blacklist", exactly(&self.dead_letter_topic));
        pass_through(&mut client, CONSUMER_SECTION, &self.properties)?;
        Ok(client)
    }

    pub(crate) fn reader_client(
        &self,
        servers: &str,
        embedded: bool,
    ) -> Result<ClientConfig, BusError> {
        let mut client = base(servers, &self.client_id);
        client
            // librdkafka wants the key even where no group is joined.
            .set("group.id", format!("{}.reader", self.group_id))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            // A full queue is looked at again after this long; the default of one second
            // would cap a partition at one queue a second.
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.error.backoff.ms", "100");
        if embedded {
            // The in-process broker waits an empty fetch out in full.
            client.set("fetch.wait.max.ms", "5");
        }
        pass_through(&mut client, CONSUMER_SECTION, &self.properties)?;
        Ok(client)
    }
}

fn base(servers: &str, client_id: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", servers)
        .set("client.id", client_id)
        .set("log.connection.close", "false");
    client
}

/// Passes an operator's own settings on. They come last: who names a key of librdkafka means it.
fn pass_through(
    client: &mut ClientConfig,
    section: &'static str,
    properties: &BTreeMap<String, String>,
) -> Result<(), BusError> {
    for (key, value) in properties {
        if let Some((_, why)) = OWN_KEYS.iter().find(|(own, _)| own == key) {
            return Err(BusError::Config {
                section,
                reason: format!("properties.\"{key}\" cannot be set: {why}"),
            });
        }
        client.set(key, value);
    }
    Ok(())
}

/// A pattern that matches `topic` and nothing else.
fn exactly(topic: &str) -> String {
    // Names of topics have letters, digits, dots, underscores and hyphens; only a dot means more.
    format!("^{}$", topic.replace('.', "\\."))
}
