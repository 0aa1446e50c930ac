//! What is read to explain a notification, a record or an event.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::decisions::outcome;
use crate::entry::Priority;
use crate::error::StoreError;
use crate::identity::{LogId, NotificationId, PluginId, VersionId};
use crate::open::Store;
use crate::portion::fitting;
use crate::share::Outcome;

/// All that is stored of a notification or a withdrawal.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRecord {
    /// The identity.
    pub id: NotificationId,
    /// `user:<id>` or `group:<name>`.
    pub stream: Arc<str>,
    /// The position in the stream, from 1; `None`: it was never visible.
    pub stream_offset: Option<u64>,
    /// Whether it takes back what its collapse key names.
    pub withdraws: bool,
    /// The number of the plugin that decided on it.
    pub plugin: PluginId,
    /// The name of the plugin.
    pub plugin_name: Arc<str>,
    /// The number of the binary that decided on it.
    pub version_id: VersionId,
    /// What the binary calls its version; empty for what is built in.
    pub version: String,
    /// The hash of the binary; empty for what is built in.
    pub sha256: String,
    /// The event that it follows from.
    pub event_id: String,
    /// The kind of that event.
    pub kind: String,
    /// The log of the event's record.
    pub log: LogId,
    /// The cluster of that log.
    pub cluster: String,
    /// The topic of that log.
    pub topic: String,
    /// The partition of the record.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// What it is about.
    pub category: String,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Further data.
    pub data: Option<Box<RawValue>>,
    /// Where a click leads.
    pub link: Option<String>,
    /// The channels asked for, comma-separated; `None`: the recipient's choice.
    pub channels: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// A newer one with the same key replaces it.
    pub collapse_key: Option<String>,
    /// Not visible before, milliseconds since 1970.
    pub deliver_at_ms: Option<i64>,
    /// Not visible after, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// Gathered with others of this key …
    pub digest_key: Option<String>,
    /// … over this time.
    pub digest_window_ms: Option<i64>,
    /// When the event's record was logged, milliseconds since 1970.
    pub created_ms: i64,
    /// When it became visible, milliseconds since 1970.
    pub visible_ms: Option<i64>,
    /// Ties it to the request that caused the event.
    pub correlation_id: Option<String>,
    /// Whether it was taken back, replaced, or expired before it could be seen.
    pub hidden: bool,
}

/// All that is stored of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Who decided.
    pub plugin: PluginId,
    /// The name of the plugin.
    pub plugin_name: Arc<str>,
    /// The number of the binary that decided.
    pub version_id: VersionId,
    /// What the binary calls its version; empty for what is built in.
    pub version: String,
    /// The hash of the binary; empty for what is built in.
    pub sha256: String,
    /// How.
    pub outcome: Outcome,
    /// How many actions.
    pub actions: u32,
    /// How many attempts it took.
    pub attempts: u32,
    /// The log of the event's record.
    pub log: LogId,
    /// The topic of that log.
    pub topic: String,
    /// The partition of the record.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// The record's timestamp, milliseconds since 1970.
    pub logged_at_ms: i64,
}

impl Store {
    /// All that is stored of a notification or a withdrawal.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn notification(
        &self,
        id: NotificationId,
    ) -> Result<Option<NotificationRecord>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("{NOTIFICATIONS} WHERE n.id = ?")))
            .bind(id.as_bytes())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(StoreError::database("read a notification"))?;
        row.map(|row| self.notification_record(&row)).transpose()
    }

    /// The notifications of a plugin that follow from the records between two offsets, the second
    /// left out, and the offset up to which these are all: where they are large, it lies before the
    /// second (8 MiB at once, but one record's at least).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn notifications_between(
        &self,
        plugin: PluginId,
        log: LogId,
        partition: i32,
        offsets: Range<i64>,
    ) -> Result<(Vec<NotificationRecord>, i64), StoreError> {
        let failed = || StoreError::database("read the notifications of a stretch");
        let sizes: Vec<(i64, i64)> = sqlx::query_as(SIZES_OF_STRETCH)
            .bind(log.0)
            .bind(partition)
            .bind(offsets.start)
            .bind(offsets.end)
            .bind(plugin.0)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(failed())?;
        let end = sizes
            .get(fitting(&sizes).count())
            .map_or(offsets.end, |(offset, _)| *offset);
        let rows = sqlx::query(AssertSqlSafe(format!("{NOTIFICATIONS} WHERE {OF_STRETCH}")))
            .bind(log.0)
            .bind(partition)
            .bind(offsets.start)
            .bind(end)
            .bind(plugin.0)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(failed())?;
        let notifications = rows.iter().map(|row| self.notification_record(row));
        Ok((notifications.collect::<Result<_, _>>()?, end))
    }

    /// The notifications and withdrawals that follow from a record, in the order of their
    /// streams, at most 1,000.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn notifications_of_record(
        &self,
        log: LogId,
        partition: i32,
        offset: i64,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "{NOTIFICATIONS} WHERE {OF_RECORD} ORDER BY s.name, n.stream_offset, n.id LIMIT 1000"
        )))
        .bind(log.0)
        .bind(partition)
        .bind(offset)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the notifications of a record"))?;
        rows.iter()
            .map(|row| self.notification_record(row))
            .collect()
    }

    /// Whether a notification that is newer than `than_ms` (the time of its event's record,
    /// milliseconds since 1970) stands in a stream under a plugin's collapse key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newer_stands(
        &self,
        stream: &str,
        plugin: PluginId,
        collapse_key: &str,
        than_ms: i64,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM notifications WHERE stream_id = (SELECT id FROM streams WHERE name = ?)
             AND plugin_id = ? AND collapse_key = ? AND collapse_key IS NOT NULL AND hidden = 0 AND created_ms > ?)",
        )
        .bind(stream)
        .bind(plugin.0)
        .bind(collapse_key)
        .bind(than_ms)
        .fetch_one(&self.inner.readers)
        .await
        .map_err(StoreError::database("look for a newer notification"))
    }

    /// What every plugin decided on an event within the duplicate window, by
    /// [`crate::event_key`], in the order of the plugins' numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn decisions_of(
        &self,
        event_key: [u8; 16],
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        let mut decisions = Vec::new();
        for row in self.rows_of(&[event_key]).await? {
            let log = LogId(row.get(10));
            let plugin = PluginId(row.get(1));
            let version_id = VersionId(row.get(2));
            let (version, sha256) = self.version_label(version_id).await?.unwrap_or_default();
            decisions.push(DecisionRecord {
                plugin,
                plugin_name: self.plugin_name(plugin),
                version_id,
                version,
                sha256,
                outcome: outcome(row.get(4)),
                actions: row.get(5),
                attempts: row.get(6),
                log,
                topic: self.topic(log).await?,
                partition: row.get(7),
                offset: row.get(8),
                logged_at_ms: row.get(9),
            });
        }
        decisions.sort_by_key(|decision| decision.plugin);
        Ok(decisions)
    }

    async fn topic(&self, log: LogId) -> Result<String, StoreError> {
        sqlx::query_scalar("SELECT topic FROM logs WHERE id = ?")
            .bind(log.0)
            .fetch_optional(&self.inner.readers)
            .await
            .map(Option::unwrap_or_default)
            .map_err(StoreError::database("read the logs"))
    }

    /// Reads a row of [`NOTIFICATIONS`].
    fn notification_record(&self, row: &SqliteRow) -> Result<NotificationRecord, StoreError> {
        let unreadable = |what, detail: String| StoreError::Unreadable { what, detail };
        let id: &[u8] = row.get(0);
        let plugin = PluginId(row.get(4));
        let data = row.get::<Option<String>, _>(16).map(RawValue::from_string);
        Ok(NotificationRecord {
            id: NotificationId::from_bytes(id).ok_or_else(|| {
                unreadable(
                    "notification id",
                    format!("{} bytes instead of 16", id.len()),
                )
            })?,
            stream: Arc::from(row.get::<&str, _>(1)),
            stream_offset: row.get::<Option<i64>, _>(2).map(i64::cast_unsigned),
            withdraws: row.get::<i64, _>(3) == 1,
            plugin,
            plugin_name: self.plugin_name(plugin),
            version_id: VersionId(row.get(5)),
            version: row.get(29),
            sha256: row.get(30),
            event_id: row.get(6),
            kind: row.get(7),
            log: LogId(row.get(8)),
            cluster: row.get(9),
            topic: row.get(10),
            partition: row.get(11),
            offset: row.get(12),
            category: row.get(13),
            title: row.get(14),
            body: row.get(15),
            data: data
                .transpose()
                .map_err(|error| unreadable("notification's data", error.to_string()))?,
            link: row.get(17),
            channels: row.get(18),
            priority: Priority::from_row(row.get(19)),
            collapse_key: row.get(20),
            deliver_at_ms: row.get(21),
            expires_at_ms: row.get(22),
            digest_key: row.get(23),
            digest_window_ms: row.get(24),
            created_ms: row.get(25),
            visible_ms: row.get(26),
            correlation_id: row.get(27),
            hidden: row.get::<i64, _>(28) == 1,
        })
    }
}

/// Notifications as they are explained.
pub(crate) const NOTIFICATIONS: &str =
    "SELECT n.id, s.name, n.stream_offset, n.withdraws, n.plugin_id, n.version_id, n.event_id, n.kind,
    n.log_id, l.cluster, l.topic, n.partition, n.record_offset, n.category, n.title, n.body, n.data, n.link,
    n.channels, n.priority, n.collapse_key, n.deliver_at_ms, n.expires_at_ms, n.digest_key, n.digest_window_ms,
    n.created_ms, n.visible_ms, n.correlation_id, n.hidden, COALESCE(v.version, ''), COALESCE(v.sha256, '')
    FROM notifications n JOIN streams s ON s.id = n.stream_id JOIN logs l ON l.id = n.log_id
    LEFT JOIN plugin_versions v ON v.id = n.version_id";

/// Which notifications of a plugin follow from a stretch of a log.
pub(crate) const OF_STRETCH: &str =
    "n.log_id = ? AND n.partition = ? AND n.record_offset >= ? AND n.record_offset < ?
    AND n.plugin_id = ? AND n.withdraws = 0";

/// About how many bytes the notifications of [`OF_STRETCH`] take, record by record.
pub(crate) const SIZES_OF_STRETCH: &str =
    "SELECT n.record_offset, SUM(1024 + OCTET_LENGTH(n.body) + COALESCE(OCTET_LENGTH(n.data), 0))
    FROM notifications n
    WHERE n.log_id = ? AND n.partition = ? AND n.record_offset >= ? AND n.record_offset < ?
    AND n.plugin_id = ? AND n.withdraws = 0 GROUP BY n.record_offset ORDER BY n.record_offset";

/// Which notifications follow from a record.
pub(crate) const OF_RECORD: &str = "n.log_id = ? AND n.partition = ? AND n.record_offset = ?";
