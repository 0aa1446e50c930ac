//! A batch of records, decoded once for all lanes.

use carillon_bus::{LogRecord, PartitionId};
use carillon_events::{DecodeError, Event};
use carillon_store::{DeadLetter, LogId, PluginId, Source, VersionId, event_key};

/// Consecutive records of one partition.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) partition: PartitionId,
    pub(crate) log: LogId,
    pub(crate) items: Vec<Item>,
    /// Where it starts: the cursor before it.
    pub(crate) start: i64,
    /// The cursor after it.
    pub(crate) next: i64,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) record: LogRecord,
    pub(crate) content: Result<Decoded, DecodeError>,
}

/// A record that is an event.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) event: Event,
    pub(crate) key: [u8; 16],
    pub(crate) content_hash: u64,
}

impl Batch {
    /// Decodes `records`, which follow on `start`.
    pub(crate) fn decode(
        partition: PartitionId,
        log: LogId,
        start: i64,
        records: Vec<LogRecord>,
    ) -> Self {
        let items: Vec<Item> = records
            .into_iter()
            .map(|record| {
                let content = carillon_events::decode(record.value.as_deref().unwrap_or_default())
                    .map(|event| Decoded {
                        key: event_key(&event.id),
                        content_hash: event.content_hash(),
                        event,
                    });
                Item { record, content }
            })
            .collect();
        let last = items.last().map(|item| &item.record);
        let next = last.map_or(start, |record| record.offset + 1);
        Self {
            partition,
            log,
            items,
            start,
            next,
        }
    }

    /// Leaves out what comes from an offset on.
    pub(crate) fn end_at(&mut self, offset: i64) {
        self.items.retain(|item| item.record.offset < offset);
        self.next = offset;
    }

    pub(crate) fn source(&self, item: &Item) -> Source {
        Source {
            log: self.log,
            partition: self.partition.partition,
            offset: item.record.offset,
            logged_at_ms: item.record.timestamp_ms,
        }
    }

    /// The time of the last record before `next`, milliseconds since 1970; 0 if there is none.
    pub(crate) fn logged_before(&self, next: i64) -> i64 {
        let before = self
            .items
            .iter()
            .rev()
            .find(|item| item.record.offset < next);
        before.map_or(0, |item| item.record.timestamp_ms)
    }

    /// A dead letter for a record of this batch.
    pub(crate) fn dead_letter(
        &self,
        item: &Item,
        plugin: PluginId,
        version: VersionId,
        why: Why<'_>,
    ) -> DeadLetter {
        DeadLetter {
            plugin,
            version,
            source: self.source(item),
            event_id: item
                .content
                .as_ref()
                .ok()
                .map(|decoded| decoded.event.id.clone()),
            code: why.code.to_owned(),
            reason: why.reason,
            attempts: why.attempts,
            key: item.record.key.clone(),
            value: item.record.value.clone(),
            headers: item.record.headers.clone(),
        }
    }

    /// What could not be decoded: the dead letters of the `intake` lane.
    pub(crate) fn undecodable(&self) -> Vec<DeadLetter> {
        self.items
            .iter()
            .filter_map(|item| {
                let error = item.content.as_ref().err()?;
                tracing::warn!(
                    partition = %self.partition,
                    offset = item.record.offset,
                    code = error.code(),
                    %error,
                    "a record is not an event and becomes a dead letter"
                );
                metrics::counter!("carillon_undecodable_records_total", "code" => error.code())
                    .increment(1);
                let why = Why {
                    code: error.code(),
                    reason: error.to_string(),
                    attempts: 1,
                };
                Some(self.dead_letter(item, PluginId::NONE, VersionId(0), why))
            })
            .collect()
    }
}

/// Why a record becomes a dead letter.
pub(crate) struct Why<'a> {
    pub(crate) code: &'a str,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
}
