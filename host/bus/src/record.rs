//! Records, going out and coming in.

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _, OwnedHeaders};

/// The header of a record that stood in the log of an embedded broker before, whose log ended with its
/// process.
pub const SENT_AGAIN: &str = "carillon-sent-again";

/// The header with the id of the request that a record follows from, for whatever reads records without
/// reading events.
pub const CORRELATION_ID: &str = "correlation-id";

/// A record to be appended to a topic.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// Records of one key keep their order.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// The record's timestamp, milliseconds since 1970; `None`: now.
    pub timestamp_ms: Option<i64>,
    /// Header fields.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub(crate) fn size_bytes(&self) -> usize {
        // A record's overhead in a batch is below 100 bytes without its headers.
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        self.value.len() + self.key.as_ref().map_or(0, Vec::len) + headers + 100
    }

    pub(crate) fn owned_headers(&self) -> Option<OwnedHeaders> {
        if self.headers.is_empty() {
            return None;
        }
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        Some(self.headers.iter().fold(empty, |headers, (name, value)| {
            headers.insert(rdkafka::message::Header {
                key: name,
                value: Some(value),
            })
        }))
    }
}

/// A record as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, milliseconds since 1970; 0 where the log has none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its header fields.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl LogRecord {
    pub(crate) fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| {
                    (
                        header.key.to_owned(),
                        header.value.unwrap_or_default().to_vec(),
                    )
                })
                .collect()
        });
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0).max(0),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// Whether it carries [`SENT_AGAIN`].
    #[must_use]
    pub fn is_sent_again(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == SENT_AGAIN)
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::len) + self.key.as_ref().map_or(0, Vec::len) + 64
    }
}
