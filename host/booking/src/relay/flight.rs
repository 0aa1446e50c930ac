//! What is on its way to the log, and what waits behind it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use carillon_bus::{SendError, Sent};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use crate::outbox::OutboxRow;

/// Events with one of these are sent one after another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub(super) topic: String,
    pub(super) key: String,
}

impl RowKey {
    pub(super) fn of(row: &OutboxRow) -> Self {
        Self {
            topic: row.topic.clone(),
            key: row.key.clone(),
        }
    }
}

/// What became of an event.
pub(super) struct Landed {
    pub(super) key: RowKey,
    pub(super) seq: i64,
    pub(super) result: Result<Sent, SendError>,
}

/// The events of one key: one on its way, the others behind it.
struct Line {
    since: Instant,
    is_late: bool,
    /// The newest event of the line.
    last_seq: i64,
    behind: VecDeque<OutboxRow>,
}

type Flying = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// Events that were handed to the log, at most one of a key.
#[derive(Default)]
pub(super) struct Flight {
    flying: FuturesUnordered<Flying>,
    lines: HashMap<RowKey, Line>,
    /// Events on their way that are not late, and all that wait behind one.
    rows: usize,
    late_of_topic: HashMap<String, usize>,
}

impl Flight {
    /// How many events are held in memory, those left out that are late.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether nothing at all is on its way, not even what is late.
    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// The keys whose event is late.
    pub(super) fn late(&self) -> impl Iterator<Item = &RowKey> {
        let lines = self.lines.iter().filter(|(_, line)| line.is_late);
        lines.map(|(key, _)| key)
    }

    /// Topics of which as many events are late.
    pub(super) fn topics_with_late(&self, events: usize) -> impl Iterator<Item = &String> {
        let topics = self.late_of_topic.iter();
        topics
            .filter(move |(_, late)| **late >= events)
            .map(|(topic, _)| topic)
    }

    /// Takes an event in. It is answered again where nothing of its key is on its way, so that it is
    /// to be sent now; one that is here already is taken no second time.
    pub(super) fn take(&mut self, key: &RowKey, row: OutboxRow) -> Option<OutboxRow> {
        let Some(line) = self.lines.get_mut(key) else {
            let line = Line {
                since: Instant::now(),
                is_late: false,
                last_seq: row.seq,
                behind: VecDeque::new(),
            };
            self.lines.insert(key.clone(), line);
            self.rows += 1;
            return Some(row);
        };
        if row.seq > line.last_seq {
            line.last_seq = row.seq;
            line.behind.push_back(row);
            self.rows += 1;
        }
        None
    }

    pub(super) fn launch(&mut self, flying: impl Future<Output = Landed> + Send + 'static) {
        self.flying.push(Box::pin(flying));
    }

    /// Those that have landed: at least one, unless nothing is on its way.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        let mut landed: Vec<Landed> = self.flying.next().await.into_iter().collect();
        while let Some(Some(next)) = self.flying.next().now_or_never() {
            landed.push(next);
        }
        landed
    }

    /// The log has the first of its line: answers the one behind it, which is to be sent now.
    pub(super) fn taken(&mut self, key: &RowKey) -> Option<OutboxRow> {
        let line = self.lines.get_mut(key)?;
        if let Some(next) = line.behind.pop_front() {
            line.since = Instant::now();
            self.rows -= 1;
            return Some(next);
        }
        self.end(key);
        None
    }

    /// Ends a line whose event has landed; answers how many events were in it.
    pub(super) fn end(&mut self, key: &RowKey) -> usize {
        let Some(line) = self.lines.remove(key) else {
            return 0;
        };
        let events = 1 + line.behind.len();
        if !line.is_late {
            self.rows -= events;
            return events;
        }
        if let Some(late) = self.late_of_topic.get_mut(&key.topic) {
            *late -= 1;
        }
        events
    }

    /// Gives up waiting for what has been on its way for so long: what is behind it is let go, and is
    /// in the outbox still. The event itself may land at any time. Answers the keys.
    pub(super) fn give_up(&mut self, patience: Duration) -> Vec<RowKey> {
        let mut given_up = Vec::new();
        for (key, line) in &mut self.lines {
            if line.is_late || line.since.elapsed() < patience {
                continue;
            }
            self.rows -= 1 + line.behind.len();
            // The rows behind it were newer by as much, and are read again from the outbox.
            if let Some(first_behind) = line.behind.front() {
                line.last_seq = first_behind.seq - 1;
            }
            line.behind = VecDeque::new();
            line.is_late = true;
            *self.late_of_topic.entry(key.topic.clone()).or_default() += 1;
            given_up.push(key.clone());
        }
        given_up
    }

    /// Lets go of everything that is not on its way.
    pub(super) fn let_go_of_waiting(&mut self) {
        for line in self.lines.values_mut() {
            self.rows -= line.behind.len();
            line.behind = VecDeque::new();
        }
    }
}
