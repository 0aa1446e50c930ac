//! Pauses between attempts: doubled each time, with jitter, bounded.

use std::time::Duration;

pub(crate) struct Pause {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Pause {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            attempt: 0,
        }
    }

    /// Counts a failure: its number in the row, and how long to wait. The upper half of the pause is
    /// drawn, so that services that failed together do not come back together.
    pub(crate) fn next(&mut self) -> (u32, Duration) {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.attempt))
            .min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        (self.attempt, doubled.mul_f64(rand::random_range(0.5..=1.0)))
    }

    /// Something worked: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_over() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pause = Pause::new(first, longest);
        for expected_ms in [100, 200, 400, 800, 1000, 1000] {
            let (_, drawn) = pause.next();
            let bound = Duration::from_millis(expected_ms);
            assert!(drawn <= bound && drawn >= bound / 2, "{drawn:?}");
        }
        for _ in 0..100 {
            assert!(pause.next().1 <= longest);
        }
        pause.reset();
        assert_eq!(pause.next().0, 1);
    }
}
