//! The handler of `/availability`.

use axum::Json;
use axum::extract::State;
use carillon_web::{Cursor, Limit, Page, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::bookings::Moment;
use super::caller::Caller;
use super::faults::fault_at;
use super::openapi::{page, time};
use crate::availability::{Availability, AvailabilityError, Wish, of_resource, wanted};
use crate::error::unread;
use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;

/// The longest time that is looked at.
const MAX_REACH_MS: i64 = 366 * 24 * 60 * 60 * 1000;

/// With so many stretches of time in an answer the page ends, and the next one goes on: a hundred
/// resources that are booked every quarter of an hour would have millions in a year.
const MAX_INTERVALS: usize = 20_000;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The query of `GET /availability`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// From when.
    #[param(schema_with = time)]
    from: Moment,
    /// To when, at most 366 days later.
    #[param(schema_with = time)]
    to: Moment,
    /// Only this resource.
    resource: Option<String>,
    kind: Option<String>,
    place: Option<String>,
    capacity: Option<u32>,
    /// Only free stretches of at least so many minutes.
    duration: Option<u32>,
    /// How many resources a page has: 20 unless asked, 100 at most; fewer where they have many
    /// bookings in that time.
    #[param(value_type = Option<u32>, minimum = 1)]
    #[serde(default)]
    limit: Limit<20, 100>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<String>>,
}

impl Query {
    fn bounds(&self) -> Result<Interval, Problem> {
        let (Moment(from_ms), Moment(to_ms)) = (self.from, self.to);
        if from_ms >= to_ms {
            return Err(fault_at("to", "it must be later than `from`".into()));
        }
        if to_ms - from_ms > MAX_REACH_MS {
            return Err(fault_at(
                "to",
                "it must be at most 366 days after `from`".into(),
            ));
        }
        Ok(Interval::new(from_ms, to_ms))
    }

    fn duration_ms(&self) -> Result<i64, Problem> {
        let duration_ms = i64::from(self.duration.unwrap_or(0)) * 60_000;
        match duration_ms <= MAX_DURATION_MS {
            true => Ok(duration_ms),
            false => Err(fault_at(
                "duration",
                "a booking lasts 31 days at most, 44640 minutes".into(),
            )),
        }
    }
}

page!(
    /// When resources are free.
    AvailabilityPage of Availability
);

/// When resources are free, by their ids
#[utoipa::path(get, path = "/availability", tag = "availability", params(Query), responses((status = 200, body = AvailabilityPage)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    _caller: Caller,
    QueryParams(query): QueryParams<Query>,
) -> Result<Json<Page<Availability>>, Problem> {
    let (bounds, duration_ms) = (query.bounds()?, query.duration_ms()?);
    let wish = Wish {
        resource_id: query.resource,
        kind: query.kind,
        place: query.place,
        capacity: query.capacity.unwrap_or(0).into(),
        after: query.cursor.map_or_else(String::new, |Cursor(after)| after),
    };
    let mut reader = app
        .booking
        .parts()
        .readers
        .acquire()
        .await
        .map_err(unread)?;
    let resources = wanted(&mut *reader, &wish, query.limit.rows())
        .await
        .map_err(unread)?;
    let page = Page::from_rows(resources, query.limit.get(), |last| last.id.clone());
    let (mut items, mut next) = (Vec::with_capacity(page.items.len()), page.next);
    let mut intervals = 0;
    let mut resources = page.items.into_iter().peekable();
    while let Some(resource) = resources.next() {
        let id = resource.id.clone();
        let availability = of_resource(&mut reader, resource, bounds, duration_ms)
            .await
            .map_err(unanswered)?;
        intervals += availability.intervals();
        items.push(availability);
        if intervals >= MAX_INTERVALS && resources.peek().is_some() {
            next = Some(Cursor(id).to_string());
            break;
        }
    }
    Ok(Json(Page { items, next }))
}

fn unanswered(error: AvailabilityError) -> Problem {
    match error {
        AvailabilityError::Database(error) => unread(error),
        AvailabilityError::TooMuch(resource_id) => fault_at(
            "to",
            format!(
                "{resource_id} has more bookings in that time than one answer holds; ask for a shorter one"
            ),
        ),
    }
}
