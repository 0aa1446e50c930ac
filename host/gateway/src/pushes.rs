//! What was pushed lately, so that the story of a notification can be told up to the socket.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many pushes are remembered. Each takes 32 bytes, so all of them 2 MiB, whatever is
/// pushed and to how many.
pub(crate) const REMEMBERED: usize = 65_536;

/// The last pushes of this process.
#[derive(Debug)]
pub(crate) struct Pushes {
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    began_ms: i64,
    /// Grows up to [`REMEMBERED`]; from then on the oldest is overwritten.
    entries: Vec<Pushed>,
    /// Where the next one goes.
    next: usize,
}

/// One entry of a stream that was offered to whoever listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The hash of the stream's name: names have no bound, and only equality counts.
    pub(crate) stream: u64,
    /// The entry's place in its stream.
    pub(crate) offset: u64,
    /// When, milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// How many connections took it into their queues.
    pub(crate) connections: u32,
}

/// What is known about a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recollection {
    /// It was pushed.
    Pushed(Pushed),
    /// The process had not begun before this time, or remembers nothing older than it.
    NotSince {
        /// Milliseconds since 1970.
        at_ms: i64,
        /// Why nothing older is known.
        why: Horizon,
    },
}

/// What bounds a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Horizon {
    /// The process began then.
    Began,
    /// Older pushes were overwritten by newer ones.
    Overwritten,
}

impl Pushes {
    /// Remembers nothing yet. Memory for all of them is reserved now, and touched when used.
    pub(crate) fn new(began_ms: i64) -> Self {
        Self {
            ring: Mutex::new(Ring {
                began_ms,
                entries: Vec::with_capacity(REMEMBERED),
                next: 0,
            }),
        }
    }

    /// Notes a push.
    pub(crate) fn note(&self, pushed: Pushed) {
        let mut ring = self.lock();
        let next = ring.next;
        match ring.entries.get_mut(next) {
            Some(oldest) => *oldest = pushed,
            None => ring.entries.push(pushed),
        }
        ring.next = (next + 1) % REMEMBERED;
    }

    /// Looks for a push. Goes through all of them: somebody asks once in a while, and an index
    /// would be paid for at each push.
    pub(crate) fn recall(&self, stream: u64, offset: u64) -> Recollection {
        let ring = self.lock();
        let found = ring
            .entries
            .iter()
            .find(|pushed| pushed.stream == stream && pushed.offset == offset);
        match found {
            Some(pushed) => Recollection::Pushed(*pushed),
            None => ring.horizon(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // The ring is whole between any two operations on it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn horizon(&self) -> Recollection {
        match self.entries.get(self.next) {
            // The place where the next one goes holds the oldest, once all places are taken.
            Some(oldest) => Recollection::NotSince {
                at_ms: oldest.at_ms,
                why: Horizon::Overwritten,
            },
            None => Recollection::NotSince {
                at_ms: self.began_ms,
                why: Horizon::Began,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(offset: u64) -> Pushed {
        Pushed {
            stream: 7,
            offset,
            at_ms: i64::try_from(offset).unwrap_or(0) * 10,
            connections: 2,
        }
    }

    #[test]
    fn a_push_is_remembered_by_its_stream_and_offset() {
        let pushes = Pushes::new(5);
        pushes.note(pushed(1));
        pushes.note(pushed(2));
        assert_eq!(pushes.recall(7, 2), Recollection::Pushed(pushed(2)));
        let unknown = Recollection::NotSince {
            at_ms: 5,
            why: Horizon::Began,
        };
        assert_eq!(pushes.recall(8, 2), unknown);
        assert_eq!(pushes.recall(7, 3), unknown);
    }

    #[test]
    fn the_oldest_push_goes_when_there_is_no_place_left_and_memory_stays_as_it_was() {
        let pushes = Pushes::new(5);
        let capacity = pushes.lock().entries.capacity();
        let last = REMEMBERED as u64 + 10;
        for offset in 1..=last {
            pushes.note(pushed(offset));
        }
        assert_eq!(pushes.lock().entries.len(), REMEMBERED);
        assert_eq!(pushes.lock().entries.capacity(), capacity);
        assert_eq!(pushes.recall(7, last), Recollection::Pushed(pushed(last)));
        assert_eq!(pushes.recall(7, 11), Recollection::Pushed(pushed(11)));
        assert_eq!(
            pushes.recall(7, 10),
            Recollection::NotSince {
                at_ms: 110,
                why: Horizon::Overwritten
            }
        );
    }

    #[test]
    fn a_remembered_push_takes_as_many_bytes_as_the_bound_says() {
        assert_eq!(size_of::<Pushed>(), 32);
    }
}
