//! What waits to be written to one client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::close::{Close, CloseCode};
use crate::push::Push;

/// An emptied queue keeps the memory for this many entries, so that a burst does not
/// stay with an idle connection.
const KEPT_CAPACITY: usize = 32;

/// A queue bounded in bytes between the hub, which never waits, and the task of one
/// connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    limit_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Push>>,
    queued_bytes: usize,
    close: Option<Close>,
    waker: Option<Waker>,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Queued,
    /// This push was too much: the outbox is now closed as slow.
    Overflowed,
    /// The connection is being closed already.
    Closed,
}

impl Outbox {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            state: Mutex::default(),
        }
    }

    /// Queues a push; never waits.
    pub(crate) fn offer(&self, push: &Arc<Push>) -> Offered {
        let mut state = self.lock();
        if state.close.is_some() {
            return Offered::Closed;
        }
        let after = state.queued_bytes + push.cost_bytes();
        // One entry always goes in, or a client could never get past an entry above the limit.
        if after > self.limit_bytes && !state.queue.is_empty() {
            state.shut(CloseCode::Slow.into());
            return Offered::Overflowed;
        }
        state.queued_bytes = after;
        state.queue.push_back(Arc::clone(push));
        state.wake();
        Offered::Queued
    }

    /// Asks the connection's task to close. The first reason stays; what is queued is
    /// dropped, since recovery brings it.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        if state.close.is_none() {
            state.shut(close);
        }
    }

    /// The next push, or why the connection must be closed.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Push>, Close>> {
        let mut state = self.lock();
        if let Some(close) = &state.close {
            return Poll::Ready(Err(close.clone()));
        }
        if let Some(push) = state.queue.pop_front() {
            state.queued_bytes -= push.cost_bytes();
            if state.queue.is_empty() && state.queue.capacity() > KEPT_CAPACITY {
                state.queue = VecDeque::new();
            }
            return Poll::Ready(Ok(push));
        }
        state.remember(cx);
        Poll::Pending
    }

    /// Why the connection must be closed, if it must, for when nothing can be written.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.lock();
        if let Some(close) = &state.close {
            return Poll::Ready(close.clone());
        }
        state.remember(cx);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shut(&mut self, close: Close) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.close = Some(close);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn remember(&mut self, cx: &mut Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use carillon_store::Publication;

    use super::*;

    fn push(offset: u64, bytes: usize) -> Arc<Push> {
        Arc::new(Push::new(&Publication {
            stream: "user:1".into(),
            offset,
            json: "x".repeat(bytes).into(),
        }))
    }

    fn next(outbox: &Outbox) -> Poll<Result<u64, CloseCode>> {
        let mut cx = Context::from_waker(Waker::noop());
        outbox
            .poll_next(&mut cx)
            .map(|next| next.map(|push| push.offset).map_err(|close| close.code))
    }

    #[test]
    fn pushes_leave_in_the_order_they_came() {
        let outbox = Outbox::new(10_000);
        for offset in 1..=3 {
            assert_eq!(outbox.offer(&push(offset, 10)), Offered::Queued);
        }
        assert_eq!(
            (1..=3).map(|_| next(&outbox)).collect::<Vec<_>>(),
            (1..=3).map(|n| Poll::Ready(Ok(n))).collect::<Vec<_>>()
        );
        assert_eq!(next(&outbox), Poll::Pending);
    }

    #[test]
    fn an_overflow_closes_as_slow_and_frees_the_queue() {
        let outbox = Outbox::new(3_000);
        assert_eq!(outbox.offer(&push(1, 1_000)), Offered::Queued);
        assert_eq!(outbox.offer(&push(2, 1_000)), Offered::Queued);
        assert_eq!(outbox.offer(&push(3, 1_000)), Offered::Overflowed);
        assert_eq!(outbox.offer(&push(4, 1)), Offered::Closed);
        assert_eq!(next(&outbox), Poll::Ready(Err(CloseCode::Slow)));
        assert_eq!(outbox.lock().queue.capacity(), 0);
    }

    #[test]
    fn an_entry_above_the_limit_goes_in_alone() {
        let outbox = Outbox::new(3_000);
        assert_eq!(outbox.offer(&push(1, 5_000)), Offered::Queued);
        assert_eq!(outbox.offer(&push(2, 1)), Offered::Overflowed);
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let outbox = Outbox::new(3_000);
        outbox.close(CloseCode::Shutdown.into());
        outbox.close(CloseCode::ServerError.into());
        assert_eq!(next(&outbox), Poll::Ready(Err(CloseCode::Shutdown)));
    }
}
