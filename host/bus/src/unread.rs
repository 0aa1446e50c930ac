//! How much of the embedded broker's log nobody has read yet.
//!
//! The in-process broker keeps at most 5 MB and 100,000 batches a partition and drops the
//! oldest beyond that, read or not. So producers wait while a partition comes near.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Producers wait above this; a batch in flight still fits below the broker's 5 MB.
const HOLD_BACK_BYTES: usize = 3_500_000;
/// One record may be one batch.
const HOLD_BACK_RECORDS: usize = 80_000;

#[derive(Default)]
pub(crate) struct Unread {
    partitions: Mutex<HashMap<String, TopicLedger>>,
    read: Notify,
}

#[derive(Default)]
struct TopicLedger {
    in_flight_bytes: usize,
    in_flight_records: usize,
    partitions: HashMap<i32, PartitionLedger>,
}

#[derive(Default)]
struct PartitionLedger {
    records: VecDeque<(i64, usize)>,
    bytes: usize,
    /// What was read before its delivery was reported.
    read_to: i64,
}

impl Unread {
    /// Only topics that somebody reads are held back.
    pub(crate) fn track(&self, topics: &[String]) {
        let mut ledgers = self.lock();
        for topic in topics {
            ledgers.entry(topic.clone()).or_default();
        }
    }

    /// Waits until there is room for a record.
    pub(crate) async fn reserve(&self, topic: &str, bytes: usize) {
        loop {
            let read = self.read.notified();
            tokio::pin!(read);
            // Registered before the look, so that a read in between is not missed.
            read.as_mut().enable();
            if self.try_reserve(topic, bytes) {
                return;
            }
            read.await;
        }
    }

    fn try_reserve(&self, topic: &str, bytes: usize) -> bool {
        let mut ledgers = self.lock();
        let Some(ledger) = ledgers.get_mut(topic) else {
            return true;
        };
        let fullest = ledger
            .partitions
            .values()
            .map(|p| p.bytes)
            .max()
            .unwrap_or(0);
        let longest = ledger
            .partitions
            .values()
            .map(|p| p.records.len())
            .max()
            .unwrap_or(0);
        let room = fullest + ledger.in_flight_bytes + bytes <= HOLD_BACK_BYTES
            && longest + ledger.in_flight_records < HOLD_BACK_RECORDS;
        // A record larger than the whole allowance goes through alone.
        let idle = fullest + ledger.in_flight_bytes == 0;
        if room || idle {
            ledger.in_flight_bytes += bytes;
            ledger.in_flight_records += 1;
            return true;
        }
        false
    }

    /// A reserved record stands in the log, or failed (`place` is `None`).
    pub(crate) fn settle(&self, topic: &str, bytes: usize, place: Option<(i32, i64)>) {
        let mut ledgers = self.lock();
        let Some(ledger) = ledgers.get_mut(topic) else {
            return;
        };
        ledger.in_flight_bytes = ledger.in_flight_bytes.saturating_sub(bytes);
        ledger.in_flight_records = ledger.in_flight_records.saturating_sub(1);
        if let Some((partition, offset)) = place {
            let partition = ledger.partitions.entry(partition).or_default();
            if offset >= partition.read_to {
                partition.records.push_back((offset, bytes));
                partition.bytes += bytes;
            }
        }
        drop(ledgers);
        self.read.notify_waiters();
    }

    /// Everything before `next` was read.
    pub(crate) fn read_to(&self, topic: &str, partition: i32, next: i64) {
        let mut ledgers = self.lock();
        let Some(ledger) = ledgers.get_mut(topic) else {
            return;
        };
        let partition = ledger.partitions.entry(partition).or_default();
        partition.read_to = partition.read_to.max(next);
        while let Some((offset, bytes)) = partition.records.front().copied() {
            if offset >= next {
                break;
            }
            partition.records.pop_front();
            partition.bytes -= bytes;
        }
        drop(ledgers);
        self.read.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, TopicLedger>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
