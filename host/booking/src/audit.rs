//! The audit record, read: who did what to which booking, from where, before and after.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteExecutor, sqlite::SqliteRow};

use crate::api::time;
use crate::rfc3339;

/// One entry.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// Counts the entries.
    pub(crate) seq: i64,
    #[serde(rename = "time", serialize_with = "rfc3339::serialize")]
    #[schema(schema_with = time)]
    pub(crate) at_ms: i64,
    /// The user; `anybody` where no token was required, `service` for what it did by itself.
    pub(crate) actor: String,
    pub(crate) role: String,
    /// The address that the request came from.
    pub(crate) origin: Option<String>,
    pub(crate) correlation_id: String,
    /// The kind of event that tells of it.
    pub(crate) action: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    /// The subject as it was.
    #[schema(value_type = Option<Object>)]
    pub(crate) before: Option<Box<RawValue>>,
    /// The subject as it was then.
    #[schema(value_type = Option<Object>)]
    pub(crate) after: Option<Box<RawValue>>,
}

impl<'r> sqlx::FromRow<'r, SqliteRow> for AuditEntry {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let state = |column: &str| -> Result<Option<Box<RawValue>>, sqlx::Error> {
            let text: Option<String> = row.try_get(column)?;
            text.map(RawValue::from_string)
                .transpose()
                .map_err(|error| sqlx::Error::Decode(error.into()))
        };
        Ok(Self {
            seq: row.try_get("seq")?,
            at_ms: row.try_get("at_ms")?,
            actor: row.try_get("actor")?,
            role: row.try_get("role")?,
            origin: row.try_get("origin")?,
            correlation_id: row.try_get("correlation_id")?,
            action: row.try_get("action")?,
            subject_kind: row.try_get("subject_kind")?,
            subject_id: row.try_get("subject_id")?,
            before: state("before")?,
            after: state("after")?,
        })
    }
}

/// Which entries are wanted; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// Kind and id.
    pub(crate) subject: Option<(String, String)>,
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
}

/// Entries in the order in which they were made, after the one of this number; at most `limit`.
pub(crate) async fn entries(
    database: impl SqliteExecutor<'_>,
    filter: &AuditFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM audit WHERE seq > ");
    query.push_bind(after);
    if let Some((kind, id)) = &filter.subject {
        query.push(" AND subject_kind = ").push_bind(kind);
        query.push(" AND subject_id = ").push_bind(id);
    }
    for (column, value) in [
        (" AND actor = ", &filter.actor),
        (" AND action = ", &filter.action),
        (" AND correlation_id = ", &filter.correlation_id),
    ] {
        if let Some(value) = value {
            query.push(column).push_bind(value);
        }
    }
    // Times rise with the numbers, so the first number of a time is looked up, and the rest walked;
    // those from before a clock was set back, which do not, are left out one by one.
    if let Some(from_ms) = filter.from_ms {
        query.push(" AND seq >= (SELECT COALESCE((SELECT seq FROM audit WHERE at_ms >= ");
        query.push_bind(from_ms);
        query.push(" ORDER BY at_ms, seq LIMIT 1), 9223372036854775807)) AND at_ms >= ");
        query.push_bind(from_ms);
    }
    if let Some(to_ms) = filter.to_ms {
        query.push(" AND at_ms < ").push_bind(to_ms);
    }
    query.push(" ORDER BY seq LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(database).await
}
