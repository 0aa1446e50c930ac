//! The handlers of `/bookings`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::{Deserialize, Deserializer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::booking_body::{BookingBody, BookingPatch};
use super::caller::Caller;
use super::etag::{IfMatch, NeedsVersion, TakesVersion, Versioned};
use super::faults::is_no_stretch;
use super::openapi::page;
use super::refusals::{edited_booking, no_booking, refused, stepped_booking};
use super::request_key::{IdempotencyKey, TakesKey, once};
use super::scoped::{NoScope, Scoped, scoped_cancelled, scoped_edited};
use super::texts::{CursorText, Time};
use crate::actor::Role;
use crate::changes::{
    Access, CancelScoped, CreateBooking, Created, EditBooking, EditScoped, TakeStep,
};
use crate::idempotency::Idempotent;
use crate::queries::{self, BookingFilter};
use crate::record::BookingRecord;
use crate::rfc3339;
use crate::status::Step;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, edit))
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(check_in))
        .routes(routes!(check_out))
        .routes(routes!(no_show))
}

/// Book a resource
///
/// A time that is taken is answered with 409, a `conflictId` and ranked `alternatives`; who takes one
/// sends the `conflictId` along.
#[utoipa::path(post, path = "/bookings", tag = "bookings", request_body = BookingBody,
    params(TakesKey),
    responses((status = 201, body = BookingRecord)))]
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<BookingBody>,
) -> Result<Response, Problem> {
    let new = body.checked(&caller)?;
    let (resource_id, user_id) = (new.resource_id.clone(), new.user_id.clone());
    let command = Idempotent {
        command: CreateBooking { new },
        key: key.of(&caller, "/bookings", &body),
    };
    match once(app.carry_out(&caller, &correlation, command).await?)? {
        Created::Booked(booking) => Ok(created(booking)),
        Created::Refused(why) => Err(refused(&resource_id, &user_id, why)),
    }
}

fn created(booking: BookingRecord) -> Response {
    let location = format!("/bookings/{}", booking.id);
    let mut response = (StatusCode::CREATED, versioned(booking)).into_response();
    // An id of the service's own is fit for a header.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn versioned(booking: BookingRecord) -> Versioned<BookingRecord> {
    Versioned {
        version: booking.version,
        body: booking,
    }
}

/// One booking
#[utoipa::path(get, path = "/bookings/{id}", tag = "bookings", params(("id" = String, Path)),
    responses((status = 200, body = BookingRecord)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Versioned<BookingRecord>, Problem> {
    let booking = queries::booking(&app.booking.parts().readers, &id)
        .await
        .map_err(crate::error::unread)?
        .filter(|booking| caller.may_act_for(&booking.user_id));
    booking.map(versioned).ok_or_else(|| no_booking(&id))
}

/// Change a booking
#[utoipa::path(patch, path = "/bookings/{id}", tag = "bookings", request_body = BookingPatch,
    params(("id" = String, Path), NeedsVersion, Scoped),
    responses((status = 200, body = OneOrAll)))]
pub(super) async fn edit(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    QueryParams(Scoped { scope }): QueryParams<Scoped>,
    correlation: CorrelationId,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<BookingPatch>,
) -> Result<Response, Problem> {
    let edit = patch.checked()?;
    let access = Access {
        booking_id: id.clone(),
        versions: if_match.required()?,
    };
    if let Some(scope) = scope.of_several() {
        let command = EditScoped {
            access,
            scope,
            edit,
        };
        let edited = app.carry_out(&caller, &correlation, command).await?;
        return scoped_edited(&id, edited);
    }
    let command = EditBooking { access, edit };
    let edited = app.carry_out(&caller, &correlation, command).await?;
    let booking = edited_booking(&id, edited)?;
    Ok(versioned(booking).into_response())
}

/// Call a booking off
#[utoipa::path(post, path = "/bookings/{id}/cancel", tag = "bookings",
    params(("id" = String, Path), TakesVersion, Scoped), responses((status = 200, body = OneOrAll)))]
pub(super) async fn cancel(
    app: State<App>,
    caller: Caller,
    id: PathParams<String>,
    QueryParams(Scoped { scope }): QueryParams<Scoped>,
    correlation: CorrelationId,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let Some(scope) = scope.of_several() else {
        let booking = take_step(Step::Cancel, app, caller, id, correlation, if_match).await?;
        return Ok(booking.into_response());
    };
    let (State(App(app)), PathParams(id)) = (app, id);
    let command = CancelScoped {
        access: Access {
            booking_id: id.clone(),
            versions: if_match.optional(),
        },
        scope,
    };
    let cancelled = app.carry_out(&caller, &correlation, command).await?;
    scoped_cancelled(&id, cancelled)
}

async fn take_step(
    step: Step,
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
) -> Result<Versioned<BookingRecord>, Problem> {
    if step.needs_authority() {
        caller.needs(Role::Staff, &format!("`{}`", step.path()))?;
    }
    let command = TakeStep {
        access: Access {
            booking_id: id.clone(),
            versions: if_match.optional(),
        },
        step,
    };
    let stepped = app.carry_out(&caller, &correlation, command).await?;
    stepped_booking(&id, stepped).map(versioned)
}

/// A handler for each step that is taken by one booking at a time, with its place in the description of
/// the API.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident: $step:ident at $path:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "bookings",
            params(("id" = String, Path), TakesVersion), responses((status = 200, body = BookingRecord)))]
        pub(super) async fn $name(
            app: State<App>,
            caller: Caller,
            id: PathParams<String>,
            NoScope: NoScope,
            correlation: CorrelationId,
            if_match: IfMatch,
        ) -> Result<Versioned<BookingRecord>, Problem> {
            take_step(Step::$step, app, caller, id, correlation, if_match).await
        }
    )*};
}

steps! {
    /// Approve a booking
    confirm: Confirm at "/bookings/{id}/confirm";
    /// The people of a booking arrive
    check_in: CheckIn at "/bookings/{id}/check-in";
    /// The people of a booking leave; the rest of its time is free
    check_out: CheckOut at "/bookings/{id}/check-out";
    /// Nobody came to a booking
    no_show: NoShow at "/bookings/{id}/no-show";
}

/// A time in a query string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) i64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time_ms = rfc3339::parse(&text);
        time_ms
            .map(Moment)
            .map_err(|shape| serde::de::Error::custom(format!("`{text}` must be {shape}")))
    }
}

/// The query of `GET /bookings`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those of this resource.
    resource: Option<String>,
    /// Only those of this user; whoever is no staff sees their own alone.
    user: Option<String>,
    /// Only those that end after it.
    #[param(value_type = Option<Time>, example = "2031-05-06T09:00:00Z")]
    from: Option<Moment>,
    /// Only those that begin before it.
    #[param(value_type = Option<Time>, example = "2031-05-07T09:00:00Z")]
    to: Option<Moment>,
    /// How many items a page has.
    #[param(inline)]
    #[serde(default)]
    limit: ListSize,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<(i64, String)>>,
}

/// The booking, or with a `scope` beyond it all that were changed.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // it is described here, and made where it is answered
enum OneOrAll {
    One(BookingRecord),
    All(BookingPage),
}

page!(
    /// Bookings.
    BookingPage of BookingRecord
);

/// Bookings that reach into a stretch of time, by start
#[utoipa::path(get, path = "/bookings", tag = "bookings", params(Listing),
    responses((status = 200, body = BookingPage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<BookingRecord>>, Problem> {
    if let Some(user_id) = &listing.user
        && !caller.may_act_for(user_id)
    {
        caller.needs(Role::Staff, "Another user's bookings")?;
    }
    let filter = BookingFilter {
        resource_id: listing.resource,
        user_id: listing.user.or(caller.only_user().map(str::to_owned)),
        from_ms: listing.from.map(|Moment(from_ms)| from_ms),
        to_ms: listing.to.map(|Moment(to_ms)| to_ms),
        after: listing.cursor.map(|Cursor(after)| after),
    };
    if let (Some(from_ms), Some(to_ms)) = (filter.from_ms, filter.to_ms)
        && from_ms >= to_ms
    {
        return Err(is_no_stretch());
    }
    let rows = queries::bookings(&app.booking.parts().readers, &filter, listing.limit.rows())
        .await
        .map_err(crate::error::unread)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        (last.start_ms, last.id.clone())
    })))
}
