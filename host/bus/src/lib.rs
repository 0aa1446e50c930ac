//! Kafka: producer, consumer, partitions, positions and the embedded broker.
//!
//! Nothing outside this crate names librdkafka. A [`Cluster`] is where the log lives:
//! servers of one's own, or the in-process broker when none are configured. From it come
//! [`Producer`]s, one group [`Consumer`] that hands out partitions, and a [`ReaderPool`] for
//! those who read a partition at a place of their own.

mod cluster;
mod config;
mod consumer;
mod error;
mod partition;
mod places;
mod producer;
mod reader;
mod record;
mod topics;
mod unread;

pub use cluster::{Cluster, EMBEDDED_CLUSTER_PREFIX};
pub use config::{ConsumerConfig, OffsetReset, ProducerConfig, TopicNames, UnknownPosition};
pub use consumer::{
    Again, Assigned, Consumer, ConsumerEvent, PartitionId, Positions, Start, Watermarks, Working,
};
pub use error::{BusError, ReadError, SendError};
pub use partition::{Partition, PositionLost, Release};
pub use places::Places;
pub use producer::{Delivery, Producer, Sent};
pub use reader::{ReaderPool, Stretch};
pub use record::{CORRELATION_ID, LogRecord, Record, SENT_AGAIN};
