//! The last lines of each plugin's log, for those who look and for those who follow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use carillon_sandbox::{LogLine, LogSink};
use tokio::sync::broadcast;

use crate::backoff::now_ms;
use crate::operations::model::LogEntry;

/// Lines that are kept of each plugin.
const LINES: usize = 1_000;
/// Lines that a follower may be behind before it misses some.
const FOLLOWING: usize = 1_024;

/// The log of one plugin, over all its versions.
pub(crate) struct LogBook {
    lines: Mutex<Lines>,
    followers: broadcast::Sender<LogEntry>,
}

#[derive(Default)]
struct Lines {
    last: VecDeque<LogEntry>,
    count: u64,
}

impl Default for LogBook {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            followers: broadcast::Sender::new(FOLLOWING),
        }
    }
}

impl LogBook {
    /// The last `tail` lines, and those to come.
    pub(crate) fn follow(&self, tail: usize) -> (Vec<LogEntry>, broadcast::Receiver<LogEntry>) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no line falls between the two.
        let following = self.followers.subscribe();
        let skipped = lines.last.len().saturating_sub(tail);
        (
            lines.last.iter().skip(skipped).cloned().collect(),
            following,
        )
    }

    /// What the host says about the plugin.
    pub(crate) fn host(&self, version: &str, level: &str, event_id: Option<&str>, text: String) {
        self.write(LogEntry {
            number: 0,
            at_ms: now_ms(),
            level: level.to_owned(),
            from: "host".to_owned(),
            version: version.to_owned(),
            event_id: event_id.map(str::to_owned),
            correlation_id: None,
            text,
        });
    }

    fn write(&self, mut entry: LogEntry) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.count += 1;
        entry.number = lines.count;
        if lines.last.len() == LINES {
            lines.last.pop_front();
        }
        lines.last.push_back(entry.clone());
        // Nobody may be following.
        let _ = self.followers.send(entry);
    }
}

/// What one version of a plugin writes.
pub(crate) struct VersionLog {
    pub(crate) book: Arc<LogBook>,
    pub(crate) version: String,
}

impl LogSink for VersionLog {
    fn line(&self, line: LogLine<'_>) {
        self.book.write(LogEntry {
            number: 0,
            at_ms: now_ms(),
            level: line.level.name().to_owned(),
            from: "plugin".to_owned(),
            version: self.version.clone(),
            event_id: Some(line.event_id.to_owned()).filter(|id| !id.is_empty()),
            correlation_id: line.correlation_id.map(str::to_owned),
            text: line.text.to_owned(),
        });
    }
}
