//! Cursors: the truth about progress.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::bulk;
use crate::error::{ShareError, StoreError};
use crate::identity::{LogId, PluginId};
use crate::open::Store;
use crate::share::{CursorMove, Detached, Lane, RetryState, Share};

/// One stored cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The offset of the next record.
    pub next: i64,
    /// Faults at that record.
    pub retry: Option<RetryState>,
}

/// All cursors of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionCursors {
    /// The cursor that lanes at the head share; `None`: the partition is new.
    pub head: Option<i64>,
    /// Lanes with a cursor of their own.
    pub own: Vec<(PluginId, Cursor)>,
}

type Key = (i64, i32, i64);

/// The cursors that a group touches, as they stand within its transaction.
pub(crate) struct CursorTable {
    stored: HashMap<Key, Stored>,
    changed: HashMap<Key, Row>,
    /// Plugins that have no place any more: whatever a share says of their lanes is passed over.
    removed: BTreeSet<PluginId>,
}

struct Stored {
    next: i64,
    logged_at_ms: i64,
}

struct Row {
    /// `None`: the row is removed.
    next: Option<i64>,
    logged_at_ms: i64,
    retry: Option<RetryState>,
}

impl CursorTable {
    pub(crate) async fn load(
        conn: &mut SqliteConnection,
        shares: &[&Share],
        removed: BTreeSet<PluginId>,
    ) -> Result<Self, sqlx::Error> {
        let mut keys: Vec<Key> = shares.iter().flat_map(|share| keys_of(share)).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = bulk::fetch_on(
            conn,
            "SELECT log_id, partition, plugin_id, next_offset, logged_at_ms FROM cursors WHERE (log_id, partition, plugin_id) IN (SELECT column1, column2, column3 FROM (VALUES",
            3,
            ") AS asked)",
            &keys,
            |row, key| row.bind(key.0)?.bind(key.1)?.bind(key.2).map(drop),
        )
        .await?;
        let stored = rows
            .iter()
            .map(|row| {
                (
                    (row.get(0), row.get(1), row.get(2)),
                    Stored {
                        next: row.get(3),
                        logged_at_ms: row.get(4),
                    },
                )
            })
            .collect();
        Ok(Self {
            stored,
            changed: HashMap::new(),
            removed,
        })
    }

    /// Takes all moves back.
    pub(crate) fn reset(&mut self) {
        self.changed.clear();
    }

    fn at(&self, key: Key) -> Option<i64> {
        match self.changed.get(&key) {
            Some(row) => row.next,
            None => self.stored.get(&key).map(|stored| stored.next),
        }
    }

    /// The time of the last record that a cursor has passed.
    fn logged_at_ms(&self, key: Key) -> Option<i64> {
        match self.changed.get(&key) {
            Some(row) => row.next.map(|_| row.logged_at_ms),
            None => self.stored.get(&key).map(|stored| stored.logged_at_ms),
        }
    }

    /// Whether the cursors of a share stand where it expects them.
    fn check(&self, share: &Share, cursor: &CursorMove) -> Result<(), ShareError> {
        let key = |lane: Lane| (cursor.log.0, cursor.partition, lane.row());
        let compare = |found: Option<i64>, expected: Option<i64>| {
            if found == expected {
                Ok(())
            } else {
                Err(ShareError::Fenced {
                    expected: expected.unwrap_or(-1),
                    found,
                })
            }
        };
        compare(self.at(key(cursor.lane)), cursor.expected)?;
        for plugin in self.joined(share) {
            compare(self.at(key(Lane::Plugin(plugin))), cursor.expected)?;
        }
        // A lane may join the head and leave it again within one batch.
        for detached in self
            .detached(share)
            .filter(|detached| !share.joined.contains(&detached.plugin))
        {
            compare(self.at(key(Lane::Plugin(detached.plugin))), None)?;
        }
        Ok(())
    }

    /// Moves the cursors of a share, or says that one of them stood elsewhere; then
    /// nothing was moved. An earlier share of the group may have moved the same cursor.
    pub(crate) fn apply(&mut self, share: &Share) -> Result<(), ShareError> {
        let Some(cursor) = &share.cursor else {
            return Ok(());
        };
        self.check(share, cursor)?;
        let key = |lane: Lane| (cursor.log.0, cursor.partition, lane.row());
        let before_ms = self.logged_at_ms(key(cursor.lane));
        // A cursor that stays has passed nothing new, and a lane that leaves the head may
        // stand before the last record: state is swept by these times, and never too early.
        let stays = cursor.expected == Some(cursor.next);
        let logged_at_ms = before_ms.filter(|_| stays).unwrap_or(cursor.logged_at_ms);
        let left_at_ms = before_ms.unwrap_or(logged_at_ms).min(logged_at_ms);
        self.changed.insert(
            key(cursor.lane),
            Row {
                next: Some(cursor.next),
                logged_at_ms,
                retry: cursor.retry.clone(),
            },
        );
        let joined: Vec<PluginId> = self.joined(share).collect();
        for plugin in joined {
            self.changed.insert(
                key(Lane::Plugin(plugin)),
                Row {
                    next: None,
                    logged_at_ms,
                    retry: None,
                },
            );
        }
        let detached: Vec<Detached> = self.detached(share).cloned().collect();
        for detached in detached {
            self.changed.insert(
                key(Lane::Plugin(detached.plugin)),
                Row {
                    next: Some(detached.next),
                    logged_at_ms: left_at_ms,
                    retry: detached.retry,
                },
            );
        }
        Ok(())
    }

    fn joined(&self, share: &Share) -> impl Iterator<Item = PluginId> {
        let stays = |plugin: &PluginId| !self.removed.contains(plugin);
        share.joined.iter().copied().filter(stays)
    }

    fn detached<'a>(&self, share: &'a Share) -> impl Iterator<Item = &'a Detached> {
        let stays = |detached: &&Detached| !self.removed.contains(&detached.plugin);
        share.detached.iter().filter(stays)
    }

    pub(crate) async fn write(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let (kept, removed): (Vec<_>, Vec<_>) = self
            .changed
            .into_iter()
            .partition(|(_, row)| row.next.is_some());
        bulk::execute(
            conn,
            "DELETE FROM cursors WHERE (log_id, partition, plugin_id) IN (SELECT column1, column2, column3 FROM (VALUES",
            3,
            ") AS asked)",
            &removed,
            |row, (key, _)| row.bind(key.0)?.bind(key.1)?.bind(key.2).map(drop),
        )
        .await?;
        bulk::execute(
            conn,
            "INSERT INTO cursors (log_id, partition, plugin_id, next_offset, logged_at_ms, attempts, retry_at_ms, last_error) VALUES",
            8,
            "ON CONFLICT (log_id, partition, plugin_id) DO UPDATE SET next_offset = excluded.next_offset,
             logged_at_ms = excluded.logged_at_ms, attempts = excluded.attempts,
             retry_at_ms = excluded.retry_at_ms, last_error = excluded.last_error",
            &kept,
            |row, (key, value)| {
                let retry = value.retry.as_ref();
                row.bind(key.0)?
                    .bind(key.1)?
                    .bind(key.2)?
                    .bind(value.next)?
                    .bind(value.logged_at_ms)?
                    .bind(retry.map_or(0, |r| i64::from(r.attempts)))?
                    .bind(retry.map(|r| r.retry_at_ms))?
                    .bind(retry.map(|r| r.last_error.as_str()))
                    .map(drop)
            },
        )
        .await
    }
}

fn keys_of(share: &Share) -> Vec<Key> {
    let Some(cursor) = &share.cursor else {
        return Vec::new();
    };
    let lanes = share
        .joined
        .iter()
        .copied()
        .chain(share.detached.iter().map(|detached| detached.plugin))
        .map(Lane::Plugin)
        .chain([cursor.lane]);
    lanes
        .map(|lane| (cursor.log.0, cursor.partition, lane.row()))
        .collect()
}

impl Store {
    /// Whether any partition of a log has a cursor.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn log_has_cursors(&self, log: LogId) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM cursors WHERE log_id = ?)")
            .bind(log.0)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(StoreError::database("read the cursors"))
    }

    /// Where the head stands in every partition of a cluster: log, topic, partition, offset of
    /// the next record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn head_cursors(
        &self,
        cluster: &str,
    ) -> Result<Vec<(LogId, String, i32, i64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.log_id, l.topic, c.partition, c.next_offset FROM cursors c JOIN logs l ON l.id = c.log_id
             WHERE l.cluster = ? AND c.plugin_id = ? ORDER BY c.log_id, c.partition",
        )
        .bind(cluster)
        .bind(PluginId::NONE.0)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the cursors"))?;
        Ok(rows
            .iter()
            .map(|row| (LogId(row.get(0)), row.get(1), row.get(2), row.get(3)))
            .collect())
    }

    /// The cursors of one partition.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cursors(
        &self,
        log: LogId,
        partition: i32,
    ) -> Result<PartitionCursors, StoreError> {
        let rows = sqlx::query(
            "SELECT plugin_id, next_offset, attempts, retry_at_ms, last_error FROM cursors
             WHERE log_id = ? AND partition = ? ORDER BY plugin_id",
        )
        .bind(log.0)
        .bind(partition)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the cursors"))?;
        let mut cursors = PartitionCursors::default();
        for row in &rows {
            match PluginId(row.get(0)) {
                PluginId::NONE => cursors.head = Some(row.get(1)),
                plugin => cursors.own.push((
                    plugin,
                    Cursor {
                        next: row.get(1),
                        retry: retry(row),
                    },
                )),
            }
        }
        Ok(cursors)
    }
}

fn retry(row: &SqliteRow) -> Option<RetryState> {
    let attempts: i64 = row.get(2);
    (attempts > 0).then(|| RetryState {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        retry_at_ms: row.get::<Option<i64>, _>(3).unwrap_or(0),
        last_error: row.get::<Option<String>, _>(4).unwrap_or_default(),
    })
}
