//! The head of a partition: reads it, and gives each batch to the lanes that stand there
//! together. They share one cursor; what they decide on a batch is one share of the commit.

mod arranging;
mod followers;
mod handling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{Assigned, Partition, PartitionId, PositionLost, Working};
use carillon_store::{CursorMove, Lane as CursorLane, LogId, PluginId, Share, ShareError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::batch::Batch;
use crate::committer::Failed;
use crate::context::{Context, taken_away};
use crate::lane::End;
use crate::lane::following::Follow;
use crate::reach::Reach;
use crate::state_space::Ticket;
use followers::Follower;

/// A head without events looks this often whether a lane has caught up with it.
const JOIN_IDLE: Duration = Duration::from_millis(500);

pub(crate) struct Head {
    context: Arc<Context>,
    log: LogId,
    id: PartitionId,
    partition: Partition,
    revoked: watch::Receiver<bool>,
    _working: Working,
    /// Lanes with a cursor of their own, and how the head reaches those that follow.
    away: HashMap<PluginId, Away>,
    tasks: JoinSet<(PluginId, u64, End)>,
    /// The number of the last lane that was sent away.
    serial: u64,
    position: watch::Sender<i64>,
    reach: Arc<Reach>,
    follow: (mpsc::Sender<Follow>, mpsc::Receiver<Follow>),
    /// Which plugins there are and whose gates are open, as this head last arranged its lanes by.
    arranged: Option<u64>,
}

/// A lane that is away.
struct Away {
    /// Of its task; what an earlier task of the same lane still says is not heard.
    serial: u64,
    follower: Option<Follower>,
}

/// A head that cannot go on as it was taken up.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The log no longer has the next record.
    #[error(transparent)]
    PositionLost(#[from] PositionLost),
    /// Another host has moved the cursor, or a commit was written although its answer was lost.
    #[error("{0}")]
    NotWritten(ShareError),
    /// The store cannot say where lanes stand.
    #[error("{0}")]
    Store(#[from] carillon_store::StoreError),
    /// A lane's task has panicked.
    #[error("the task of a lane has failed: {0}")]
    Lane(#[from] JoinError),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

impl Head {
    pub(crate) fn new(context: Arc<Context>, log: LogId, assigned: Assigned) -> Self {
        let Assigned {
            partition,
            revoked,
            working,
            ..
        } = assigned;
        let id = partition.id().clone();
        let position = watch::Sender::new(partition.next_offset());
        let reach = Arc::new(Reach::new(partition.release(), partition.next_offset()));
        Self {
            context,
            log,
            id,
            partition,
            revoked,
            _working: working,
            away: HashMap::new(),
            tasks: JoinSet::new(),
            serial: 0,
            position,
            reach,
            follow: mpsc::channel(64),
            arranged: None,
        }
    }

    /// Works until the partition is taken away.
    pub(crate) async fn run(mut self) {
        match self.work().await {
            Ok(()) | Err(Trouble::ShuttingDown) => {}
            Err(trouble) => {
                let position = *self.position.borrow();
                tracing::warn!(partition = %self.id, position, %trouble, "a partition has to be taken up again");
                self.context.again.take_up();
            }
        }
        self.away.clear();
        self.tasks.shutdown().await;
        self.context.board.forget(&self.id);
        tracing::debug!(partition = %self.id, position = *self.position.borrow(), "a partition was let go");
    }

    async fn work(&mut self) -> Result<(), Trouble> {
        self.context.board.head(&self.id, *self.position.borrow());
        let mut revoked = self.revoked.clone();
        let mut changes = self.context.plugins.changes();
        loop {
            let loaded = self.context.plugins.loaded();
            if self.arranged != Some(loaded.generation) {
                self.arrange(&loaded).await?;
            }
            let (records, bytes) = (
                self.context.config.batch_records,
                self.context.config.batch_bytes,
            );
            tokio::select! {
                biased;
                () = taken_away(&mut revoked) => return Ok(()),
                // The sender lives as long as the context.
                _ = changes.changed() => {}
                Some(request) = self.follow.1.recv() => self.take_follower(request),
                Some(ended) = self.tasks.join_next() => self.lane_ended(ended)?,
                () = tokio::time::sleep(JOIN_IDLE), if self.away.values().any(|lane| lane.follower.is_some()) => {
                    self.join_idle(&loaded).await?;
                }
                records = self.partition.next_batch(records, bytes) => {
                    let start = *self.position.borrow();
                    let batch = Arc::new(Batch::decode(self.id.clone(), self.log, start, records?));
                    self.handle(&batch, &loaded).await?;
                }
            }
        }
    }

    fn cursor_move(&self, expected: i64, next: i64, logged_at_ms: i64) -> CursorMove {
        CursorMove {
            log: self.log,
            partition: self.id.partition,
            lane: CursorLane::Head,
            expected: Some(expected),
            next,
            logged_at_ms,
            retry: None,
        }
    }

    /// `None` from the committer is the end of the process.
    async fn commit(
        &self,
        share: Share,
        tickets: Vec<Ticket>,
    ) -> Result<Result<(), Failed>, Trouble> {
        self.context
            .committer
            .commit(share, tickets)
            .await
            .ok_or(Trouble::ShuttingDown)
    }
}
