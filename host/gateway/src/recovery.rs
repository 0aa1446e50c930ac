//! What a client missed while it was away, told truthfully.

use std::collections::HashMap;
use std::sync::Arc;

use carillon_store::{Publication, Store, StoreError};

use crate::config::GatewayConfig;
use crate::streams::Position;
use crate::telemetry;

/// Entries read from the store at once: bounds what is held before the byte limit is looked at.
const PAGE: u32 = 100;

/// Where a client says that it stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

/// How a request for what was missed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client gets everything.
    Complete,
    /// The client's position belongs to another history: another or a newly made database.
    EpochChanged,
    /// Some of it has been trimmed.
    Trimmed,
    /// It is more than is given back.
    TooMuch,
    /// The client claims to have more than there is.
    Ahead,
}

impl Outcome {
    /// As a metric's label and for event streams, kebab-case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::EpochChanged => "epoch-changed",
            Self::Trimmed => "trimmed",
            Self::TooMuch => "too-much",
            Self::Ahead => "ahead",
        }
    }
}

/// Where a client starts in one stream.
#[derive(Debug)]
pub(crate) struct Start {
    /// Before `missed`.
    pub(crate) position: Position,
    /// `None`: the client did not ask for what it missed.
    pub(crate) outcome: Option<Outcome>,
    /// What it missed, without a gap, if the outcome is [`Outcome::Complete`].
    pub(crate) missed: Vec<Publication>,
}

/// Reads where a client starts in each stream. The streams must be listened to before,
/// so that what is committed meanwhile is queued.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn starts(
    store: &Store,
    config: &GatewayConfig,
    streams: &[Arc<str>],
    asked: &HashMap<String, Asked>,
) -> Result<Vec<Start>, StoreError> {
    let mut reader = Reader {
        store,
        max_entries: config.max_recovery,
        bytes_left: config.max_recovery_bytes,
    };
    let mut starts = Vec::with_capacity(streams.len());
    for stream in streams {
        let start = reader.start(stream, asked.get(&**stream)).await?;
        if let Some(outcome) = start.outcome {
            telemetry::recovered(outcome);
        }
        starts.push(start);
    }
    Ok(starts)
}

struct Reader<'a> {
    store: &'a Store,
    max_entries: u32,
    bytes_left: usize,
}

impl Reader<'_> {
    async fn start(
        &mut self,
        stream: &Arc<str>,
        asked: Option<&Asked>,
    ) -> Result<Start, StoreError> {
        let head = self.store.stream_head(stream).await?;
        let at = |offset| Position {
            stream: Arc::clone(stream),
            epoch: Arc::clone(&head.epoch),
            offset,
        };
        let Some(asked) = asked else {
            return Ok(Start {
                position: at(head.offset),
                outcome: None,
                missed: Vec::new(),
            });
        };
        let refused = |outcome| Start {
            position: at(head.offset),
            outcome: Some(outcome),
            missed: Vec::new(),
        };
        if asked.epoch != *head.epoch {
            return Ok(refused(Outcome::EpochChanged));
        }
        if asked.offset > head.offset {
            return Ok(refused(Outcome::Ahead));
        }
        if asked.offset < head.trimmed_through {
            return Ok(refused(Outcome::Trimmed));
        }
        if head.offset - asked.offset > u64::from(self.max_entries) {
            return Ok(refused(Outcome::TooMuch));
        }
        match self.read(stream, asked.offset, head.offset).await? {
            Ok(missed) => Ok(Start {
                position: at(asked.offset),
                outcome: Some(Outcome::Complete),
                missed,
            }),
            Err(outcome) => Ok(refused(outcome)),
        }
    }

    /// The entries after `after`, at least up to `head`; perhaps more, if more came.
    async fn read(
        &mut self,
        stream: &str,
        after: u64,
        head: u64,
    ) -> Result<Result<Vec<Publication>, Outcome>, StoreError> {
        let mut missed: Vec<Publication> = Vec::new();
        let mut last = after;
        while last < head {
            let page = self.store.history(stream, last, PAGE).await?;
            if page.is_empty() {
                return Ok(Err(Outcome::Trimmed));
            }
            for publication in page {
                // Trimming goes on while this reads.
                if publication.offset != last + 1 {
                    return Ok(Err(Outcome::Trimmed));
                }
                let Some(left) = self.bytes_left.checked_sub(publication.json.len()) else {
                    return Ok(Err(Outcome::TooMuch));
                };
                self.bytes_left = left;
                last = publication.offset;
                missed.push(publication);
            }
        }
        Ok(Ok(missed))
    }
}
