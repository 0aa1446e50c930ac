//! Dead letters on their way to the dead-letter topic.

use sqlx::AssertSqlSafe;

use crate::bulk;
use crate::dead_letters::{DeadLetterRow, SELECT, SIZE, StoredDeadLetter};
use crate::error::StoreError;
use crate::open::Store;
use crate::portion::fitting;

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
        let sizes: Vec<(i64, i64)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT id, {SIZE} FROM dead_letters WHERE relayed_ms IS NULL ORDER BY id LIMIT ?"
        )))
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(fail())?;
        let Some((last, _)) = fitting(&sizes).last() else {
            return Ok(Vec::new());
        };
        let rows = sqlx::query(AssertSqlSafe(format!(
            "{SELECT} WHERE d.relayed_ms IS NULL AND d.id <= ? ORDER BY d.id"
        )))
        .bind(last)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(fail())?;
        rows.iter()
            .map(|row| self.stored_dead_letter(row))
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
