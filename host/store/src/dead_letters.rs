//! Records that could not be handled, kept whole: written, listed, settled, purged.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite};

use crate::bulk;
use crate::error::StoreError;
use crate::identity::{LogId, PluginId, VersionId};
use crate::open::Store;
use crate::portion::fitting;
use crate::share::{DeadLetter, Share, Source};

/// How many dead letters are purged in one transaction: what holds the writer up is bounded.
const PURGED_AT_ONCE: u32 = 500;

/// The number of a dead letter, in the order in which they were stored. None is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadLetterRow(pub i64);

/// Which dead letters are meant: those that fulfil all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this plugin's lanes; [`PluginId::NONE`] is `intake`.
    pub plugin: Option<PluginId>,
    /// With this code.
    pub code: Option<String>,
    /// Of this topic, on any cluster.
    pub topic: Option<String>,
}

impl DeadLetterFilter {
    /// `start` and what the filter asks of the rows of `dead_letters d`.
    pub(crate) fn query(&self, start: &str) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(start);
        // Numbers begin at 1.
        query.push(" WHERE d.id > 0");
        if let Some(plugin) = self.plugin {
            query.push(" AND d.plugin_id = ").push_bind(plugin.0);
        }
        if let Some(code) = &self.code {
            query.push(" AND d.code = ").push_bind(code.clone());
        }
        if let Some(topic) = &self.topic {
            query
                .push(" AND d.log_id IN (SELECT id FROM logs WHERE topic = ")
                .push_bind(topic.clone())
                .push(")");
        }
        query
    }
}

/// A stored dead letter.
#[derive(Debug, Clone)]
pub struct StoredDeadLetter {
    /// Its number.
    pub row: DeadLetterRow,
    /// What was stored.
    pub letter: DeadLetter,
    /// The topic of the record.
    pub topic: String,
    /// The cluster of the record.
    pub cluster: String,
    /// The plugin's name, or `intake`.
    pub plugin_name: Arc<str>,
    /// The plugin's version; empty for `intake`.
    pub plugin_version: String,
    /// When it was stored, milliseconds since 1970.
    pub created_ms: i64,
}

/// Writes the dead letters of a group; answers whether there were any.
pub(crate) async fn write_all(
    conn: &mut SqliteConnection,
    shares: &[&Share],
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let letters: Vec<&DeadLetter> = shares
        .iter()
        .flat_map(|share| &share.dead_letters)
        .collect();
    bulk::execute(
        conn,
        "INSERT INTO dead_letters (log_id, partition, record_offset, plugin_id, version_id, event_id, code, reason,
         attempts, record_key, record_value, record_headers, logged_at_ms, created_ms) VALUES",
        14,
        // Stored by an earlier handling of the same record by the same lane.
        "ON CONFLICT (log_id, partition, record_offset, plugin_id) DO NOTHING",
        &letters,
        |row, letter| {
            let headers: Vec<(&str, Vec<u8>)> =
                letter.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            row.bind(letter.source.log.0)?
                .bind(letter.source.partition)?
                .bind(letter.source.offset)?
                .bind(letter.plugin.0)?
                .bind(letter.version.0)?
                .bind(letter.event_id.as_deref())?
                .bind(letter.code.as_str())?
                .bind(letter.reason.as_str())?
                .bind(letter.attempts)?
                .bind(letter.key.as_deref())?
                .bind(letter.value.as_deref())?
                .bind(serde_json::to_string(&headers).unwrap_or_default())?
                .bind(letter.source.logged_at_ms)?
                .bind(now_ms)
                .map(drop)
        },
    )
    .await?;
    Ok(!letters.is_empty())
}

/// Deletes the dead letters that a group has dealt with.
pub(crate) async fn settle_all(
    conn: &mut SqliteConnection,
    shares: &[&Share],
) -> Result<(), sqlx::Error> {
    let rows: Vec<DeadLetterRow> = shares
        .iter()
        .flat_map(|share| &share.settled)
        .copied()
        .collect();
    delete(conn, &rows).await.map(drop)
}

/// Answers how many there were.
async fn delete(conn: &mut SqliteConnection, rows: &[DeadLetterRow]) -> Result<u64, sqlx::Error> {
    let deleted = bulk::fetch_on(
        conn,
        "DELETE FROM dead_letters WHERE id IN (VALUES",
        1,
        ") RETURNING id",
        rows,
        |row, id| row.bind(id.0).map(drop),
    )
    .await?;
    Ok(deleted.len() as u64)
}

/// How many bytes the record of a dead letter takes.
pub(crate) const SIZE: &str =
    "COALESCE(LENGTH(record_value), 0) + COALESCE(LENGTH(record_key), 0) + LENGTH(record_headers)";

/// Dead letters as [`Store::stored_dead_letter`] reads them.
pub(crate) const SELECT: &str =
    "SELECT d.id, d.log_id, d.partition, d.record_offset, d.plugin_id, d.version_id, d.event_id, d.code, d.reason,
    d.attempts, d.record_key, d.record_value, d.record_headers, d.logged_at_ms, d.created_ms,
    l.topic, l.cluster, COALESCE(v.version, '')
    FROM dead_letters d JOIN logs l ON l.id = d.log_id LEFT JOIN plugin_versions v ON v.id = d.version_id";

/// Which dead letters of a plugin come from a stretch of a log, with the offsets of their records.
pub(crate) const OF_STRETCH: &str = "SELECT record_offset, id FROM dead_letters
    WHERE log_id = ? AND partition = ? AND record_offset >= ? AND record_offset < ? AND plugin_id = ?";

impl Store {
    /// The dead letters that a filter means, newest first, older than `after`, at most `limit`.
    /// Fewer may come where they are large (8 MiB at once, but one at least); there are no more
    /// once none comes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterRow>,
        limit: u32,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let sizes = self.sizes_of_dead_letters(filter, after, limit).await?;
        let rows: Vec<DeadLetterRow> = fitting(&sizes).map(|(row, _)| *row).collect();
        let mut letters = self.dead_letters_by_row(&rows).await?;
        letters.reverse();
        Ok(letters)
    }

    /// The dead letters with these numbers, as far as there are any, oldest first. Whole
    /// records, all at once: ask for few.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_by_row(
        &self,
        rows: &[DeadLetterRow],
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let found = bulk::fetch(
            || &self.inner.readers,
            &format!("{SELECT} WHERE d.id IN (VALUES"),
            1,
            ") ORDER BY d.id",
            &sorted,
            |row, id| row.bind(id.0).map(drop),
        )
        .await
        .map_err(StoreError::database("read dead letters"))?;
        found
            .iter()
            .map(|row| self.stored_dead_letter(row))
            .collect()
    }

    /// The dead letters that an event has become, oldest first, at most 8 MiB of them, but one
    /// at least.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_of_event(
        &self,
        event_id: &str,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let sizes: Vec<(i64, i64)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT d.id, {SIZE} FROM dead_letters d WHERE {OF_EVENT} ORDER BY d.id"
        )))
        .bind(event_id)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read dead letters"))?;
        let rows: Vec<DeadLetterRow> = fitting(&sizes)
            .map(|(row, _)| DeadLetterRow(*row))
            .collect();
        self.dead_letters_by_row(&rows).await
    }

    /// The dead letters of a plugin from the records between two offsets, the second left out:
    /// their offsets and numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_between(
        &self,
        plugin: PluginId,
        log: LogId,
        partition: i32,
        offsets: Range<i64>,
    ) -> Result<Vec<(i64, DeadLetterRow)>, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(OF_STRETCH)
            .bind(log.0)
            .bind(partition)
            .bind(offsets.start)
            .bind(offsets.end)
            .bind(plugin.0)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::database("read the dead letters of a stretch"))?;
        Ok(rows
            .into_iter()
            .map(|(offset, row)| (offset, DeadLetterRow(row)))
            .collect())
    }

    /// How many dead letters a filter means.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        filter
            .query("SELECT COUNT(*) FROM dead_letters d")
            .build_query_scalar::<i64>()
            .fetch_one(&self.inner.readers)
            .await
            .map(i64::cast_unsigned)
            .map_err(StoreError::database("count dead letters"))
    }

    /// Deletes dead letters and answers how many there were. What was not copied to the
    /// dead-letter topic yet is not copied any more.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn purge_dead_letters(&self, rows: &[DeadLetterRow]) -> Result<u64, StoreError> {
        const WHAT: &str = "purge dead letters";
        let mut writer = self.begin(WHAT).await?;
        let purged = delete(writer.conn(), rows)
            .await
            .map_err(StoreError::database(WHAT));
        self.end(writer, WHAT, purged, |_, _| {}).await
    }

    /// Deletes the dead letters that a filter means, newest first, and answers how many there
    /// were. What was not copied to the dead-letter topic yet is not copied any more. What is
    /// stored meanwhile stays.
    ///
    /// # Errors
    /// When the database cannot be written; a part may be gone then.
    pub async fn purge_dead_letters_where(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        let mut after = None;
        loop {
            let rows: Vec<DeadLetterRow> = self
                .sizes_of_dead_letters(filter, after, PURGED_AT_ONCE)
                .await?
                .into_iter()
                .map(|(row, _)| row)
                .collect();
            let Some(last) = rows.last() else {
                return Ok(purged);
            };
            after = Some(*last);
            purged += self.purge_dead_letters(&rows).await?;
        }
    }

    /// Notes that a dead letter was tried again and stays one: with which binary, why, and how
    /// many attempts were made in all. Answers whether it is still there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn dead_letter_failed_again(
        &self,
        row: DeadLetterRow,
        version: VersionId,
        code: &str,
        reason: &str,
        attempts: u32,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer().await;
        sqlx::query(
            "UPDATE dead_letters SET version_id = ?, code = ?, reason = ?, attempts = ? WHERE id = ?",
        )
        .bind(version.0)
        .bind(code)
        .bind(reason)
        .bind(attempts)
        .bind(row.0)
        .execute(writer.conn())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(StoreError::database("note that a dead letter failed again"))
    }

    /// Newest first.
    async fn sizes_of_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterRow>,
        limit: u32,
    ) -> Result<Vec<(DeadLetterRow, i64)>, StoreError> {
        let mut query = filter.query(&format!("SELECT d.id, {SIZE} FROM dead_letters d"));
        if let Some(after) = after {
            query.push(" AND d.id < ").push_bind(after.0);
        }
        query
            .push(" ORDER BY d.id DESC LIMIT ")
            .push_bind(i64::from(limit));
        let rows = query
            .build()
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::database("read dead letters"))?;
        Ok(rows
            .iter()
            .map(|row| (DeadLetterRow(row.get(0)), row.get(1)))
            .collect())
    }

    /// Reads a row of [`SELECT`].
    pub(crate) fn stored_dead_letter(
        &self,
        row: &SqliteRow,
    ) -> Result<StoredDeadLetter, StoreError> {
        let plugin = PluginId(row.get(4));
        let headers: &str = row.get(12);
        Ok(StoredDeadLetter {
            row: DeadLetterRow(row.get(0)),
            letter: DeadLetter {
                plugin,
                version: VersionId(row.get(5)),
                source: Source {
                    log: LogId(row.get(1)),
                    partition: row.get(2),
                    offset: row.get(3),
                    logged_at_ms: row.get(13),
                },
                event_id: row.get(6),
                code: row.get(7),
                reason: row.get(8),
                attempts: row.get(9),
                key: row.get(10),
                value: row.get(11),
                headers: serde_json::from_str(headers).map_err(|error| StoreError::Unreadable {
                    what: "dead letter's headers",
                    detail: error.to_string(),
                })?,
            },
            topic: row.get(15),
            cluster: row.get(16),
            plugin_name: if plugin == PluginId::NONE {
                Arc::from("intake")
            } else {
                self.plugin_name(plugin)
            },
            plugin_version: row.get(17),
            created_ms: row.get(14),
        })
    }
}

/// Whose event id is the one asked for.
pub(crate) const OF_EVENT: &str = "d.event_id = ?";
