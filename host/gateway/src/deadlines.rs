//! All the times of one connection behind one timer.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What has come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// No `connect` came.
    Connect,
    /// It is time for a ping.
    Ping,
    /// The last ping was not answered.
    Pong,
    /// The token has run out.
    Expiry,
}

const KINDS: [Due; 4] = [Due::Connect, Due::Ping, Due::Pong, Due::Expiry];

/// When each thing comes due. The one timer stands at or before the first of them.
#[derive(Debug)]
pub(crate) struct Deadlines {
    at: [Option<Instant>; KINDS.len()],
    timer: Pin<Box<Sleep>>,
}

impl Deadlines {
    /// Starts with one thing to wait for.
    pub(crate) fn new(due: Due, after: Duration) -> Self {
        let at = Instant::now() + after;
        let mut deadlines = Self {
            at: [None; KINDS.len()],
            timer: Box::pin(sleep_until(at)),
        };
        deadlines.at[due as usize] = Some(at);
        deadlines
    }

    /// From now on, `due` comes after this time.
    pub(crate) fn set(&mut self, due: Due, after: Duration) {
        let at = Instant::now() + after;
        self.at[due as usize] = Some(at);
        // A deadline that moves away leaves the timer where it is: it rings once in vain.
        if at < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(at);
        }
    }

    /// `due` does not come any more.
    pub(crate) fn clear(&mut self, due: Due) {
        self.at[due as usize] = None;
    }

    /// Whether `due` is being waited for.
    pub(crate) fn waits_for(&self, due: Due) -> bool {
        self.at[due as usize].is_some()
    }

    /// What came due; it is cleared.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let first = KINDS
                .iter()
                .filter_map(|&due| self.at[due as usize].map(|at| (at, due)))
                .min_by_key(|(at, _)| *at);
            let Some((at, due)) = first else {
                return Poll::Pending;
            };
            if at <= now {
                self.clear(due);
                return Poll::Ready(due);
            }
            self.timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_is_set_comes_due_in_the_order_of_time_and_what_is_cleared_does_not() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(Due::Connect, Duration::from_millis(40));
        deadlines.set(Due::Ping, Duration::from_millis(10));
        deadlines.set(Due::Expiry, Duration::from_millis(30));
        deadlines.set(Due::Pong, Duration::from_millis(20));
        deadlines.clear(Due::Pong);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(poll_fn(|cx| deadlines.poll(cx)).await);
        }
        assert_eq!(seen, [Due::Ping, Due::Expiry, Due::Connect]);
        assert!(start.elapsed() >= Duration::from_millis(40));
        // With nothing left the timer is silent; setting something wakes it again.
        deadlines.set(Due::Ping, Duration::from_millis(1));
        assert!(deadlines.waits_for(Due::Ping));
        assert_eq!(poll_fn(|cx| deadlines.poll(cx)).await, Due::Ping);
    }
}
