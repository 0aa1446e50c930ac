//! What a person finds again: the notifications of several streams, newest first.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::commit::now_ms;
use crate::entry::{Entry, Notification};
use crate::error::StoreError;
use crate::identity::NotificationId;
use crate::open::Store;

/// Streams looked at by one statement; SQLite joins at most 500 (SQLITE_MAX_COMPOUND_SELECT).
const STREAMS_AT_ONCE: usize = 32;

/// A place in the inbox, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InboxCursor {
    /// The time of the last item that was shown, milliseconds since 1970: of its event, or
    /// the time it waited for.
    pub shown_ms: i64,
    /// The id of that item.
    pub id: NotificationId,
}

/// One notification of an inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxItem {
    /// What the recipient sees.
    #[serde(flatten)]
    pub notification: Notification,
    /// Where the next page would begin, if this were the last item.
    #[serde(skip)]
    pub cursor: InboxCursor,
}

impl Store {
    /// What stands in the inbox over several streams, newest first, at most `limit`,
    /// beyond `before`. Withdrawn, replaced and expired notifications are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn inbox(
        &self,
        streams: &[String],
        before: Option<InboxCursor>,
        limit: u32,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let mut places: Vec<InboxCursor> = Vec::new();
        for streams in streams.chunks(STREAMS_AT_ONCE) {
            places.extend(self.inbox_places(streams, before, limit).await?);
        }
        places.sort_unstable_by(|a, b| b.cmp(a));
        // A stream may have been named twice.
        places.dedup();
        places.truncate(limit as usize);
        self.inbox_items(&places).await
    }

    /// The newest places of each stream. Each arm reads `limit` entries of the index and
    /// stops, however long the stream is; one look at all streams would sort them whole.
    async fn inbox_places(
        &self,
        streams: &[String],
        before: Option<InboxCursor>,
        limit: u32,
    ) -> Result<Vec<InboxCursor>, StoreError> {
        let fail = || StoreError::database("read the inbox");
        let arms = vec![PLACES; streams.len()].join(" UNION ALL ");
        let before_ms = before.map_or(i64::MAX, |cursor| cursor.shown_ms);
        let before_id = before.map_or_else(|| vec![0xff; 17], |cursor| cursor.id.as_bytes().to_vec());
        let now = now_ms();
        let mut query = sqlx::query(AssertSqlSafe(arms));
        for stream in streams {
            query = query.bind(stream.as_str()).bind(before_ms).bind(before_id.clone()).bind(now).bind(limit);
        }
        let rows = query.fetch_all(&self.inner.readers).await.map_err(fail())?;
        rows.iter().map(place).collect()
    }

    async fn inbox_items(&self, places: &[InboxCursor]) -> Result<Vec<InboxItem>, StoreError> {
        let sql = format!(
            "SELECT {} FROM notifications n JOIN streams s ON s.id = n.stream_id WHERE n.id = ?",
            Self::entry_columns()
        );
        let fail = || StoreError::database("read the inbox");
        let mut reader = self.inner.readers.acquire().await.map_err(fail())?;
        let mut items = Vec::with_capacity(places.len());
        for place in places {
            let row = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(place.id.as_bytes())
                .fetch_optional(&mut *reader)
                .await
                .map_err(fail())?;
            // It may have been trimmed meanwhile.
            if let Some(Entry::Notification(notification)) = row.map(|row| self.entry(&row)).transpose()? {
                items.push(InboxItem { notification, cursor: *place });
            }
        }
        Ok(items)
    }
}

/// Over `notifications_inbox`, whose condition it repeats.
const PLACES: &str = "SELECT * FROM (SELECT n.shown_ms, n.id FROM notifications n
    WHERE n.stream_id = (SELECT id FROM streams WHERE name = ?)
    AND n.stream_offset IS NOT NULL AND n.withdraws = 0 AND n.hidden = 0
    AND (n.shown_ms, n.id) < (?, ?) AND (n.expires_at_ms IS NULL OR n.expires_at_ms > ?)
    ORDER BY n.shown_ms DESC, n.id DESC LIMIT ?)";

fn place(row: &SqliteRow) -> Result<InboxCursor, StoreError> {
    let id: &[u8] = row.get(1);
    let unreadable =
        || StoreError::Unreadable { what: "notification id", detail: format!("{} bytes instead of 16", id.len()) };
    Ok(InboxCursor { shown_ms: row.get(0), id: NotificationId::from_bytes(id).ok_or_else(unreadable)? })
}
