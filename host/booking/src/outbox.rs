//! The outbox: events beside the changes that they tell of, until the log has them.

use carillon_events::Draft;
use sqlx::{SqliteConnection, SqliteExecutor};

use crate::error::WriteError;
use crate::work;
use crate::writer::Change;

/// How many rows one pruning looks at, so that it never holds the writer for long.
const PRUNE_ROWS: i64 = 2_000;

/// An event that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct OutboxRow {
    /// Its place in the order of changes.
    pub(crate) seq: i64,
    /// The topic it goes to.
    pub(crate) topic: String,
    /// The record's key.
    pub(crate) key: String,
    /// The record's value.
    pub(crate) value: Vec<u8>,
    /// When the change was made; the record's timestamp.
    pub(crate) created_ms: i64,
    /// The request that it follows from; empty in rows of old databases.
    pub(crate) correlation_id: String,
}

/// How far the log is behind the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Events that the log has not acknowledged.
    pub rows: i64,
    /// When the oldest of them was made, in milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
}

/// Where an event goes and what it is.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: &'a str,
    /// The request that it follows from.
    pub(crate) correlation_id: &'a str,
    pub(crate) draft: Draft,
}

/// Writes an event into the outbox, in the transaction of the change.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    now_ms: i64,
    outgoing: Outgoing<'_>,
) -> Result<(), WriteError> {
    let event_id = uuid::Uuid::now_v7().to_string();
    let draft = outgoing
        .draft
        .id(event_id.as_str())
        .correlation(outgoing.correlation_id);
    sqlx::query(
        "INSERT INTO outbox (event_id, topic, key, value, created_ms, correlation_id)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&event_id)
    .bind(outgoing.topic)
    .bind(outgoing.key)
    .bind(draft.to_json())
    .bind(now_ms)
    .bind(outgoing.correlation_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// The first events that the log does not have, in order.
pub(crate) async fn unsent(
    database: impl SqliteExecutor<'_>,
    limit: u32,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT seq, topic, key, value, created_ms, correlation_id FROM outbox
         WHERE sent_ms IS NULL ORDER BY seq LIMIT ?",
    )
    .bind(limit)
    .fetch_all(database)
    .await
}

/// How many events wait, and since when.
pub(crate) async fn lag(database: impl SqliteExecutor<'_>) -> Result<Lag, sqlx::Error> {
    let (rows, oldest_ms) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM outbox WHERE sent_ms IS NULL),
                (SELECT created_ms FROM outbox WHERE sent_ms IS NULL ORDER BY seq LIMIT 1)",
    )
    .fetch_one(database)
    .await?;
    Ok(Lag { rows, oldest_ms })
}

/// The time of the newest event, or 0 where there is none.
pub(crate) async fn latest_ms(database: impl SqliteExecutor<'_>) -> Result<i64, sqlx::Error> {
    let latest = sqlx::query_scalar("SELECT created_ms FROM outbox ORDER BY seq DESC LIMIT 1")
        .fetch_optional(database)
        .await?;
    Ok(latest.unwrap_or(0))
}

/// Notes that the log has these events.
pub(crate) struct MarkSent {
    pub(crate) seqs: Vec<i64>,
}

impl Change for MarkSent {
    type Done = ();

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        sqlx::query("UPDATE outbox SET sent_ms = ? WHERE seq IN (SELECT value FROM json_each(?))")
            .bind(now_ms)
            .bind(work::json(&self.seqs)?)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Takes back that anything of the window was sent: the log that had it is gone.
pub(crate) struct ForgetSent {
    pub(crate) window_ms: i64,
}

impl Change for ForgetSent {
    /// How many events are to be sent again.
    type Done = u64;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        _now_ms: i64,
    ) -> Result<u64, WriteError> {
        let since_ms = latest_ms(&mut *connection)
            .await?
            .saturating_sub(self.window_ms);
        let forgotten = sqlx::query(
            "UPDATE outbox SET sent_ms = NULL WHERE sent_ms IS NOT NULL AND created_ms >= ?",
        )
        .bind(since_ms)
        .execute(connection)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

/// Removes events that were sent and are older than the window, counted back from the newest event and
/// not from now: a service that slept for a week still has its last day to tell.
pub(crate) struct Prune {
    pub(crate) window_ms: i64,
}

impl Change for Prune {
    /// How many rows went.
    type Done = u64;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        _now_ms: i64,
    ) -> Result<u64, WriteError> {
        let before_ms = latest_ms(&mut *connection)
            .await?
            .saturating_sub(self.window_ms);
        // Rows are in the order of their times, so the ones to remove are the first ones.
        let pruned = sqlx::query(
            "DELETE FROM outbox WHERE seq IN (
                 SELECT seq FROM (SELECT seq, sent_ms, created_ms FROM outbox ORDER BY seq LIMIT ?)
                 WHERE sent_ms IS NOT NULL AND created_ms < ?
             )",
        )
        .bind(PRUNE_ROWS)
        .bind(before_ms)
        .execute(connection)
        .await?;
        Ok(pruned.rows_affected())
    }
}
