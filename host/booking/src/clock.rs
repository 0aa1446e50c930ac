//! Where the service takes the time from.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The time of day, as a value that can be handed in: tests move it, the service does not.
#[derive(Clone)]
pub struct Clock {
    now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    steady_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        let start = Instant::now();
        Self {
            now_ms: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
            steady_ms: Arc::new(move || {
                i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
            }),
        }
    }

    /// A clock of one's own: answers milliseconds since the epoch.
    pub fn from_fn(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let now_ms = Arc::new(now_ms);
        Self {
            steady_ms: Arc::clone(&now_ms) as Arc<_>,
            now_ms,
        }
    }

    /// Now, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// Milliseconds since a moment of its own: for durations, which a time of day that is set anew
    /// must not stretch.
    pub(crate) fn steady_ms(&self) -> i64 {
        (self.steady_ms)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now_ms())
    }
}
