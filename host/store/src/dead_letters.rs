//! Records that could not be handled, kept whole.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::error::StoreError;
use crate::identity::{LogId, PluginId, VersionId};
use crate::open::Store;
use crate::share::{DeadLetter, Share, Source};

/// What is read at once: a record may take a mebibyte, and a burst of bad ones must not
/// fill the memory.
const MAX_READ_BYTES: i64 = 8 << 20;

/// The number of a dead letter, in the order in which they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterRow(pub i64);

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

impl Store {
    /// Dead letters that were not yet copied to their topic, oldest first, at most `limit`
    /// and at most 8 MiB of them, but one at least.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_to_relay(
        &self,
        limit: u32,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let fail = || StoreError::database("read dead letters");
        let sizes: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT id, COALESCE(LENGTH(record_value), 0) + COALESCE(LENGTH(record_key), 0) + LENGTH(record_headers)
             FROM dead_letters WHERE relayed_ms IS NULL ORDER BY id LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(fail())?;
        let mut bytes = 0;
        let fitting = sizes.iter().take_while(|(_, size)| {
            let first = bytes == 0;
            bytes += size;
            first || bytes <= MAX_READ_BYTES
        });
        let Some((last, _)) = fitting.last() else {
            return Ok(Vec::new());
        };
        let rows = sqlx::query(
            "SELECT d.id, d.log_id, d.partition, d.record_offset, d.plugin_id, d.version_id, d.event_id, d.code, d.reason,
             d.attempts, d.record_key, d.record_value, d.record_headers, d.logged_at_ms, d.created_ms,
             l.topic, l.cluster, COALESCE(v.version, '')
             FROM dead_letters d JOIN logs l ON l.id = d.log_id LEFT JOIN plugin_versions v ON v.id = d.version_id
             WHERE d.relayed_ms IS NULL AND d.id <= ? ORDER BY d.id",
        )
        .bind(last)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(fail())?;
        rows.iter()
            .map(|row| {
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
                        headers: serde_json::from_str(headers).map_err(|error| {
                            StoreError::Unreadable {
                                what: "dead letter's headers",
                                detail: error.to_string(),
                            }
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
            })
            .collect()
    }

    /// Notes that dead letters were copied to their topic.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn dead_letters_relayed(
        &self,
        rows: &[DeadLetterRow],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        bulk::execute(
            writer.conn(),
            &format!("UPDATE dead_letters SET relayed_ms = {now_ms} WHERE id IN (VALUES"),
            1,
            ")",
            rows,
            |row, id| row.bind(id.0).map(drop),
        )
        .await
        .map_err(StoreError::database("mark dead letters as relayed"))
    }

    /// Resolves when a dead letter was stored.
    pub async fn dead_letter_stored(&self) {
        self.inner.dead_letter_stored.notified().await;
    }
}
