//! When resources are free, and when they are not.

use serde::Serialize;
use sqlx::{SqliteConnection, SqliteExecutor};

use crate::interval::{Interval, common, merged, without};
use crate::queries;
use crate::record::Resource;

const MINUTE_MS: i64 = 60_000;

/// The most bookings of one resource that are read: one each quarter of an hour, for a year. Where
/// there are more, nothing is answered rather than something wrong. The same for times at which it
/// cannot be used.
const MAX_HELD: i64 = 366 * 24 * 4;

/// Which resources are wanted, by id.
const RESOURCES: &str = "
    SELECT * FROM resources
    WHERE id > ?1 AND deleted_ms IS NULL
      AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR place = ?3) AND capacity >= ?4
    ORDER BY id LIMIT ?5";

/// What the resources are to be like.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) resource_id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) place: Option<String>,
    pub(crate) capacity: i64,
    /// Only after this id.
    pub(crate) after: String,
}

/// When a resource is free and when it is not, within its opening hours. Nothing in it says who has
/// booked, or how many bookings there are.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Availability {
    pub(crate) resource_id: String,
    pub(crate) resource_name: String,
    pub(crate) kind: String,
    pub(crate) place: String,
    pub(crate) capacity: i64,
    pub(crate) time_zone: String,
    /// Where a booking may begin and end: what its resource needs after one, up to the next booking,
    /// is not in it.
    pub(crate) free: Vec<Interval>,
    /// Booked, with what the resource needs afterwards.
    pub(crate) busy: Vec<Interval>,
    /// When it cannot be used.
    pub(crate) unavailable: Vec<Interval>,
}

impl Availability {
    /// How many stretches of time are in it.
    pub(crate) fn intervals(&self) -> usize {
        self.free.len() + self.busy.len() + self.unavailable.len()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AvailabilityError {
    /// A resource has more bookings in that time than are read.
    TooMuch(String),
    /// The database could not be read.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for AvailabilityError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The resources that are wanted, at most `limit`.
pub(crate) async fn wanted(
    database: impl SqliteExecutor<'_>,
    wish: &Wish,
    limit: i64,
) -> Result<Vec<Resource>, sqlx::Error> {
    if let Some(id) = &wish.resource_id {
        return Ok(queries::resource(database, id)
            .await?
            .filter(|resource| wish.fits(resource))
            .into_iter()
            .collect());
    }
    sqlx::query_as(RESOURCES)
        .bind(&wish.after)
        .bind(&wish.kind)
        .bind(&wish.place)
        .bind(wish.capacity)
        .bind(limit)
        .fetch_all(database)
        .await
}

impl Wish {
    fn fits(&self, resource: &Resource) -> bool {
        let is = |wanted: &Option<String>, has: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == has)
        };
        is(&self.kind, &resource.kind)
            && is(&self.place, &resource.place)
            && resource.capacity >= self.capacity
            && resource.id > self.after
    }
}

/// When one resource is free; of that only what lasts as long as `duration_ms`.
pub(crate) async fn of_resource(
    connection: &mut SqliteConnection,
    resource: Resource,
    bounds: Interval,
    duration_ms: i64,
) -> Result<Availability, AvailabilityError> {
    let Some(mut stretches) = stretches(connection, &resource, bounds, None, MAX_HELD).await?
    else {
        return Err(AvailabilityError::TooMuch(resource.id));
    };
    stretches
        .free
        .retain(|free| free.duration_ms() >= duration_ms);
    Ok(Availability {
        resource_id: resource.id,
        resource_name: resource.name,
        kind: resource.kind,
        place: resource.place,
        capacity: resource.capacity,
        time_zone: resource.time_zone,
        free: stretches.free,
        busy: stretches.busy,
        unavailable: stretches.unavailable,
    })
}

/// The opening hours of a resource between two moments, by what can be done in them.
pub(crate) struct Stretches {
    /// Where a booking may begin and end.
    pub(crate) free: Vec<Interval>,
    /// Booked, with what the resource needs afterwards.
    pub(crate) busy: Vec<Interval>,
    /// When it cannot be used.
    pub(crate) unavailable: Vec<Interval>,
}

/// Says where a booking of a resource may begin and end, as if nobody had booked `left_out`. `None`
/// where there are more than `most` bookings, or times at which it cannot be used.
pub(crate) async fn stretches(
    connection: &mut SqliteConnection,
    resource: &Resource,
    bounds: Interval,
    left_out: Option<Interval>,
    most: i64,
) -> Result<Option<Stretches>, sqlx::Error> {
    let buffer_ms = i64::from(resource.rules.buffer_minutes) * MINUTE_MS;
    // What the resource needs after a booking counts up to the next one, even if that one begins
    // after the end of what was asked for.
    let reach = Interval::new(bounds.start_ms, bounds.end_ms.saturating_add(buffer_ms));
    let mut held = queries::held(&mut *connection, &resource.id, reach, most + 1).await?;
    let unavailable = queries::unavailable(connection, &resource.id, bounds, most + 1).await?;
    let rows = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    if rows(held.len()) > most || rows(unavailable.len()) > most {
        return Ok(None);
    }
    // Bookings do not overlap, so its time says which it is.
    held.retain(|held| Some(*held) != left_out);
    let open = resource.rules.open(bounds, &resource.zone());
    let unavailable = common(&open, &merged(unavailable));
    let not_free = held
        .iter()
        .map(|held| Interval::new(held.start_ms - buffer_ms, held.end_ms))
        .chain(unavailable.iter().copied());
    let free = without(&open, &merged(not_free.collect()));
    let busy = common(&open, &merged(held));
    Ok(Some(Stretches {
        free,
        busy,
        unavailable,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sqlx::{Connection, Row};

    use super::*;

    #[tokio::test]
    async fn a_year_of_a_resource_is_a_walk_along_an_index() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut database).await.unwrap();
        for (query, index) in [
            (queries::HELD, "USING COVERING INDEX bookings_holding"),
            (
                queries::UNAVAILABLE,
                "USING COVERING INDEX unavailabilities_by_end",
            ),
            (RESOURCES, "USING PRIMARY KEY (id>?)"),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
            let rows = sqlx::query(explain).fetch_all(&mut database).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let [step] = &plan[..] else {
                panic!("more than one step: {plan:?}");
            };
            assert!(step.starts_with("SEARCH") && step.contains(index), "{step}");
        }
    }
}
