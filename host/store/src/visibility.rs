//! Notifications whose time has come.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::commit::now_ms;
use crate::effects::Streams;
use crate::entry::{Entry, Publication};
use crate::error::StoreError;
use crate::identity::PluginId;
use crate::open::Store;
use crate::streams::read_entry;

/// How many notifications become visible in one transaction at most.
const AT_ONCE: i64 = 512;

impl Store {
    /// Gives an offset to each notification whose time has come, in the transaction that
    /// makes it visible, and answers how many there were. Those that have expired
    /// meanwhile are put aside.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn release_due(&self) -> Result<usize, StoreError> {
        let fail = || StoreError::database("make waiting notifications visible");
        let now = now_ms();
        let mut writer = self.inner.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(fail())?;
        sqlx::query(
            "UPDATE notifications SET hidden = 1
             WHERE stream_offset IS NULL AND hidden = 0 AND deliver_at_ms <= ?1 AND expires_at_ms <= ?1",
        )
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(fail())?;
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {}, n.stream_id FROM notifications n JOIN streams s ON s.id = n.stream_id
             WHERE n.stream_offset IS NULL AND n.hidden = 0 AND n.deliver_at_ms <= ? ORDER BY n.deliver_at_ms, n.id LIMIT ?",
            Self::entry_columns()
        )))
        .bind(now)
        .bind(AT_ONCE)
        .fetch_all(&mut *tx)
        .await
        .map_err(fail())?;
        let names: Vec<Arc<str>> = rows.iter().map(|row| Arc::from(row.get::<&str, _>(1))).collect();
        let mut streams = Streams::load_names(&mut tx, names).await.map_err(fail())?;
        let mut publications: Vec<Publication> = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut entry = read_entry(row, &self.plugin_name(PluginId(row.get(4))))?;
            let Entry::Notification(notification) = &mut entry else { continue };
            notification.offset = streams.advance(&notification.stream);
            if let Some(key) = &notification.collapse_key {
                sqlx::query(
                    "UPDATE notifications SET hidden = 1 WHERE collapse_key IS NOT NULL AND hidden = 0
                     AND stream_id = ? AND plugin_id = ? AND collapse_key = ? AND id <> ?",
                )
                .bind(row.get::<i64, _>(17))
                .bind(row.get::<i64, _>(4))
                .bind(key.as_str())
                .bind(notification.id.as_bytes())
                .execute(&mut *tx)
                .await
                .map_err(fail())?;
            }
            sqlx::query("UPDATE notifications SET stream_offset = ? WHERE id = ?")
                .bind(notification.offset.cast_signed())
                .bind(notification.id.as_bytes())
                .execute(&mut *tx)
                .await
                .map_err(fail())?;
            publications.push(entry.publication());
        }
        streams.write(&mut tx).await.map_err(fail())?;
        tx.commit().await.map_err(fail())?;
        self.publish(&publications);
        Ok(publications.len())
    }

    /// When the next waiting notification becomes visible, milliseconds since 1970.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT MIN(deliver_at_ms) FROM notifications WHERE stream_offset IS NULL AND hidden = 0",
        )
        .fetch_one(&self.inner.readers)
        .await
        .map_err(StoreError::database("find the next waiting notification"))
    }

    /// Resolves when a notification was stored that waits for its time.
    pub async fn waiting_stored(&self) {
        self.inner.waiting_stored.notified().await;
    }
}

