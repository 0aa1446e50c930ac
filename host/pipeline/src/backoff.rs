//! Pauses between attempts, and the clock that they are counted by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Doubles from `first` with each attempt up to `longest`, and spreads by a fifth either way,
/// so that lanes which failed together do not come back together.
pub(crate) fn pause(attempts: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first
        .saturating_mul(1 << attempts.saturating_sub(1).min(20))
        .min(longest);
    doubled.mul_f64(rand::random_range(0.8..1.2))
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_bounded() {
        let pause = |attempts| {
            pause(
                attempts,
                Duration::from_millis(100),
                Duration::from_secs(10),
            )
        };
        for _ in 0..100 {
            assert!((Duration::from_millis(80)..=Duration::from_millis(120)).contains(&pause(1)));
            assert!((Duration::from_millis(640)..=Duration::from_millis(960)).contains(&pause(4)));
            assert!(pause(u32::MAX) <= Duration::from_secs(12));
        }
    }
}
