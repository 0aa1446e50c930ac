//! Lanes near the head: they are handed its batches, and taken back once they have caught up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use carillon_store::{PluginId, Share};
use tokio::sync::mpsc;

use super::{Head, Trouble};
use crate::batch::Batch;
use crate::lane::following::{Follow, FollowProgress, Following, INBOX};
use crate::table::Loaded;

pub(super) struct Follower {
    inbox: mpsc::Sender<Arc<Batch>>,
    progress: Arc<FollowProgress>,
}

impl Head {
    /// Gives the batch to those who follow; answers those who have caught up and are taken
    /// back with this batch.
    pub(super) fn feed_followers(&mut self, batch: &Arc<Batch>, loaded: &Loaded) -> Vec<PluginId> {
        let joined = self.take_back(batch.start, loaded);
        for lane in self.away.values_mut() {
            if let Some(there) = &lane.follower
                && there.inbox.try_send(Arc::clone(batch)).is_err()
            {
                // Too far behind, or gone: it reads by itself and asks again.
                lane.follower = None;
            }
        }
        joined
    }

    /// Those who have handled everything before `position` and may go on with the head from there.
    fn take_back(&mut self, position: i64, loaded: &Loaded) -> Vec<PluginId> {
        let mut joined: Vec<PluginId> = self
            .away
            .iter()
            .filter(|(plugin, lane)| {
                let handler = loaded.handlers.get(plugin);
                handler.is_some_and(|handler| handler.may_stand_at_head())
                    && lane.follower.as_ref().is_some_and(|there| {
                        there.inbox.capacity() == there.inbox.max_capacity()
                            && there.progress.done_to.load(Ordering::Acquire) == position
                            // Last, since it takes effect: the lane may be letting go.
                            && there.progress.join()
                    })
            })
            .map(|(plugin, _)| *plugin)
            .collect();
        joined.sort_unstable();
        for plugin in &joined {
            self.forget_lane(*plugin);
        }
        joined
    }

    /// Takes back who has caught up with a head that has nothing to do.
    pub(super) async fn join_idle(&mut self, loaded: &Loaded) -> Result<(), Trouble> {
        let position = *self.position.borrow();
        let joined = self.take_back(position, loaded);
        if joined.is_empty() {
            return Ok(());
        }
        // No record is passed by it, so no state expires.
        let mut share = Share::moving(self.cursor_move(position, position, 0));
        share.joined = joined;
        self.commit(share, Vec::new())
            .await?
            .map_err(|failed| Trouble::NotWritten(failed.error))
    }

    pub(super) fn follower(&self) -> (Follower, Following) {
        let (inbox, receiver) = mpsc::channel(INBOX);
        let progress = Arc::new(FollowProgress::default());
        progress.done_to.store(-1, Ordering::Release);
        let follower = Follower {
            inbox,
            progress: Arc::clone(&progress),
        };
        let following = Following {
            from: *self.position.borrow(),
            inbox: receiver,
            progress,
        };
        (follower, following)
    }

    pub(super) fn take_follower(&mut self, request: Follow) {
        let (follower, following) = self.follower();
        let lane = self.away.get_mut(&request.plugin);
        // One whose place was given to another task gets no answer, and ends at its next commit.
        if let Some(lane) = lane.filter(|lane| lane.serial == request.serial) {
            lane.follower = Some(follower);
            // It may have ended meanwhile.
            let _ = request.answer.send(following);
        }
    }
}
