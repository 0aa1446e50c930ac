//! The handler of `/availability`.

use axum::Json;
use axum::extract::State;
use carillon_web::{Cursor, Page, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::bookings::Moment;
use super::caller::Caller;
use super::faults::{MAX_PEOPLE, impossible_at, is_no_stretch};
use super::numbers::{PageSize, Within};
use super::openapi::page;
use super::texts::{CursorText, Time};
use crate::availability::{Availability, AvailabilityError, Wish, of_resource, wanted};
use crate::error::unread;
use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;

const MINUTE_MS: i64 = 60_000;
/// The longest time that is looked at.
const MAX_REACH_MS: i64 = 366 * 24 * 60 * 60 * 1000;

/// With so many stretches of time in an answer the page ends, and the next one goes on: a hundred
/// resources that are booked every quarter of an hour would have millions in a year.
const MAX_INTERVALS: usize = 20_000;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// How many people come.
pub(super) type People = Within<1, MAX_PEOPLE>;
/// The longest booking has 31 days.
type Minutes = Within<0, { MAX_DURATION_MS / MINUTE_MS }>;
/// Each may have a year's stretches.
type Resources = PageSize<20, 100>;

/// The query of `GET /availability`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// From when.
    #[param(value_type = Time, example = "2031-05-06T09:00:00Z")]
    from: Moment,
    /// To when, at most 366 days later.
    #[param(value_type = Time, example = "2031-05-07T09:00:00Z")]
    to: Moment,
    /// Only this resource.
    resource: Option<String>,
    /// Only those of this kind.
    kind: Option<String>,
    /// Only those at this place.
    place: Option<String>,
    /// Only those that take at least so many people.
    #[param(inline)]
    capacity: Option<People>,
    /// Only free stretches of at least so many minutes.
    #[param(inline)]
    duration: Option<Minutes>,
    /// How many resources a page has; fewer where they have many bookings in that time.
    #[param(inline)]
    #[serde(default)]
    limit: Resources,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<String>>,
}

impl Query {
    fn bounds(&self) -> Result<Interval, Problem> {
        let (Moment(from_ms), Moment(to_ms)) = (self.from, self.to);
        if from_ms >= to_ms {
            return Err(is_no_stretch());
        }
        if to_ms - from_ms > MAX_REACH_MS {
            return Err(impossible_at(
                "to",
                "it must be at most 366 days after `from`",
            ));
        }
        Ok(Interval::new(from_ms, to_ms))
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
    let bounds = query.bounds()?;
    let duration_ms = query
        .duration
        .map_or(0, |Within(minutes)| minutes * MINUTE_MS);
    let wish = Wish {
        resource_id: query.resource,
        kind: query.kind,
        place: query.place,
        capacity: query.capacity.map_or(0, |Within(people)| people),
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
        AvailabilityError::TooMuch(resource_id) => impossible_at(
            "to",
            format!(
                "{resource_id} has more bookings in that time than one answer holds; ask for a shorter one"
            ),
        ),
    }
}
