//! The outbox: events beside the changes that they tell of, until the log has them.

use std::borrow::Cow;
use std::collections::HashSet;

use carillon_events::Draft;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqliteExecutor};

use crate::columns::json;
use crate::error::WriteError;
use crate::writer::{Change, MOST_SET_BACK_MS};

/// How many rows one step of a walk along the outbox looks at, so that it never holds the writer for
/// long.
const STEP_ROWS: i64 = 2_000;

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
    pub(crate) key: Cow<'a, str>,
    /// The request that it follows from.
    pub(crate) correlation_id: &'a str,
    pub(crate) kept: Kept,
    pub(crate) draft: Draft,
}

/// How long an event stands in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// For the duplicate window, to be sent again to a log that has lost it.
    ForTheWindow,
    /// Until it is sent: it is no loss, and there are many like it.
    UntilSent,
}

/// Writes events into the outbox, in the transaction of the change, in the order given.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    now_ms: i64,
    events: Vec<Outgoing<'_>>,
) -> Result<(), WriteError> {
    let is_one = match events.len() {
        0 => return Ok(()),
        events => events == 1,
    };
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO outbox (event_id, topic, key, value, created_ms, correlation_id, is_kept) ",
    );
    insert.push_values(events, |mut row, outgoing| {
        let event_id = uuid::Uuid::now_v7().to_string();
        let draft = outgoing
            .draft
            .id(event_id.as_str())
            .correlation(outgoing.correlation_id);
        row.push_bind(event_id)
            .push_bind(outgoing.topic)
            .push_bind(outgoing.key)
            .push_bind(draft.to_json())
            .push_bind(now_ms)
            .push_bind(outgoing.correlation_id)
            .push_bind(outgoing.kept == Kept::ForTheWindow);
    });
    // A statement for each number of rows would drive those that are used all the time out of the cache.
    insert
        .build()
        .persistent(is_one)
        .execute(connection)
        .await?;
    Ok(())
}

/// Which unsent events are read.
pub(crate) struct UnsentPage<'a> {
    /// Only those after this one.
    pub(crate) after_seq: i64,
    pub(crate) without_topics: &'a HashSet<String>,
    pub(crate) limit: usize,
}

/// Events that the log does not have, in order.
pub(crate) async fn unsent(
    database: impl SqliteExecutor<'_>,
    page: UnsentPage<'_>,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let topics: Vec<&str> = page.without_topics.iter().map(String::as_str).collect();
    sqlx::query_as(
        "SELECT seq, topic, key, value, created_ms, correlation_id FROM outbox
         WHERE sent_ms IS NULL AND seq > ?
           AND topic NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
    )
    .bind(page.after_seq)
    .bind(serde_json::Value::from(topics).to_string())
    .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
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

/// Notes that the log has these events; those that are kept no longer go.
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
        let seqs = json(&self.seqs)?;
        sqlx::query(
            "DELETE FROM outbox WHERE is_kept = 0 AND seq IN (SELECT value FROM json_each(?))",
        )
        .bind(&seqs)
        .execute(&mut *connection)
        .await?;
        sqlx::query("UPDATE outbox SET sent_ms = ? WHERE seq IN (SELECT value FROM json_each(?))")
            .bind(now_ms)
            .bind(&seqs)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The last row that a step from behind `after_seq` looks at; none at the end.
async fn step_end(
    connection: &mut SqliteConnection,
    after_seq: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT max(seq) FROM (SELECT seq FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?)",
    )
    .bind(after_seq)
    .bind(STEP_ROWS)
    .fetch_one(connection)
    .await
}

/// Takes back that anything of the window was sent, one step at a time: the log that had it is gone.
pub(crate) struct ForgetSent {
    pub(crate) window_ms: i64,
    /// The step begins behind this row.
    pub(crate) after_seq: i64,
}

/// What a step came to.
pub(crate) struct Forgotten {
    /// How many events are to be sent again.
    pub(crate) rows: u64,
    /// The last row it looked at; none where there was none left.
    pub(crate) went_on_to: Option<i64>,
}

impl Change for ForgetSent {
    type Done = Forgotten;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        _now_ms: i64,
    ) -> Result<Forgotten, WriteError> {
        let latest_ms = latest_ms(&mut *connection).await?;
        let Some(end_seq) = step_end(connection, self.after_seq).await? else {
            return Ok(Forgotten {
                rows: 0,
                went_on_to: None,
            });
        };
        let forgotten = sqlx::query(
            "UPDATE outbox SET sent_ms = NULL
             WHERE seq > ? AND seq <= ? AND sent_ms IS NOT NULL AND created_ms BETWEEN ? AND ?",
        )
        .bind(self.after_seq)
        .bind(end_seq)
        .bind(latest_ms.saturating_sub(self.window_ms))
        // What a clock that was ahead has dated later would be in the window for ever.
        .bind(latest_ms.saturating_add(MOST_SET_BACK_MS))
        .execute(connection)
        .await?;
        Ok(Forgotten {
            rows: forgotten.rows_affected(),
            went_on_to: Some(end_seq),
        })
    }
}

/// Removes events that were sent and are older than the window, counted back from the newest event and
/// not from now: a service that slept for a week still has its last day to tell.
pub(crate) struct Prune {
    pub(crate) window_ms: i64,
    /// The step begins behind this row: many that cannot be sent must not hide those behind them.
    pub(crate) after_seq: i64,
}

/// What a step came to.
pub(crate) struct Pruned {
    /// How many rows went.
    pub(crate) rows: u64,
    /// The last row it looked at; none where all behind it are of the window.
    pub(crate) went_on_to: Option<i64>,
}

impl Change for Prune {
    type Done = Pruned;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Pruned, WriteError> {
        // Not by what a clock that was ahead has dated.
        let latest_ms = latest_ms(&mut *connection).await?.min(now_ms);
        let before_ms = latest_ms.saturating_sub(self.window_ms);
        let Some(end_seq) = step_end(connection, self.after_seq).await? else {
            return Ok(Pruned {
                rows: 0,
                went_on_to: None,
            });
        };
        let pruned = sqlx::query(
            "DELETE FROM outbox
             WHERE seq > ? AND seq <= ? AND sent_ms IS NOT NULL AND created_ms < ?",
        )
        .bind(self.after_seq)
        .bind(end_seq)
        .bind(before_ms)
        .execute(&mut *connection)
        .await?;
        // Rows are in the order of their times, so that behind one of the window are no others; but a
        // clock that was ahead may have dated it.
        let end_ms: Option<i64> = sqlx::query_scalar("SELECT created_ms FROM outbox WHERE seq = ?")
            .bind(end_seq)
            .fetch_optional(connection)
            .await?;
        Ok(Pruned {
            rows: pruned.rows_affected(),
            went_on_to: end_ms
                .is_none_or(|end_ms| end_ms < before_ms || end_ms > latest_ms)
                .then_some(end_seq),
        })
    }
}
