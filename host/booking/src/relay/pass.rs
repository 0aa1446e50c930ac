//! One pass over the outbox, from its first unsent event to its last.
//!
//! What the log does not take is left out for the rest of the pass, with everything of its key, so
//! that the rest goes on. The next pass begins with it again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::RowKey;

/// The most keys of one topic that are remembered as left out, each by itself; with more the topic is
/// left out as a whole.
const MAX_KEYS: usize = 16_384;

/// When the next pass begins, and which failure in a row makes it wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again {
    pub(super) at: Instant,
    pub(super) attempt: u32,
    pub(super) pause: Duration,
}

#[derive(Default)]
pub(super) struct Pass {
    /// The last event that was read.
    pub(super) after_seq: i64,
    /// Whether there was nothing behind it.
    pub(super) is_at_end: bool,
    left_out_keys: HashSet<RowKey>,
    left_out_topics: HashSet<String>,
    left_out_of_topic: HashMap<String, usize>,
    pub(super) again: Option<Again>,
}

impl Pass {
    pub(super) fn leaves_out(&self, key: &RowKey) -> bool {
        self.left_out_keys.contains(key)
    }

    pub(super) fn left_out_topics(&self) -> &HashSet<String> {
        &self.left_out_topics
    }

    pub(super) fn leaves_nothing_out(&self) -> bool {
        self.left_out_keys.is_empty() && self.left_out_topics.is_empty()
    }

    /// Whether what was left out is to be tried again. The pass is gone through first: what lies
    /// behind many that fail would never be reached otherwise.
    pub(super) fn is_over(&self) -> bool {
        self.is_at_end && self.again.is_some_and(|again| again.at <= Instant::now())
    }

    /// Leaves a key out until the next pass.
    pub(super) fn leave_out(&mut self, key: RowKey) {
        let keys = self.left_out_of_topic.entry(key.topic.clone()).or_default();
        *keys += 1;
        if *keys >= MAX_KEYS {
            self.left_out_topics.insert(key.topic);
            return;
        }
        self.left_out_keys.insert(key);
    }

    /// Leaves a whole topic out until the next pass.
    pub(super) fn leave_out_topic(&mut self, topic: &str) {
        self.left_out_topics.insert(topic.to_owned());
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}
