//! Series of bookings, as the table has them.

use serde::{Deserialize, Serialize};
use sqlx::SqliteExecutor;

use crate::record::BookingRecord;
use crate::recurrence::MAX_OCCURRENCES;
use crate::rfc3339;

/// A series as it was asked for. What became of its occurrences since is theirs to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeriesRecord {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    /// RFC 5545, section 3.3.10.
    pub(crate) rule: String,
    pub(crate) time_zone: String,
    /// When the first occurrence begins by the clocks of that zone, without an offset.
    #[serde(rename = "startTime")]
    pub(crate) first_local: String,
    pub(crate) duration_ms: i64,
    /// Counts the changes of several occurrences at once, from 1.
    pub(crate) version: i64,
    #[serde(rename = "createdAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) created_ms: i64,
    #[serde(rename = "updatedAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) updated_ms: i64,
}

/// Which occurrences of a series a change is for, with the one that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those after it.
    Following,
    /// Every one that is still to come.
    All,
}

/// One series.
pub(crate) async fn series(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<SeriesRecord>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM series WHERE id = ?")
        .bind(id)
        .fetch_optional(database)
        .await
}

/// The occurrences of a series after this one by its rule; at most `limit`.
pub(crate) async fn occurrences_after(
    database: impl SqliteExecutor<'_>,
    series_id: &str,
    after_ms: i64,
    limit: i64,
) -> Result<Vec<BookingRecord>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM bookings WHERE series_id = ? AND occurrence_ms > ?
         ORDER BY occurrence_ms LIMIT ?",
    )
    .bind(series_id)
    .bind(after_ms)
    .bind(limit)
    .fetch_all(database)
    .await
}

/// The occurrences of a series from this one on by its rule: all of them, since a series is bounded.
pub(crate) async fn occurrences_from(
    database: impl SqliteExecutor<'_>,
    series_id: &str,
    from_ms: i64,
) -> Result<Vec<BookingRecord>, sqlx::Error> {
    let limit = i64::try_from(MAX_OCCURRENCES).unwrap_or(i64::MAX);
    occurrences_after(database, series_id, from_ms.saturating_sub(1), limit).await
}
