//! The one connection that writes, and transactions on it that survive being dropped.
//!
//! sqlx counts the depth of transactions by itself. When SQLite ends one on its own, as it
//! does when the disk is full, that count stays up and no transaction can begin any more.
//! So the statements are sent here, and what is left open is closed by who comes next.

use sqlx::sqlite::SqliteConnection;
use tokio::sync::OwnedMutexGuard;

use crate::error::StoreError;
use crate::open::Store;

/// The writing connection.
pub(crate) struct Writer {
    conn: SqliteConnection,
    /// A transaction may be open: its owner was dropped, or could not end it.
    open: bool,
}

impl Writer {
    pub(crate) fn new(conn: SqliteConnection) -> Self {
        Self { conn, open: false }
    }

    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// Begins a transaction, as the only one that writes.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.open = true;
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await;
        begun.map(drop)
    }

    /// Ends the transaction; if that fails, nothing of it stands.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        let committed = sqlx::query("COMMIT").execute(&mut self.conn).await;
        match committed {
            Ok(_) => {
                self.open = false;
                Ok(())
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Undoes the transaction. Where that fails too, the next one who writes tries again.
    pub(crate) async fn rollback(&mut self) {
        match sqlx::query("ROLLBACK").execute(&mut self.conn).await {
            Ok(_) => self.open = false,
            // SQLite has undone it already.
            Err(sqlx::Error::Database(error))
                if error.message().contains("no transaction is active") =>
            {
                self.open = false;
            }
            Err(error) => tracing::warn!(%error, "a transaction could not be undone yet"),
        }
    }
}

impl Store {
    /// Waits for the writer.
    pub(crate) async fn writer(&self) -> OwnedMutexGuard<Writer> {
        let mut writer = std::sync::Arc::clone(&self.inner.writer).lock_owned().await;
        if writer.open {
            writer.rollback().await;
        }
        writer
    }

    /// Waits for the writer and begins a transaction, to do `what`.
    pub(crate) async fn begin(
        &self,
        what: &'static str,
    ) -> Result<OwnedMutexGuard<Writer>, StoreError> {
        let mut writer = self.writer().await;
        writer.begin().await.map_err(StoreError::database(what))?;
        Ok(writer)
    }

    /// Ends a transaction of [`Store::begin`]: commits what was written and lets `then`
    /// remember it, or undoes it.
    pub(crate) async fn end<T, F>(
        &self,
        mut writer: OwnedMutexGuard<Writer>,
        what: &'static str,
        written: Result<T, StoreError>,
        then: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &T) + Send + 'static,
    {
        match written {
            Ok(value) => self
                .commit_then(writer, move |store| {
                    then(store, &value);
                    value
                })
                .await
                .map_err(StoreError::database(what)),
            Err(error) => {
                writer.rollback().await;
                Err(error)
            }
        }
    }

    /// Commits, and does `then` while the writer is still held, in a task of its own: if the
    /// caller is dropped meanwhile, what stands is known all the same.
    pub(crate) async fn commit_then<T, F>(
        &self,
        mut writer: OwnedMutexGuard<Writer>,
        then: F,
    ) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> T + Send + 'static,
    {
        let store = self.clone();
        let finished = tokio::spawn(async move {
            writer.commit().await?;
            Ok(then(&store))
        });
        // It fails to join only while the runtime shuts down, or if `then` panicked.
        finished.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}
