//! Lists of resources and users.

use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

use crate::record::{Resource, User};

/// Which resources to list, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct ResourceFilter {
    pub(crate) kind: Option<String>,
    pub(crate) place: Option<String>,
    /// Those that take at least so many people.
    pub(crate) capacity: Option<i64>,
    /// Only what comes after this id; empty for all.
    pub(crate) after: String,
}

/// The first resources that the filter lets through.
pub(crate) async fn resources(
    database: impl SqliteExecutor<'_>,
    filter: &ResourceFilter,
    limit: i64,
) -> Result<Vec<Resource>, sqlx::Error> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT * FROM resources WHERE deleted_ms IS NULL AND id > ");
    query.push_bind(&filter.after);
    if let Some(kind) = &filter.kind {
        query.push(" AND kind = ").push_bind(kind);
    }
    if let Some(place) = &filter.place {
        query.push(" AND place = ").push_bind(place);
    }
    if let Some(capacity) = filter.capacity {
        query.push(" AND capacity >= ").push_bind(capacity);
    }
    query.push(" ORDER BY id LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(database).await
}

/// Users in the order of their ids, after the given one.
pub(crate) async fn users(
    database: impl SqliteExecutor<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM users WHERE id > ? AND deleted_ms IS NULL ORDER BY id LIMIT ?")
        .bind(after)
        .bind(limit)
        .fetch_all(database)
        .await
}
