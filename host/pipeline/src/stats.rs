//! What is counted and measured of a plugin since the process began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::operations::model::Latency;

/// Latencies are kept for one to two of these.
const HALF: Duration = Duration::from_secs(30);
/// Seconds that the rate is taken over.
const SECONDS: usize = 10;
/// The longest call that is told apart from longer ones, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts and latencies of one plugin, or of one version of it.
pub(crate) struct Stats {
    handled: AtomicU64,
    faults: AtomicU64,
    dead_letters: AtomicU64,
    recent: Mutex<Recent>,
}

struct Recent {
    began: Instant,
    /// Events of each of the last seconds, by the second modulo their number.
    seconds: [(u64, u64); SECONDS],
    now: Option<Histogram<u32>>,
    before: Option<Histogram<u32>>,
    turned: Instant,
}

/// What one run of calls adds.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) handled: u64,
    pub(crate) faults: u64,
    pub(crate) dead_letters: u64,
    pub(crate) took_us: Vec<u32>,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) handled: u64,
    pub(crate) faults: u64,
    pub(crate) dead_letters: u64,
}

impl Default for Stats {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            handled: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            recent: Mutex::new(Recent {
                began: now,
                seconds: [(0, 0); SECONDS],
                now: None,
                before: None,
                turned: now,
            }),
        }
    }
}

impl Stats {
    pub(crate) fn add(&self, sample: &Sample) {
        self.handled.fetch_add(sample.handled, Ordering::Relaxed);
        self.faults.fetch_add(sample.faults, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(sample.dead_letters, Ordering::Relaxed);
        if sample.took_us.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let second = recent.began.elapsed().as_secs();
        let slot = slot(second);
        if recent.seconds[slot].0 != second {
            recent.seconds[slot] = (second, 0);
        }
        recent.seconds[slot].1 += sample.took_us.len() as u64;
        recent.turn();
        // Two significant digits: a few kilobytes a plugin.
        let fresh = || Histogram::new_with_bounds(1, LONGEST_US, 2).ok();
        if recent.now.is_none() {
            recent.now = fresh();
        }
        if let Some(histogram) = &mut recent.now {
            for took in &sample.took_us {
                histogram.saturating_record(u64::from(*took).max(1));
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            handled: self.handled.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
        }
    }

    /// Calls a second over the last seconds.
    pub(crate) fn per_second(&self) -> f64 {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = recent.began.elapsed();
        let oldest = (elapsed.as_secs() + 1).saturating_sub(SECONDS as u64);
        let calls: u64 = recent
            .seconds
            .iter()
            .filter(|(second, _)| *second >= oldest)
            .map(|(_, calls)| calls)
            .sum();
        let span = elapsed
            .as_secs_f64()
            .min(SECONDS as f64 - 1.0 + f64::from(elapsed.subsec_millis()) / 1_000.0);
        calls as f64 / span.max(1.0)
    }

    /// Over the last minute or so.
    pub(crate) fn latency(&self) -> Latency {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.turn();
        let Ok(mut all) = Histogram::<u32>::new_with_bounds(1, LONGEST_US, 2) else {
            return Latency::default();
        };
        for histogram in [&recent.before, &recent.now].into_iter().flatten() {
            // Both have the same bounds.
            let _ = all.add(histogram);
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        if all.is_empty() {
            return Latency::default();
        }
        Latency {
            calls: all.len(),
            p50_ms: ms(all.value_at_quantile(0.5)),
            p99_ms: ms(all.value_at_quantile(0.99)),
            max_ms: ms(all.max()),
        }
    }
}

impl Recent {
    /// Forgets what is older than two halves.
    fn turn(&mut self) {
        let age = self.turned.elapsed();
        if age < HALF {
            return;
        }
        self.before = self.now.take().filter(|_| age < HALF * 2);
        self.turned = Instant::now();
    }
}

fn slot(second: u64) -> usize {
    // The remainder is below SECONDS.
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}
