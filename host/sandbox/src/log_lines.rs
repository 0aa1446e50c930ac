//! Where a plugin's log lines go, and how many there may be.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often the operator is told that lines were dropped.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Step by step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl LogLevel {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a plugin wrote, cut to its limit and without line breaks.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub text: &'a str,
    /// The event at hand; empty while the plugin describes itself.
    pub event_id: &'a str,
    /// The request that caused the event.
    pub correlation_id: Option<&'a str>,
}

/// Takes a plugin's lines, beside the host's own log. Called on the thread that runs the plugin,
/// so it must not wait for anything.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn line(&self, line: LogLine<'_>);
}

/// Takes nothing: the lines are in the host's own log only.
#[derive(Debug, Clone, Copy)]
pub struct NoLog;

impl LogSink for NoLog {
    fn line(&self, _: LogLine<'_>) {}
}

/// How many lines a plugin may write in a second, over all its events: a bucket that holds one
/// second's lines and fills steadily. And when to say that lines were dropped.
#[derive(Debug)]
pub(crate) struct LogQuota {
    lines_per_s: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    lines: f64,
    filled: Instant,
    /// Since it was last told.
    dropped: u64,
    told: Option<Instant>,
}

impl LogQuota {
    pub(crate) fn new(lines_per_s: u32, now: Instant) -> Self {
        Self {
            lines_per_s,
            bucket: Mutex::new(Bucket {
                lines: f64::from(lines_per_s),
                filled: now,
                dropped: 0,
                told: None,
            }),
        }
    }

    /// Whether one more line may be written now.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut bucket = self.lock();
        let rate = f64::from(self.lines_per_s);
        // Threads take the time before they take the lock, so it may seem to run back a little.
        let passed = now.saturating_duration_since(bucket.filled);
        bucket.lines = (bucket.lines + passed.as_secs_f64() * rate).min(rate);
        bucket.filled = bucket.filled.max(now);
        let is_admitted = bucket.lines >= 1.0;
        if is_admitted {
            bucket.lines -= 1.0;
        }
        is_admitted
    }

    /// Lines were dropped, for whatever limit. Answers how many there are to tell of, if it is time:
    /// what is said of a flood must not be one.
    pub(crate) fn dropped(&self, lines: u32, now: Instant) -> Option<u64> {
        let mut bucket = self.lock();
        bucket.dropped += u64::from(lines);
        let is_due = bucket
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if !is_due {
            return None;
        }
        bucket.told = Some(now);
        Some(std::mem::take(&mut bucket.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(quota: &LogQuota, now: Instant, lines: u32) -> usize {
        (0..lines).filter(|_| quota.admits(now)).count()
    }

    #[test]
    fn one_seconds_lines_may_come_at_once_and_then_they_come_at_the_rate() {
        let start = Instant::now();
        let quota = LogQuota::new(200, start);
        assert_eq!(written(&quota, start, 1_000), 200);
        assert_eq!(
            written(&quota, start + Duration::from_millis(100), 1_000),
            20
        );
        // A quiet hour saves up no more than a second.
        assert_eq!(
            written(&quota, start + Duration::from_secs(3_600), 1_000),
            200
        );
    }

    #[test]
    fn what_was_dropped_is_told_once_in_ten_seconds() {
        let start = Instant::now();
        let quota = LogQuota::new(1, start);
        let at = |lines: u32, ms: u64| quota.dropped(lines, start + Duration::from_millis(ms));
        assert_eq!(at(3, 0), Some(3));
        assert_eq!(at(5, 1), None);
        assert_eq!(at(6, 9_999), None);
        assert_eq!(at(1, 10_000), Some(12));
        assert_eq!(at(1, 10_001), None);
    }

    #[test]
    fn a_quota_of_nothing_lets_nothing_through_and_time_that_seems_to_run_back_fills_nothing() {
        let start = Instant::now();
        let quota = LogQuota::new(0, start);
        assert_eq!(written(&quota, start + Duration::from_secs(60), 10), 0);
        let quota = LogQuota::new(10, start + Duration::from_secs(1));
        assert_eq!(written(&quota, start, 100), 10);
        assert_eq!(written(&quota, start + Duration::from_secs(1), 100), 0);
    }
}
