//! Who listens to which stream.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use carillon_store::{Publication, Publisher};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::close::{Close, CloseCode};
use crate::outbox::{Offered, Outbox};
use crate::push::Push;
use crate::pushes::{Pushed, Pushes, Recollection};
use crate::telemetry::Telemetry;

/// Connecting and publishing meet in one shard of this many, so that they rarely wait
/// for each other. A power of two.
const SHARDS: usize = 64;

/// The connections that listen to a stream, by number.
type Subscribers = HashMap<u64, Arc<Outbox>>;

/// The streams of one shard that somebody listens to.
type Shard = HashMap<Arc<str>, Subscribers>;

/// All connections, and those of each stream.
#[derive(Debug)]
pub(crate) struct Hub {
    hasher: RandomState,
    streams: Box<[Mutex<Shard>]>,
    connections: Mutex<HashMap<u64, Arc<Outbox>>>,
    next_id: AtomicU64,
    closing: AtomicBool,
    open: watch::Sender<usize>,
    pushes: Pushes,
    telemetry: Arc<Telemetry>,
}

impl Hub {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            hasher: RandomState::new(),
            streams: (0..SHARDS).map(|_| Mutex::default()).collect(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            open: watch::Sender::new(0),
            pushes: Pushes::new(Timestamp::now().as_millisecond()),
            telemetry,
        }
    }

    /// Adds a connection that listens to nothing yet. It leaves the hub when the
    /// registration is dropped. During a shutdown it is closed at once.
    pub(crate) fn register(self: &Arc<Self>, queue_bytes: usize) -> Registration {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(queue_bytes));
        {
            let mut connections = lock(&self.connections);
            connections.insert(id, Arc::clone(&outbox));
            self.open.send_replace(connections.len());
            // Under the lock that `close_all` takes after it has raised the flag, so that
            // no connection slips between the two.
            if self.closing.load(Ordering::Acquire) {
                outbox.close(CloseCode::Shutdown.into());
            }
        }
        Registration {
            hub: Arc::clone(self),
            id,
            outbox,
            streams: Box::default(),
        }
    }

    /// Asks every connection to close, now and from now on.
    pub(crate) fn close_all(&self, code: CloseCode) {
        self.closing.store(true, Ordering::Release);
        for outbox in lock(&self.connections).values() {
            outbox.close(code.into());
        }
    }

    /// Whether [`Hub::close_all`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        // The sender lives as long as self: waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Puts an entry into the queue of each connection that listens, and answers how many took
    /// it.
    fn offer(&self, hash: u64, publication: &Publication) -> u32 {
        let shard = self.shard(hash);
        let Some(subscribers) = shard.get(&publication.stream) else {
            return 0;
        };
        let push = Arc::new(Push::new(publication));
        let mut connections = 0;
        for outbox in subscribers.values() {
            match outbox.offer(&push) {
                Offered::Queued => connections += 1,
                Offered::Overflowed => self.telemetry.queue_overflowed(),
                Offered::Closed => {}
            }
        }
        connections
    }

    /// What became of the push of this entry.
    pub(crate) fn recall(&self, stream: &str, offset: u64) -> Recollection {
        self.pushes.recall(self.hash(stream), offset)
    }

    /// Keyed at random, so that nobody can choose names that fall together.
    fn hash(&self, stream: &str) -> u64 {
        self.hasher.hash_one(stream)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The remainder is below SHARDS.
        #[allow(clippy::cast_possible_truncation)]
        lock(&self.streams[(hash % SHARDS as u64) as usize])
    }
}

impl Publisher for Hub {
    fn published(&self, batch: &[Publication]) {
        let at_ms = Timestamp::now().as_millisecond();
        for publication in batch {
            let stream = self.hash(&publication.stream);
            let connections = self.offer(stream, publication);
            self.pushes.note(Pushed {
                stream,
                offset: publication.offset,
                at_ms,
                connections,
            });
        }
    }
}

/// One connection in the hub.
#[derive(Debug)]
pub(crate) struct Registration {
    hub: Arc<Hub>,
    id: u64,
    outbox: Arc<Outbox>,
    streams: Box<[Arc<str>]>,
}

impl Registration {
    /// From now on, what is published to these streams waits in the outbox. Called once.
    pub(crate) fn listen(&mut self, streams: Box<[Arc<str>]>) {
        debug_assert!(self.streams.is_empty(), "listens already");
        self.streams = streams;
        for stream in &self.streams {
            let mut shard = self.hub.shard(self.hub.hash(stream));
            shard
                .entry(Arc::clone(stream))
                .or_default()
                .insert(self.id, Arc::clone(&self.outbox));
        }
    }

    /// The next push, or why the connection must be closed.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Push>, Close>> {
        self.outbox.poll_next(cx)
    }

    /// Why the connection must be closed, if it must.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.outbox.poll_closed(cx)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for stream in &self.streams {
            let mut shard = self.hub.shard(self.hub.hash(stream));
            if let Some(subscribers) = shard.get_mut(stream) {
                subscribers.remove(&self.id);
                if subscribers.is_empty() {
                    shard.remove(stream);
                }
            }
        }
        let mut connections = lock(&self.hub.connections);
        connections.remove(&self.id);
        self.hub.open.send_replace(connections.len());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps are whole between any two operations on them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn hub() -> Arc<Hub> {
        Arc::new(Hub::new(Arc::new(Telemetry::new())))
    }

    fn publication(stream: &str, offset: u64) -> Publication {
        Publication {
            stream: stream.into(),
            offset,
            json: r#"{"type":"notification"}"#.into(),
        }
    }

    fn drain(registration: &Registration) -> Vec<(String, u64)> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match registration.poll_next(&mut cx) {
            Poll::Ready(Ok(push)) => Some((push.stream.to_string(), push.offset)),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn a_connection_gets_what_its_streams_get_and_nothing_else() {
        let hub = hub();
        let mut ada = hub.register(10_000);
        ada.listen(["user:ada".into(), "group:staff".into()].into());
        let mut bob = hub.register(10_000);
        bob.listen(["user:bob".into(), "group:staff".into()].into());
        hub.published(&[
            publication("user:ada", 1),
            publication("user:cy", 1),
            publication("group:staff", 9),
        ]);
        assert_eq!(
            drain(&ada),
            [("user:ada".to_owned(), 1), ("group:staff".to_owned(), 9)]
        );
        assert_eq!(drain(&bob), [("group:staff".to_owned(), 9)]);
    }

    #[test]
    fn the_hub_remembers_how_many_connections_took_an_entry() {
        let hub = hub();
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut ada = hub.register(10_000);
            ada.listen(["user:ada".into()].into());
            streams.push(ada);
        }
        hub.published(&[publication("user:ada", 1), publication("user:cy", 4)]);
        let connections = |stream, offset| match hub.recall(stream, offset) {
            Recollection::Pushed(pushed) => Some(pushed.connections),
            Recollection::NotSince { .. } => None,
        };
        assert_eq!(connections("user:ada", 1), Some(2));
        assert_eq!(connections("user:cy", 4), Some(0));
        assert_eq!(connections("user:ada", 2), None);
    }

    #[test]
    fn a_connection_that_is_gone_leaves_nothing_behind() {
        let hub = hub();
        let mut ada = hub.register(10_000);
        ada.listen(["user:ada".into()].into());
        assert_eq!(hub.open(), 1);
        drop(ada);
        assert_eq!(hub.open(), 0);
        assert!(hub.streams.iter().all(|shard| lock(shard).is_empty()));
    }

    #[test]
    fn a_connection_that_comes_during_a_shutdown_is_closed() {
        let hub = hub();
        let before = hub.register(10_000);
        hub.close_all(CloseCode::Shutdown);
        let after = hub.register(10_000);
        let mut cx = Context::from_waker(Waker::noop());
        for registration in [before, after] {
            assert_eq!(
                registration.poll_closed(&mut cx),
                Poll::Ready(CloseCode::Shutdown.into())
            );
        }
    }
}
