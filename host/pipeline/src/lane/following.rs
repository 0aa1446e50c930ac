//! What a lane that follows the head shares with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use carillon_store::PluginId;
use tokio::sync::{mpsc, oneshot};

use crate::batch::Batch;

/// Batches that the head keeps for a follower before it lets go of it.
pub(crate) const INBOX: usize = 8;

/// A request to be handed batches from now on.
pub(crate) struct Follow {
    pub(crate) plugin: PluginId,
    /// Which of the plugin's tasks asks.
    pub(crate) serial: u64,
    pub(crate) answer: oneshot::Sender<Following>,
}

/// What a follower gets.
pub(crate) struct Following {
    /// The offset from which batches come.
    pub(crate) from: i64,
    pub(crate) inbox: mpsc::Receiver<Arc<Batch>>,
    pub(crate) progress: Arc<FollowProgress>,
}

/// Shared by a follower and the head.
#[derive(Default)]
pub(crate) struct FollowProgress {
    /// Everything before this offset is committed.
    pub(crate) done_to: AtomicI64,
    standing: AtomicU8,
}

/// Both sides may let go at the same moment: only one of them succeeds.
const FOLLOWING: u8 = 0;
const JOINED: u8 = 1;
const LEFT: u8 = 2;

impl FollowProgress {
    /// The head takes the lane back; answers whether it still followed.
    pub(crate) fn join(&self) -> bool {
        self.change(JOINED)
    }

    /// The lane goes on by itself; answers whether it may.
    pub(super) fn leave(&self) -> bool {
        self.change(LEFT)
    }

    pub(super) fn has_joined(&self) -> bool {
        self.standing.load(Ordering::Acquire) == JOINED
    }

    fn change(&self, to: u8) -> bool {
        self.standing
            .compare_exchange(FOLLOWING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
