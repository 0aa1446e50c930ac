//! What can go wrong between here and the brokers.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The bus cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A setting that librdkafka refuses, or that would break a promise.
    #[error("{section}: {reason}")]
    Config {
        /// The section of the configuration.
        section: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// No broker answered.
    #[error(
        "no Kafka broker of {servers} answered within {waited_ms} ms: {source}; check bootstrap_servers, and that a broker is running"
    )]
    Unreachable {
        /// The configured servers.
        servers: String,
        /// How long was waited.
        waited_ms: u128,
        /// What librdkafka said.
        source: Box<KafkaError>,
    },
    /// Topics are missing and cannot be made.
    #[error(
        "the topics {topics} do not exist and could not be created ({reason}); create them, or allow this client to"
    )]
    Topics {
        /// The missing topics.
        topics: String,
        /// What the cluster said.
        reason: String,
    },
    /// The client could not be made.
    #[error("the Kafka client could not be started: {0}")]
    Client(Box<KafkaError>),
}

impl From<KafkaError> for BusError {
    fn from(error: KafkaError) -> Self {
        Self::Client(Box::new(error))
    }
}

/// A record was not accepted by the log.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// librdkafka or the broker refused it.
    #[error("the record for topic {topic} was not delivered: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What was said.
        source: KafkaError,
    },
    /// The producer was closed before the record was delivered.
    #[error("the producer was closed before the record for topic {topic} was delivered")]
    Closed {
        /// The topic.
        topic: String,
    },
}

impl SendError {
    /// Whether the record is larger than this client or the topic takes: sending it again does
    /// not help.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        let Self::Kafka { source, .. } = self else {
            return false;
        };
        matches!(
            source.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        )
    }
}

/// A partition cannot be read where it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies outside what the log holds.
    #[error(
        "offset {offset} of {topic}/{partition} is not in the log, which holds {low} to {high}"
    )]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was asked for.
        offset: i64,
        /// The first offset there is.
        low: i64,
        /// The offset after the last.
        high: i64,
    },
    /// Anything else; may pass.
    #[error("reading {topic}/{partition} failed: {reason}")]
    Failed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was said.
        reason: String,
    },
}
