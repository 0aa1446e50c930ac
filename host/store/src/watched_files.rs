//! The files of the watched folder: what each of them last held, so that a restart does not
//! load it again.

use sqlx::Row as _;

use crate::error::StoreError;
use crate::open::Store;

impl Store {
    /// The name of each file and the hash of what it held, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn watched_files(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query("SELECT file, sha256 FROM watched_files ORDER BY file")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::database("read what the watched files held"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Notes what a file held.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_watched_file(&self, file: &str, sha256: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO watched_files (file, sha256) VALUES (?, ?)
             ON CONFLICT (file) DO UPDATE SET sha256 = excluded.sha256",
        )
        .bind(file)
        .bind(sha256)
        .execute(writer.conn())
        .await
        .map(drop)
        .map_err(StoreError::database("note what a watched file held"))
    }

    /// Forgets a file, so that it is loaded again if it comes back.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_watched_file(&self, file: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        sqlx::query("DELETE FROM watched_files WHERE file = ?")
            .bind(file)
            .execute(writer.conn())
            .await
            .map(drop)
            .map_err(StoreError::database("forget a watched file"))
    }
}
