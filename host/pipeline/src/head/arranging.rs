//! Which lanes stand at the head, and which go on by themselves.

use std::collections::HashSet;
use std::sync::Arc;

use carillon_store::{Cursor, Detached, PluginId, Share};
use tokio::task::JoinError;

use super::{Away, Head, Trouble};
use crate::batch::Batch;
use crate::handler::Handler;
use crate::lane::{End, Lane};
use crate::table::Loaded;

impl Head {
    /// Between two events: takes up the lanes that have a cursor of their own, and gives one to
    /// those that may not stand here: their plugin is paused, quarantined, installed and not
    /// loaded, or waits for the network.
    pub(super) async fn arrange(&mut self, loaded: &Loaded) -> Result<(), Trouble> {
        let position = *self.position.borrow();
        // Before the rows: one that is installed in between has its rows then.
        let known = self.context.store.known_plugins();
        let mut cursors = self
            .context
            .store
            .cursors(self.log, self.id.partition)
            .await?;
        let own: HashSet<PluginId> = cursors.own.iter().map(|(plugin, _)| *plugin).collect();
        // Who has no row any more was removed; its task ends by itself, and a plugin that was
        // installed anew since stands here.
        let gone: Vec<PluginId> = self
            .away
            .keys()
            .copied()
            .filter(|plugin| !own.contains(plugin))
            .collect();
        for plugin in gone {
            self.forget_lane(plugin);
        }
        let at_head = |plugin: &PluginId| !own.contains(plugin) && !self.away.contains_key(plugin);
        let may_stay = |plugin: &PluginId| {
            loaded
                .handlers
                .get(plugin)
                .is_some_and(|handler| handler.may_stand_at_head())
        };
        let waiting: Vec<Detached> = known
            .iter()
            .map(|(plugin, _)| *plugin)
            .filter(|plugin| at_head(plugin) && !may_stay(plugin))
            .map(|plugin| Detached {
                plugin,
                next: position,
                retry: None,
            })
            .collect();
        if !waiting.is_empty() {
            let cursor = |detached: &Detached| {
                let cursor = Cursor {
                    next: detached.next,
                    retry: None,
                };
                (detached.plugin, cursor)
            };
            cursors.own.extend(waiting.iter().map(cursor));
            // No record is passed by it, so no state expires.
            let mut share = Share::moving(self.cursor_move(position, position, 0));
            share.detached = waiting;
            self.commit(share, Vec::new())
                .await?
                .map_err(|failed| Trouble::NotWritten(failed.error))?;
        }
        for (plugin, cursor) in cursors.own {
            if self.away.contains_key(&plugin) {
                continue;
            }
            if let Some(handler) = loaded.handlers.get(&plugin) {
                self.send_away(handler, cursor, None);
            }
        }
        self.arranged = Some(loaded.generation);
        tracing::debug!(partition = %self.id, position, lanes_away = self.away.len(), generation = loaded.generation, "the lanes of a partition were arranged");
        Ok(())
    }

    /// From here on a lane goes on by itself. If it stood in `batch`, it follows at once.
    pub(super) fn send_away(
        &mut self,
        handler: &Arc<Handler>,
        cursor: Cursor,
        batch: Option<Arc<Batch>>,
    ) {
        self.serial += 1;
        let serial = self.serial;
        let (follower, following) = if batch.is_some() {
            let (follower, following) = self.follower();
            (Some(follower), Some(following))
        } else {
            (None, None)
        };
        self.away.insert(handler.id, Away { serial, follower });
        self.reach.lane(handler.id, cursor.next);
        let retry = cursor.retry.as_ref();
        self.context.board.lane(
            &self.id,
            handler.id,
            cursor.next,
            retry.map(|retry| (retry.attempts, retry.last_error.clone())),
        );
        let lane = Lane {
            context: Arc::clone(&self.context),
            handler: Arc::clone(handler),
            serial,
            partition: self.id.clone(),
            log: self.log,
            cursor: cursor.next,
            retry: cursor.retry,
            current: batch.filter(|batch| cursor.next < batch.next),
            following,
            head: self.position.subscribe(),
            follow: self.follow.0.clone(),
            revoked: self.revoked.clone(),
            reach: Arc::clone(&self.reach),
            one_by_one_until: 0,
        };
        let plugin = handler.id;
        self.tasks
            .spawn(async move { (plugin, serial, lane.run().await) });
    }

    pub(super) fn lane_ended(
        &mut self,
        ended: Result<(PluginId, u64, End), JoinError>,
    ) -> Result<(), Trouble> {
        let (plugin, serial, end) = ended?;
        let current = self
            .away
            .get(&plugin)
            .is_some_and(|lane| lane.serial == serial);
        match end {
            _ if !current => {}
            // Its row is gone, or somebody else's: the store tells where it stands now.
            End::Joined | End::Left => {
                self.forget_lane(plugin);
                self.arranged = None;
            }
            End::Stopped => self.reach.ended(plugin),
        }
        Ok(())
    }

    pub(super) fn forget_lane(&mut self, plugin: PluginId) {
        self.away.remove(&plugin);
        self.reach.ended(plugin);
        self.context.board.lane_ended(&self.id, plugin);
    }
}
