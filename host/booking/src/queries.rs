//! Reading the tables.

mod closures;
mod coming;
mod listing;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteExecutor};

use crate::interval::Interval;
use crate::record::{BookingRecord, Resource, User};

#[cfg(test)]
pub(crate) use closures::UNAVAILABLE;
pub(crate) use closures::{ClosureFilter, closure, closures, unavailable};
pub(crate) use coming::{Owner, coming, coming_count, meeting};
pub(crate) use listing::{ResourceFilter, resources, users};

/// The longest booking, in milliseconds (31 days); the schema holds bookings to it. Whoever looks for
/// bookings at a time looks no further back than this.
pub(crate) const MAX_DURATION_MS: i64 = 31 * 24 * 60 * 60 * 1000;

/// How far back a booking may begin that still blocks its resource: the longest, and the longest
/// time that a resource needs afterwards.
pub(crate) const MAX_BLOCKED_MS: i64 = MAX_DURATION_MS + 24 * 60 * 60 * 1000;

/// One booking.
pub(crate) async fn booking(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<BookingRecord>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM bookings WHERE id = ?")
        .bind(id)
        .fetch_optional(database)
        .await
}

/// Which bookings to list: those that reach into [from, to), ordered by start and id.
#[derive(Debug, Default)]
pub(crate) struct BookingFilter {
    pub(crate) resource_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    /// Only what comes after this start and id.
    pub(crate) after: Option<(i64, String)>,
}

/// The first bookings that the filter lets through.
pub(crate) async fn bookings(
    database: impl SqliteExecutor<'_>,
    filter: &BookingFilter,
    limit: i64,
) -> Result<Vec<BookingRecord>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM bookings WHERE TRUE");
    if let Some(resource_id) = &filter.resource_id {
        query.push(" AND resource_id = ").push_bind(resource_id);
    }
    if let Some(user_id) = &filter.user_id {
        query.push(" AND user_id = ").push_bind(user_id);
    }
    if let Some(from_ms) = filter.from_ms {
        query.push(" AND end_ms > ").push_bind(from_ms);
        query
            .push(" AND start_ms > ")
            .push_bind(from_ms.saturating_sub(MAX_DURATION_MS));
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

/// What holds a resource, in order.
macro_rules! holding {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM bookings
             WHERE resource_id = ? AND blocked_until_ms IS NOT NULL
               AND start_ms > ? AND start_ms < ? AND blocked_until_ms > ?
             ORDER BY start_ms LIMIT ?"
        )
    };
}

/// Walks an index in its order, and reads nothing else.
pub(crate) const HELD: &str = holding!("start_ms, blocked_until_ms");
const HOLDING: &str = holding!("start_ms, blocked_until_ms, id");

/// When bookings hold the resource somewhere between two moments, in order, with what it needs after
/// each; at most `limit`.
pub(crate) async fn held(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    bounds: Interval,
    limit: i64,
) -> Result<Vec<Interval>, sqlx::Error> {
    let rows: Vec<(i64, i64)> = between(database, HELD, resource_id, bounds, limit).await?;
    Ok(rows.into_iter().map(Interval::from).collect())
}

/// The same, with the bookings' ids.
pub(crate) async fn holding(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    bounds: Interval,
    limit: i64,
) -> Result<Vec<(String, Interval)>, sqlx::Error> {
    let rows: Vec<(i64, i64, String)> =
        between(database, HOLDING, resource_id, bounds, limit).await?;
    Ok(rows
        .into_iter()
        .map(|(start_ms, end_ms, id)| (id, Interval::new(start_ms, end_ms)))
        .collect())
}

/// What such a query finds between two moments.
async fn between<Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin>(
    database: impl SqliteExecutor<'_>,
    query: &'static str,
    resource_id: &str,
    bounds: Interval,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(query)
        .bind(resource_id)
        .bind(bounds.start_ms.saturating_sub(MAX_BLOCKED_MS))
        .bind(bounds.end_ms)
        .bind(bounds.start_ms)
        .bind(limit)
        .fetch_all(database)
        .await
}

/// One resource.
pub(crate) async fn resource(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Resource>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM resources WHERE id = ? AND deleted_ms IS NULL")
        .bind(id)
        .fetch_optional(database)
        .await
}

/// One user.
pub(crate) async fn user(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM users WHERE id = ? AND deleted_ms IS NULL")
        .bind(id)
        .fetch_optional(database)
        .await
}

/// Whether there is neither a resource nor a user yet.
pub(crate) async fn is_empty(database: impl SqliteExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM resources) AND NOT EXISTS (SELECT 1 FROM users)",
    )
    .fetch_one(database)
    .await
}
