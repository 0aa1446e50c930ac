//! Who waits for what, and in which order they are asked: the higher priority first, then who came
//! first.

use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

use crate::interval::Interval;
use crate::queries::Owner;
use crate::record::Resource;
use crate::rfc3339;

/// How many may wait for one resource. It bounds every walk through the waiting, so that each walk
/// reaches its end and nobody is passed over.
pub(crate) const MAX_WAITING: i64 = 1_000;

/// How many times one user may wait for one resource.
pub(crate) const MAX_WAITING_OF_USER: i64 = 50;

/// Where an entry stands.
///
/// ```text
/// waiting ──promoted──▶ promoted ──accepted──▶ accepted
///    │                      │
///    └──▶ expired, removed ◀┘
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case")]
pub(crate) enum EntryStatus {
    /// In the queue.
    Waiting,
    /// Its time is held for it, and it has to be accepted.
    Promoted,
    /// Its time is booked. The end.
    Accepted,
    /// Its time came and was not free, or it was not accepted in time. The end.
    Expired,
    /// Taken back. The end; the API does not show it any more.
    Removed,
}

impl EntryStatus {
    /// As it stands in "an entry that is …".
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Promoted => "promoted",
            Self::Accepted => "accepted",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }
}

/// One entry of a waitlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
    pub(crate) title: String,
    pub(crate) status: EntryStatus,
    #[serde(rename = "startTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) start_ms: i64,
    #[serde(rename = "endTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) end_ms: i64,
    pub(crate) attendees_count: i64,
    /// The higher, the sooner.
    pub(crate) priority: i64,
    /// What is held for it, or has become its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) booking_id: Option<String>,
    pub(crate) version: i64,
    #[serde(rename = "joinedAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) joined_ms: i64,
    #[serde(rename = "updatedAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) updated_ms: i64,
}

impl Entry {
    /// The time that is wanted.
    pub(crate) fn interval(&self) -> Interval {
        Interval::new(self.start_ms, self.end_ms)
    }
}

/// An entry, with its place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub(crate) entry: Entry,
    /// From 1, among those who wait for some of the same time; only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<i64>,
    /// Until when its time is held for it.
    #[serde(
        rename = "holdUntil",
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) hold_until_ms: Option<i64>,
}

/// Counts, for an entry that waits, those who are asked before it and want some of the same time.
const STANDING: &str = "
    SELECT entry.*,
           CASE entry.status WHEN 'waiting' THEN (
               SELECT 1 + count(*) FROM waitlist AS other
               WHERE other.resource_id = entry.resource_id AND other.status = 'waiting'
                 AND other.start_ms < entry.end_ms AND other.end_ms > entry.start_ms
                 AND other.priority >= entry.priority
                 AND (other.priority > entry.priority
                      OR (other.joined_ms, other.id) < (entry.joined_ms, entry.id))
           ) END AS position,
           (SELECT hold_until_ms FROM bookings WHERE id = entry.booking_id) AS hold_until_ms
    FROM waitlist AS entry";

/// One entry that is not removed, with its place in the queue.
pub(crate) async fn standing(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(STANDING);
    query.push(" WHERE entry.status <> 'removed' AND entry.id = ");
    query.push_bind(id);
    query.build_query_as().fetch_optional(database).await
}

/// Which entries to list.
#[derive(Debug)]
pub(crate) enum Listed {
    /// Those of a resource, of all or of one user, whatever became of them but for those taken back.
    OfResource {
        id: String,
        only_user: Option<String>,
    },
    /// What a user waits for or has held, whatever the resource.
    AwaitedBy(String),
}

/// Some of a list's entries, the newest first; with `before` only those that joined before this moment and
/// id.
pub(crate) async fn standings(
    database: impl SqliteExecutor<'_>,
    listed: &Listed,
    before: Option<&(i64, String)>,
    limit: i64,
) -> Result<Vec<Standing>, sqlx::Error> {
    listed
        .query(before, limit)
        .build_query_as()
        .fetch_all(database)
        .await
}

impl Listed {
    fn query(&self, before: Option<&(i64, String)>, limit: i64) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(STANDING);
        match self {
            Self::OfResource { id, only_user } => {
                query.push(" WHERE entry.status <> 'removed' AND entry.resource_id = ");
                query.push_bind(id);
                if let Some(user_id) = only_user {
                    query.push(" AND entry.user_id = ").push_bind(user_id);
                }
            }
            Self::AwaitedBy(user_id) => {
                query.push(" WHERE entry.status IN ('waiting', 'promoted') AND entry.user_id = ");
                query.push_bind(user_id);
            }
        }
        if let Some((joined_ms, id)) = before {
            query
                .push(" AND (entry.joined_ms, entry.id) < (")
                .push_bind(*joined_ms);
            query.push(", ").push_bind(id).push(")");
        }
        query
            .push(" ORDER BY entry.joined_ms DESC, entry.id DESC LIMIT ")
            .push_bind(limit);
        query
    }
}

/// One entry, whatever became of it.
pub(crate) async fn entry(
    database: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM waitlist WHERE id = ?")
        .bind(id)
        .fetch_optional(database)
        .await
}

/// The entry that a booking is held for.
pub(crate) async fn entry_of_booking(
    database: impl SqliteExecutor<'_>,
    booking_id: &str,
) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM waitlist WHERE booking_id = ?")
        .bind(booking_id)
        .fetch_optional(database)
        .await
}

/// The entry with which this user waits for this very time, or has it held.
pub(crate) async fn entry_for(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    user_id: &str,
    wanted: Interval,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM waitlist WHERE resource_id = ? AND user_id = ? AND start_ms = ? AND end_ms = ?
           AND status IN ('waiting', 'promoted')",
    )
    .bind(resource_id)
    .bind(user_id)
    .bind(wanted.start_ms)
    .bind(wanted.end_ms)
    .fetch_optional(database)
    .await
}

/// Whose entries: of a resource, of a user, or of one for the other; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whose<'a> {
    pub(crate) resource_id: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
}

impl<'a> From<Owner<'a>> for Whose<'a> {
    fn from(owner: Owner<'a>) -> Self {
        let mut whose = Self::default();
        match owner {
            Owner::Resource(id) => whose.resource_id = Some(id),
            Owner::User(id) => whose.user_id = Some(id),
        }
        whose
    }
}

/// The entries that still wait or have their time held, in the order in which they came; at most
/// `limit`.
pub(crate) async fn living_entries(
    database: impl SqliteExecutor<'_>,
    whose: Whose<'_>,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT * FROM waitlist WHERE status IN ('waiting', 'promoted')",
    );
    if let Some(resource_id) = whose.resource_id {
        query.push(" AND resource_id = ").push_bind(resource_id);
    }
    if let Some(user_id) = whose.user_id {
        query.push(" AND user_id = ").push_bind(user_id);
    }
    query
        .push(" ORDER BY joined_ms, id LIMIT ")
        .push_bind(limit);
    query.build_query_as().fetch_all(database).await
}

/// How many wait for a resource, and how often one of its users does; both counted to their bounds.
pub(crate) async fn waiting(
    database: impl SqliteExecutor<'_>,
    resource_id: &str,
    user_id: &str,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM waitlist
                     WHERE resource_id = ?1 AND status = 'waiting' LIMIT ?3)),
                (SELECT count(*) FROM (SELECT 1 FROM waitlist
                     WHERE resource_id = ?1 AND user_id = ?2
                       AND status IN ('waiting', 'promoted') LIMIT ?4))",
    )
    .bind(resource_id)
    .bind(user_id)
    .bind(MAX_WAITING)
    .bind(MAX_WAITING_OF_USER)
    .fetch_one(database)
    .await
}

/// Those who wait for some of this time and find the whole of theirs free of bookings, in the order
/// in which they are asked. Time that has begun is given to nobody.
pub(crate) async fn fitting(
    database: impl SqliteExecutor<'_>,
    resource: &Resource,
    freed: Interval,
    now_ms: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    // What the resource needs after a booking has to be free, too. The look-up is that of the
    // triggers.
    sqlx::query_as(
        "SELECT entry.* FROM waitlist AS entry
         WHERE entry.resource_id = ?1 AND entry.status = 'waiting' AND entry.start_ms > ?2
           AND entry.start_ms < ?3 AND entry.end_ms + ?4 > ?5
           AND entry.start_ms >= COALESCE((
               SELECT held.blocked_until_ms FROM bookings AS held
               WHERE held.resource_id = ?1
                 AND held.blocked_until_ms IS NOT NULL
                 AND held.start_ms < entry.end_ms + ?4
               ORDER BY held.start_ms DESC LIMIT 1
           ), 0)
         ORDER BY entry.priority DESC, entry.joined_ms, entry.id LIMIT ?6",
    )
    .bind(&resource.id)
    .bind(now_ms)
    .bind(freed.end_ms)
    .bind(resource.rules.blocked_until_ms(0))
    .bind(freed.start_ms)
    .bind(MAX_WAITING)
    .fetch_all(database)
    .await
}

/// How many wait, for anything.
pub(crate) async fn all_waiting(database: impl SqliteExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM waitlist WHERE status = 'waiting'")
        .fetch_one(database)
        .await
}

#[cfg(test)]
mod tests;
