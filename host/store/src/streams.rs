//! Reading streams: heads and history.

use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::entry::{Entry, Notification, Priority, Publication, Withdrawal};
use crate::error::StoreError;
use crate::identity::{NotificationId, PluginId};
use crate::open::Store;

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHead {
    /// Another epoch means another history: offsets of it say nothing here.
    pub epoch: Arc<str>,
    /// The newest offset; 0: nothing was ever sent.
    pub offset: u64,
    /// Entries up to and including this offset are gone.
    pub trimmed_through: u64,
}

const COLUMNS: &str = "n.id, s.name, n.stream_offset, n.withdraws, n.plugin_id, n.event_id, n.kind, n.category, n.title, n.body,
    n.data, n.link, n.priority, n.collapse_key, n.created_ms, n.expires_at_ms, n.correlation_id";

impl Store {
    /// Drawn when the database was made; see [`StreamHead::epoch`].
    #[must_use]
    pub fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.inner.epoch)
    }

    /// Where a stream stands.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stream_head(&self, stream: &str) -> Result<StreamHead, StoreError> {
        let row = sqlx::query("SELECT last_offset, trimmed_through FROM streams WHERE name = ?")
            .bind(stream)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(StoreError::database("read a stream"))?;
        let (offset, trimmed_through) =
            row.map_or((0, 0), |row| (row.get::<i64, _>(0), row.get::<i64, _>(1)));
        Ok(StreamHead {
            epoch: self.epoch(),
            offset: offset.cast_unsigned(),
            trimmed_through: trimmed_through.cast_unsigned(),
        })
    }

    /// The entries of a stream beyond `after_offset`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn history(
        &self,
        stream: &str,
        after_offset: u64,
        limit: u32,
    ) -> Result<Vec<Publication>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM notifications n JOIN streams s ON s.id = n.stream_id
             WHERE s.name = ? AND n.stream_offset > ? ORDER BY n.stream_offset LIMIT ?"
        )))
        .bind(stream)
        .bind(after_offset.cast_signed())
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the history of a stream"))?;
        rows.iter()
            .map(|row| self.entry(row).map(|entry| entry.publication()))
            .collect()
    }

    pub(crate) fn entry(&self, row: &SqliteRow) -> Result<Entry, StoreError> {
        read_entry(row, &self.plugin_name(PluginId(row.get(4))))
    }

    pub(crate) fn entry_columns() -> &'static str {
        COLUMNS
    }
}

/// Reads a row of [`COLUMNS`].
pub(crate) fn read_entry(row: &SqliteRow, plugin: &Arc<str>) -> Result<Entry, StoreError> {
    let unreadable = |what, detail: String| StoreError::Unreadable { what, detail };
    let id: &[u8] = row.get(0);
    let id = NotificationId::from_bytes(id).ok_or_else(|| {
        unreadable(
            "notification id",
            format!("{} bytes instead of 16", id.len()),
        )
    })?;
    let stream: Arc<str> = Arc::from(row.get::<&str, _>(1));
    let offset = row.get::<Option<i64>, _>(2).unwrap_or(0).cast_unsigned();
    if row.get::<i64, _>(3) == 1 {
        return Ok(Entry::Withdrawal(Withdrawal {
            id,
            stream,
            offset,
            plugin: Arc::clone(plugin),
            event_id: row.get(5),
            collapse_key: row.get::<Option<String>, _>(13).unwrap_or_default(),
            created_ms: row.get(14),
        }));
    }
    let data = row
        .get::<Option<String>, _>(10)
        .map(RawValue::from_string)
        .transpose()
        .map_err(|error| unreadable("notification's data", error.to_string()))?;
    Ok(Entry::Notification(Notification {
        id,
        stream,
        offset,
        plugin: Arc::clone(plugin),
        event_id: row.get(5),
        kind: row.get(6),
        category: row.get(7),
        title: row.get(8),
        body: row.get(9),
        data,
        link: row.get(11),
        priority: Priority::from_row(row.get(12)),
        collapse_key: row.get(13),
        created_ms: row.get(14),
        expires_at_ms: row.get(15),
        correlation_id: row.get(16),
    }))
}
