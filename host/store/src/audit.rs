//! What operators did. It is only ever added to.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::error::StoreError;
use crate::open::Store;

/// An action of an operator, to be noted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub who: String,
    /// The address that the request came from.
    pub from: Option<String>,
    /// What was asked for.
    pub action: String,
    /// The name of the plugin that it was about.
    pub plugin: Option<String>,
    /// The particulars.
    pub detail: serde_json::Value,
    /// `done`, or the sentence that refused it.
    pub outcome: String,
}

/// An action of an operator, as noted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub who: String,
    /// The address that the request came from.
    pub from: Option<String>,
    /// What was asked for.
    pub action: String,
    /// The name of the plugin that it was about.
    pub plugin: Option<String>,
    /// The particulars.
    pub detail: serde_json::Value,
    /// `done`, or the sentence that refused it.
    pub outcome: String,
}

impl Store {
    /// Notes an action of an operator.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn audit(&self, record: &NewAudit) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO audit (at_ms, who, address, action, plugin, detail, outcome) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(record.at_ms)
        .bind(&record.who)
        .bind(record.from.as_deref())
        .bind(&record.action)
        .bind(record.plugin.as_deref())
        .bind(record.detail.to_string())
        .bind(&record.outcome)
        .execute(writer.conn())
        .await
        .map(drop)
        .map_err(StoreError::database("note what an operator did"))
    }

    /// What operators did, newest first, at most `limit`: to one plugin or to all, before the
    /// record with the number `before`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_records(
        &self,
        plugin: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let sql = match plugin {
            Some(_) => AUDIT_OF_PLUGIN,
            None => AUDIT,
        };
        let rows = sqlx::query(sql)
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .bind(plugin)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::database("read the audit"))?;
        rows.iter().map(record).collect()
    }
}

const AUDIT: &str = "SELECT id, at_ms, who, address, action, plugin, detail, outcome FROM audit
    WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

/// Walks `audit_by_plugin` down from its end.
pub(crate) const AUDIT_OF_PLUGIN: &str =
    "SELECT id, at_ms, who, address, action, plugin, detail, outcome FROM audit
    WHERE plugin = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";

fn record(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    let detail: &str = row.get(6);
    Ok(AuditRecord {
        id: row.get(0),
        at_ms: row.get(1),
        who: row.get(2),
        from: row.get(3),
        action: row.get(4),
        plugin: row.get(5),
        detail: serde_json::from_str(detail).map_err(|error| StoreError::Unreadable {
            what: "audit record's detail",
            detail: error.to_string(),
        })?,
        outcome: row.get(7),
    })
}
