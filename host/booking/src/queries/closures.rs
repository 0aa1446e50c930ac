//! Reading the times at which a resource cannot be used.

use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

use crate::interval::Interval;
use crate::unavailability::{MAX_CLOSED_MS, Unavailability};

/// Which of them to list: those that reach into [from, to), by start and id.
#[derive(Debug)]
pub(crate) struct ClosureFilter<'a> {
    pub(crate) resource_id: &'a str,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    /// Only what comes after this start and id.
    pub(crate) after: Option<(i64, String)>,
}

/// The first of a resource that the filter lets through.
pub(crate) async fn closures(
    database: impl SqliteExecutor<'_>,
    filter: &ClosureFilter<'_>,
    limit: i64,
) -> Result<Vec<Unavailability>, sqlx::Error> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT * FROM unavailabilities WHERE resource_id = ");
    query.push_bind(filter.resource_id);
    if let Some(from_ms) = filter.from_ms {
        query.push(" AND end_ms > ").push_bind(from_ms);
        query
            .push(" AND start_ms > ")
            .push_bind(from_ms.saturating_sub(MAX_CLOSED_MS));
    }
    if let Some(to_ms) = filter.to_ms {
        query.push(" AND start_ms < ").push_bind(to_ms);
    }
    if let Some((start_ms, id)) = &filter.after {
        query.push(" AND (start_ms, id) > (").push_bind(start_ms);
        query.push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY start_ms, id LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(database).await
}

/// One of a resource.
pub(crate) async fn closure(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    id: &str,
) -> Result<Option<Unavailability>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM unavailabilities WHERE id = ? AND resource_id = ?")
        .bind(id)
        .bind(resource_id)
        .fetch_optional(database)
        .await
}

/// Walks an index in its order, and reads nothing else.
pub(crate) const UNAVAILABLE: &str = "
    SELECT start_ms, end_ms FROM unavailabilities
    WHERE resource_id = ? AND end_ms > ? AND start_ms < ?
    ORDER BY end_ms LIMIT ?";

/// When the resource cannot be used between two moments, by end; at most `limit`.
pub(crate) async fn unavailable(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    bounds: Interval,
    limit: i64,
) -> Result<Vec<Interval>, sqlx::Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(UNAVAILABLE)
        .bind(resource_id)
        .bind(bounds.start_ms)
        .bind(bounds.end_ms)
        .bind(limit)
        .fetch_all(database)
        .await?;
    Ok(rows.into_iter().map(Interval::from).collect())
}
