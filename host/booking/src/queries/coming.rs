//! Bookings to come: those that hold their time and are not over.

use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

use super::MAX_DURATION_MS;
use crate::interval::Interval;
use crate::record::BookingRecord;

/// How far bookings are counted. Beyond it "so many and more" is as good as a number.
const MAX_COUNTED: i64 = 10_000;

/// Whose bookings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// Those of a resource.
    Resource(&'a str),
    /// Those of a user.
    User(&'a str),
}

impl<'a> Owner<'a> {
    /// Its id.
    pub(crate) fn id(self) -> &'a str {
        self.column().1
    }

    /// The column that names them, and its value.
    pub(crate) fn column(self) -> (&'static str, &'a str) {
        match self {
            Self::Resource(id) => ("resource_id", id),
            Self::User(id) => ("user_id", id),
        }
    }
}

/// The first bookings to come, by start.
pub(crate) async fn coming(
    database: impl SqliteExecutor<'_>,
    owner: Owner<'_>,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<BookingRecord>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT *");
    push_coming(&mut query, owner, now_ms);
    query.push(" ORDER BY start_ms, id LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(database).await
}

/// How many bookings are to come, counted to a bound.
pub(crate) async fn coming_count(
    database: impl SqliteExecutor<'_>,
    owner: Owner<'_>,
    now_ms: i64,
) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    push_coming(&mut query, owner, now_ms);
    query.push(" LIMIT ").push_bind(MAX_COUNTED).push(")");
    query.build_query_scalar().fetch_one(database).await
}

fn push_coming(query: &mut QueryBuilder<Sqlite>, owner: Owner<'_>, now_ms: i64) {
    let (column, id) = owner.column();
    query
        .push(format!(" FROM bookings WHERE {column} = "))
        .push_bind(id)
        .push(" AND status IN ('held', 'pending', 'confirmed', 'checked_in') AND start_ms > ")
        .push_bind(now_ms.saturating_sub(MAX_DURATION_MS))
        .push(" AND end_ms > ")
        .push_bind(now_ms);
}

/// The bookings to come of a resource that meet an interval, by start; what the resource needs
/// after them does not count.
pub(crate) async fn meeting(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    interval: Interval,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<BookingRecord>, sqlx::Error> {
    let from_ms = interval.start_ms.max(now_ms);
    let mut query = QueryBuilder::new("SELECT *");
    push_coming(&mut query, Owner::Resource(resource_id), from_ms);
    query.push(" AND start_ms < ").push_bind(interval.end_ms);
    query.push(" ORDER BY start_ms, id LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(database).await
}
