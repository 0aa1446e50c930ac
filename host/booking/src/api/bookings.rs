//! The handlers of `/bookings` and `/resources`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{
    CorrelationId, Cursor, JsonBody, Limit, Page, PathParams, Problem, QueryParams,
};
use serde::{Deserialize, Deserializer};

use super::App;
use super::caller::Caller;
use super::new_booking::{NewBooking, fault_at};
use crate::changes::{CreateBooking, Created, Stepped, TakeStep};
use crate::queries::{self, BookingFilter};
use crate::record::{BookingRecord, HeldInterval, Resource};
use crate::rfc3339;
use crate::status::{Refusal, Step};

/// A page of a list has 50 items unless asked otherwise, and 200 at most.
type PageSize = Limit<50, 200>;

/// `POST /bookings`
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    JsonBody(wanted): JsonBody<NewBooking>,
) -> Result<Response, Problem> {
    let wanted = wanted.checked(&caller)?;
    let (resource_id, user_id) = (wanted.resource_id.clone(), wanted.user_id.clone());
    let change = CreateBooking {
        config: Arc::clone(&app.booking.parts().config),
        resource_id: wanted.resource_id,
        user_id: wanted.user_id,
        title: wanted.title,
        start_ms: wanted.start_ms,
        end_ms: wanted.end_ms,
        attendees_count: wanted.attendees_count,
        correlation_id: correlation.to_string(),
    };
    match app.booking.parts().writer.write(change).await? {
        Created::Booked(booking) => Ok(created(&booking)),
        Created::Overlap(held) => Err(overlap(&resource_id, &held)),
        Created::NoResource => Err(fault_at(
            "resourceId",
            format!("there is no resource {resource_id:?}; GET /resources lists them"),
        )
        .with_code("unknown-resource")),
        Created::NoUser => {
            Err(fault_at("userId", format!("there is no user {user_id:?}"))
                .with_code("unknown-user"))
        }
        Created::TooMany(resource) => Err(too_many(&resource)),
    }
}

fn created(booking: &BookingRecord) -> Response {
    let location = format!("/bookings/{}", booking.id);
    (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(booking),
    )
        .into_response()
}

/// Names the times that are taken, and nothing of whose they are.
fn overlap(resource_id: &str, held: &[HeldInterval]) -> Problem {
    let times = held
        .iter()
        .map(|held| {
            format!(
                "{} to {}",
                rfc3339::print(held.start_ms),
                rfc3339::print(held.end_ms)
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    Problem::conflict(format!(
        "{resource_id} is booked already ({times}). Choose another time or another resource."
    ))
    .with_code("overlap")
    .with_title("Already booked")
    .with("resourceId", resource_id)
    .with("conflicts", held)
}

fn too_many(resource: &Resource) -> Problem {
    fault_at(
        "attendeesCount",
        format!("{} takes at most {} people", resource.id, resource.capacity),
    )
    .with_code("over-capacity")
    .with("capacity", resource.capacity)
}

/// `GET /bookings/{id}`
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Json<BookingRecord>, Problem> {
    let booking = queries::booking(&app.booking.parts().readers, &id)
        .await
        .map_err(Problem::internal)?
        .filter(|booking| caller.may_act_for(&booking.user_id));
    booking.map(Json).ok_or_else(|| no_booking(&id))
}

/// Somebody else's booking answers the same, so that ids cannot be tried out.
fn no_booking(id: &str) -> Problem {
    Problem::not_found(format!("There is no booking {id:?}."))
}

/// `POST /bookings/{id}/{step}`
pub(super) async fn take_step(
    step: Step,
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
) -> Result<Json<BookingRecord>, Problem> {
    if step.needs_authority() && !caller.has_authority() {
        return Err(Problem::forbidden(format!(
            "{:?} is for those with the role `admin`.",
            step.path()
        )));
    }
    let change = TakeStep {
        config: Arc::clone(&app.booking.parts().config),
        booking_id: id.clone(),
        step,
        owner: caller.only_user().map(str::to_owned),
        correlation_id: correlation.to_string(),
    };
    match app.booking.parts().writer.write(change).await? {
        Stepped::Taken(booking) => Ok(Json(booking)),
        Stepped::Refused(refusal) => Err(impossible(&id, refusal)),
        Stepped::NoBooking => Err(no_booking(&id)),
    }
}

fn impossible(id: &str, refusal: Refusal) -> Problem {
    Problem::conflict(format!("Booking {id} stays as it is: {refusal}."))
        .with_code("impossible-step")
        .with_title("Not possible now")
        .with("bookingStatus", refusal.status)
        .with("reason", refusal.reason)
}

/// A time in a query string.
#[derive(Debug, Clone, Copy)]
struct Moment(i64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        rfc3339::parse(&text)
            .map(Moment)
            .map_err(|shape| serde::de::Error::custom(format!("`{text}` must be {shape}")))
    }
}

/// The query of `GET /bookings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    resource: Option<String>,
    from: Option<Moment>,
    to: Option<Moment>,
    #[serde(default)]
    limit: PageSize,
    cursor: Option<Cursor<(i64, String)>>,
}

/// `GET /bookings?resource=&from=&to=&limit=&cursor=`: those that reach into [from, to), by start.
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<BookingRecord>>, Problem> {
    let filter = BookingFilter {
        resource_id: listing.resource,
        user_id: caller.only_user().map(str::to_owned),
        from_ms: listing.from.map(|Moment(from_ms)| from_ms),
        to_ms: listing.to.map(|Moment(to_ms)| to_ms),
        after: listing.cursor.map(|Cursor(after)| after),
    };
    if let (Some(from_ms), Some(to_ms)) = (filter.from_ms, filter.to_ms)
        && from_ms >= to_ms
    {
        return Err(fault_at("to", "it must be later than `from`".into()));
    }
    let rows = queries::bookings(&app.booking.parts().readers, &filter, listing.limit.rows())
        .await
        .map_err(Problem::internal)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        (last.start_ms, last.id.clone())
    })))
}

/// The query of `GET /resources`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceListing {
    #[serde(default)]
    limit: PageSize,
    cursor: Option<Cursor<String>>,
}

/// `GET /resources?limit=&cursor=`, by id.
pub(super) async fn list_resources(
    State(App(app)): State<App>,
    _caller: Caller,
    QueryParams(listing): QueryParams<ResourceListing>,
) -> Result<Json<Page<Resource>>, Problem> {
    let after = listing
        .cursor
        .map_or_else(String::new, |Cursor(after)| after);
    let rows = queries::resources(&app.booking.parts().readers, &after, listing.limit.rows())
        .await
        .map_err(Problem::internal)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}
