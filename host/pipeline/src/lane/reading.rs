//! Where a lane's next batch comes from: read from the log, or handed over by the head.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use carillon_bus::{ReadError, UnknownPosition};
use carillon_store::{CursorMove, Lane as CursorLane, Share};
use tokio::sync::oneshot;

use super::following::Follow;
use super::{End, Lane, TROUBLE_PAUSE};
use crate::batch::Batch;

/// A lane this near to the head follows it, in records.
const NEAR: i64 = 4_096;

/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 2_048;
const TURN_BYTES: usize = 1 << 20;

impl Lane {
    pub(super) async fn next_batch(&mut self) -> Result<Arc<Batch>, End> {
        loop {
            if let Some(batch) = self.current.take() {
                return Ok(batch);
            }
            let head = *self.head.borrow_and_update();
            if self.following.is_none() && head - self.cursor <= NEAR {
                let (answer, following) = oneshot::channel();
                let request = Follow {
                    plugin: self.handler.id,
                    serial: self.serial,
                    answer,
                };
                // Without a head the partition is being taken away; `run` notices.
                if self.follow.send(request).await.is_ok() {
                    self.following = following.await.ok();
                }
            }
            let until = self
                .following
                .as_ref()
                .map_or(head, |following| following.from);
            if self.cursor < until {
                if let Some(batch) = self.read(until).await? {
                    return Ok(batch);
                }
                continue;
            }
            let Some(following) = &mut self.following else {
                // Caught up with where the head stood when it was looked at.
                if self.head.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            following
                .progress
                .done_to
                .store(self.cursor, Ordering::Release);
            match following.inbox.recv().await {
                Some(batch) if batch.next <= self.cursor => {}
                Some(batch) => return Ok(batch),
                None if following.progress.has_joined() => {
                    return Err(End::Joined);
                }
                // The head has let go of it: too far behind.
                None => self.following = None,
            }
        }
    }

    /// Reads on from the cursor; answers nothing if the stretch was empty.
    async fn read(&mut self, until: i64) -> Result<Option<Arc<Batch>>, End> {
        match self
            .context
            .readers
            .read(&self.partition, self.cursor, until, TURN, TURN_BYTES)
            .await
        {
            Ok(stretch) if stretch.next == self.cursor => Ok(None),
            Ok(stretch) => {
                let mut batch = Batch::decode(
                    self.partition.clone(),
                    self.log,
                    self.cursor,
                    stretch.records,
                );
                batch.next = stretch.next;
                Ok(Some(Arc::new(batch)))
            }
            Err(ReadError::OutOfRange { low, high, .. }) => {
                self.lost_place(low, high).await?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(plugin = %self.handler.name, %error, "a lane cannot read what it has missed yet");
                tokio::time::sleep(TROUBLE_PAUSE).await;
                Ok(None)
            }
        }
    }

    /// The log no longer has what the lane would read next. It goes on as the operator has chosen,
    /// or waits for a choice.
    async fn lost_place(&mut self, low: i64, high: i64) -> Result<(), End> {
        let gone = (low - self.cursor).max(0);
        let plugin = self.handler.name.to_string();
        metrics::counter!("carillon_lost_positions_total", "plugin" => plugin.clone()).increment(1);
        let what = format!(
            "the lane of {plugin} on {} stands at {}, and the log holds {low} to {high}: {gone} events that it had not handled are gone",
            self.partition, self.cursor
        );
        let next = match self.context.unknown_position {
            UnknownPosition::Earliest => low,
            UnknownPosition::Latest => high,
            UnknownPosition::Stop => {
                let reason = format!(
                    "{what}; choose where to go on with notification_service.kafka.unknown_position = \"earliest\" or \"latest\", and restart"
                );
                return Err(self.stopped(reason));
            }
        };
        tracing::error!(next, "{what}; it goes on as configured");
        let share = Share::moving(CursorMove {
            log: self.log,
            partition: self.partition.partition,
            lane: CursorLane::Plugin(self.handler.id),
            expected: Some(self.cursor),
            next,
            logged_at_ms: 0,
            retry: None,
        });
        match self.context.committer.commit(share, Vec::new()).await {
            None => Err(End::Left),
            Some(Ok(())) => {
                self.let_go()?;
                self.moved(next, None);
                Ok(())
            }
            Some(Err(_)) => self.look_up_place().await,
        }
    }
}
