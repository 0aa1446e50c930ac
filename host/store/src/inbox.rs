//! What a person finds again: the notifications of several streams, newest first.

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _};

use crate::commit::now_ms;
use crate::entry::{Entry, Notification};
use crate::error::StoreError;
use crate::open::Store;

/// Streams looked at by one statement; SQLite joins at most 500 (SQLITE_MAX_COMPOUND_SELECT).
const STREAMS_AT_ONCE: usize = 32;

/// A place in the inbox, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InboxCursor {
    /// When the last item that was shown became visible, milliseconds since 1970.
    pub visible_ms: i64,
    /// The number of its stream.
    pub stream: i64,
    /// Its offset there.
    pub offset: i64,
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

    /// The newest places of each stream. Each arm walks down its stream and stops after
    /// `limit`; one look at all streams would sort them whole.
    async fn inbox_places(
        &self,
        streams: &[String],
        before: Option<InboxCursor>,
        limit: u32,
    ) -> Result<Vec<InboxCursor>, StoreError> {
        let fail = || StoreError::database("read the inbox");
        let arms = vec![PLACES; streams.len()].join(" UNION ALL ");
        let before = before.unwrap_or(InboxCursor {
            visible_ms: i64::MAX,
            stream: i64::MAX,
            offset: i64::MAX,
        });
        let now = now_ms();
        let mut query = sqlx::query(AssertSqlSafe(arms));
        for stream in streams {
            query = query
                .bind(stream.as_str())
                .bind(before.visible_ms)
                .bind(before.stream)
                .bind(before.offset);
            query = query.bind(now).bind(limit);
        }
        let rows = query.fetch_all(&self.inner.readers).await.map_err(fail())?;
        Ok(rows
            .iter()
            .map(|row| InboxCursor {
                visible_ms: row.get(0),
                stream: row.get(1),
                offset: row.get(2),
            })
            .collect())
    }

    async fn inbox_items(&self, places: &[InboxCursor]) -> Result<Vec<InboxItem>, StoreError> {
        let sql = format!(
            "SELECT {} FROM notifications n JOIN streams s ON s.id = n.stream_id WHERE n.stream_id = ? AND n.stream_offset = ?",
            Self::entry_columns()
        );
        let fail = || StoreError::database("read the inbox");
        let mut reader = self.inner.readers.acquire().await.map_err(fail())?;
        let mut items = Vec::with_capacity(places.len());
        for place in places {
            let row = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(place.stream)
                .bind(place.offset)
                .fetch_optional(&mut *reader)
                .await
                .map_err(fail())?;
            // It may have been trimmed meanwhile.
            if let Some(Entry::Notification(notification)) =
                row.map(|row| self.entry(&row)).transpose()?
            {
                items.push(InboxItem {
                    notification,
                    cursor: *place,
                });
            }
        }
        Ok(items)
    }
}

/// Walks `notifications_by_stream` down from its end: within a stream, what is later became
/// visible later.
pub(crate) const PLACES: &str =
    "SELECT * FROM (SELECT n.visible_ms, n.stream_id, n.stream_offset FROM notifications n
    WHERE n.stream_id = (SELECT id FROM streams WHERE name = ?)
    AND n.stream_offset IS NOT NULL AND n.withdraws = 0 AND n.hidden = 0
    AND (n.visible_ms, n.stream_id, n.stream_offset) < (?, ?, ?)
    AND (n.expires_at_ms IS NULL OR n.expires_at_ms > ?)
    ORDER BY n.stream_offset DESC LIMIT ?)";
