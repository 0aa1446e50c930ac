//! Notifications whose time has come.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use crate::bulk;
use crate::commit::{Announcement, now_ms};
use crate::effects::{Collapsing, hide};
use crate::entry::Entry;
use crate::error::StoreError;
use crate::identity::{NotificationId, PluginId};
use crate::offsets::{Place, Streams};
use crate::open::Store;
use crate::streams::read_entry;

/// How many notifications become visible in one transaction at most.
const AT_ONCE: i64 = 512;

impl Store {
    /// Gives an offset to each notification whose time has come, in the transaction that
    /// makes it visible, and answers how many there were; perhaps there are more. Those that
    /// have expired meanwhile are put aside.
    ///
    /// May be dropped at any await: what became visible is announced all the same.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn release_due(&self) -> Result<usize, StoreError> {
        let fail = || StoreError::database("make waiting notifications visible");
        let mut writer = self.writer().await;
        writer.begin().await.map_err(fail())?;
        match self.release(writer.conn(), now_ms()).await {
            Ok(announcement) => {
                let released = announcement.publications.len();
                self.finish(writer, announcement).await.map_err(fail())?;
                Ok(released)
            }
            Err(error) => {
                writer.rollback().await;
                Err(error)
            }
        }
    }

    async fn release(
        &self,
        conn: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Announcement, StoreError> {
        let fail = || StoreError::database("make waiting notifications visible");
        let rows = due(conn, now_ms).await.map_err(fail())?;
        let names: Vec<Arc<str>> = rows
            .iter()
            .map(|row| Arc::from(row.get::<&str, _>(1)))
            .collect();
        let mut streams = Streams::load_names(conn, names).await.map_err(fail())?;
        let mut publications = Vec::with_capacity(rows.len());
        let mut visible: Vec<(NotificationId, Place)> = Vec::with_capacity(rows.len());
        let mut expired: Vec<NotificationId> = Vec::new();
        let mut replaced: Vec<Collapsing<'_>> = Vec::new();
        for row in &rows {
            let mut entry = read_entry(row, &self.plugin_name(PluginId(row.get(4))))?;
            let Entry::Notification(notification) = &mut entry else {
                continue;
            };
            if let Some(key) = row.get::<Option<&str>, _>(13) {
                // Expired or not, it has replaced what stood before it: what stands does not
                // depend on when this runs.
                replaced.push((row.get(17), row.get(4), key));
            }
            if notification.expires_at_ms.is_some_and(|end| end <= now_ms) {
                expired.push(notification.id);
                continue;
            }
            let place = streams.advance(&notification.stream, now_ms);
            notification.offset = place.offset;
            visible.push((notification.id, place));
            publications.push(entry.publication());
        }
        put_aside(conn, &expired).await.map_err(fail())?;
        // What waits is not in sight yet, so that these do not hide themselves.
        hide(conn, "AND stream_offset IS NOT NULL", &replaced)
            .await
            .map_err(fail())?;
        show(conn, &visible).await.map_err(fail())?;
        streams.write(conn).await.map_err(fail())?;
        Ok(Announcement {
            publications,
            ..Announcement::default()
        })
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

async fn due(conn: &mut SqliteConnection, now_ms: i64) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(AssertSqlSafe(format!(
        "SELECT {}, n.stream_id FROM notifications n JOIN streams s ON s.id = n.stream_id
         WHERE n.stream_offset IS NULL AND n.hidden = 0 AND n.deliver_at_ms <= ? ORDER BY n.deliver_at_ms, n.id LIMIT ?",
        Store::entry_columns()
    )))
    .bind(now_ms)
    .bind(AT_ONCE)
    .fetch_all(conn)
    .await
}

async fn put_aside(
    conn: &mut SqliteConnection,
    expired: &[NotificationId],
) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        "UPDATE notifications SET hidden = 1 WHERE id IN (VALUES",
        1,
        ")",
        expired,
        |row, id| row.bind(id.as_bytes()).map(drop),
    )
    .await
}

async fn show(
    conn: &mut SqliteConnection,
    visible: &[(NotificationId, Place)],
) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        "UPDATE notifications SET stream_offset = given.column2, visible_ms = given.column3 FROM (VALUES",
        3,
        ") AS given WHERE notifications.id = given.column1",
        visible,
        |row, (id, place)| {
            row.bind(id.as_bytes())?.bind(place.offset.cast_signed())?.bind(place.visible_ms).map(drop)
        },
    )
    .await
}
