//! The handlers of `/waitlist`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, AppParts, ListSize};
use super::booking_body::user_id;
use super::caller::Caller;
use super::etag::Versioned;
use super::faults::{Faults, impossible_at};
use super::location::created;
use super::openapi::page;
use super::refusals::{Master, refused};
use super::request_key::{IdempotencyKey, TakesKey, once};
use super::texts::{CursorText, UserId};
use super::waitlist_body::WaitlistBody;
use crate::actor::Role;
use crate::changes::{
    AcceptHold, Accepted, EntryAccess, JoinWaitlist, Joined, LeaveAll, LeaveWaitlist, Left, Refused,
};
use crate::idempotency::Idempotent;
use crate::queries;
use crate::record::BookingRecord;
use crate::waitlist::{self, EntryStatus, Listed, Standing};

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_of_user))
        .routes(routes!(join, list, leave_all))
        .routes(routes!(show, leave))
        .routes(routes!(accept))
}

/// Wait for a time that is taken
#[utoipa::path(post, path = "/waitlist/{resourceId}", tag = "waitlist", request_body = WaitlistBody, params(("resourceId" = String, Path), TakesKey), responses((status = 201, body = Standing)))]
pub(super) async fn join(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(resource_id): PathParams<String>,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<WaitlistBody>,
) -> Result<Response, Problem> {
    let new = body.checked(&caller, &resource_id)?;
    let user_id = new.user_id.clone();
    let command = Idempotent {
        command: JoinWaitlist { new },
        key: key.of(&caller, &format!("/waitlist/{resource_id}"), &body),
    };
    match once(app.carry_out(&caller, &correlation, command).await?)? {
        Joined::Waits(standing) => Ok(joined(*standing)),
        Joined::Refused(Refused::NoResource) => Err(Master::Resource.unknown(&resource_id)),
        Joined::Refused(why) => Err(refused(&resource_id, &user_id, why)),
        not => Err(not_joined(&resource_id, &not)),
    }
}

fn joined(standing: Standing) -> Response {
    let (resource_id, id) = (
        standing.entry.resource_id.clone(),
        standing.entry.id.clone(),
    );
    created(&["waitlist", &resource_id, &id], Json(standing))
}

fn not_joined(resource_id: &str, why: &Joined) -> Problem {
    let problem = match why {
        Joined::WaitsAlready { entry_id } => Problem::conflict(format!(
            "Entry {entry_id} waits for this time of {resource_id} already."
        ))
        .with_code("already-waiting")
        .with_title("Waiting already")
        .with("entryId", entry_id),
        Joined::Full { most } => Problem::conflict(format!(
            "{most} wait for {resource_id}, and no more may. Try another resource."
        ))
        .with_code("waitlist-full")
        .with_title("The waitlist is full"),
        Joined::TooOften { most } => Problem::conflict(format!(
            "One user waits for {resource_id} at most {most} times. Leave the waitlist for a time that is not wanted any more."
        ))
        .with_code("waiting-too-often")
        .with_title("Waiting too often"),
        _ => Problem::conflict(format!(
            "{resource_id} is free at that time: book it with POST /bookings instead of waiting."
        ))
        .with_code("time-is-free")
        .with_title("Free already"),
    };
    problem.with("resourceId", resource_id)
}

/// The query of `GET /waitlist/{resourceId}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// How many items a page has.
    #[param(inline)]
    #[serde(default)]
    limit: ListSize,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<(i64, String)>>,
}

/// The query of `GET /waitlist`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OfUser {
    /// Whose; may be left out by a caller with a token, who sees their own then.
    user: Option<String>,
    /// How many items a page has.
    #[param(inline)]
    #[serde(default)]
    limit: ListSize,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<(i64, String)>>,
}

page!(
    /// Entries of a waitlist.
    WaitlistPage of Standing
);

/// Who waits for a resource, the newest first: the caller's own entries, or all for staff
#[utoipa::path(get, path = "/waitlist/{resourceId}", tag = "waitlist", params(("resourceId" = String, Path), Listing), responses((status = 200, body = WaitlistPage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(resource_id): PathParams<String>,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<Standing>>, Problem> {
    is_there(&app, &resource_id).await?;
    let listed = Listed::OfResource {
        id: resource_id,
        only_user: caller.only_user().map(str::to_owned),
    };
    page_of(&app, &listed, listing.cursor, listing.limit).await
}

/// What one user waits for, whatever the resource, the newest first: oneself, or anybody for staff
///
/// Entries that are `waiting` or `promoted`. What became of one that has ended is told by its event, by
/// `GET /waitlist/{resourceId}/{entryId}` and by the list of its resource.
#[utoipa::path(get, path = "/waitlist", tag = "waitlist", params(OfUser), responses((status = 200, body = WaitlistPage)))]
pub(super) async fn list_of_user(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<OfUser>,
) -> Result<Json<Page<Standing>>, Problem> {
    let own = caller.user().map(str::to_owned);
    let Some(user_id) = listing.user.or(own) else {
        return Err(impossible_at("user", "it is missing; say who waits"));
    };
    if !caller.may_act_for(&user_id) {
        caller.needs(Role::Staff, "What another user waits for")?;
    }
    let listed = Listed::AwaitedBy(user_id);
    page_of(&app, &listed, listing.cursor, listing.limit).await
}

/// 404 unless there is this resource.
async fn is_there(app: &AppParts, resource_id: &str) -> Result<(), Problem> {
    queries::resource(&app.booking.parts().readers, resource_id)
        .await
        .map_err(crate::error::unread)?
        .map(drop)
        .ok_or_else(|| Master::Resource.unknown(resource_id))
}

async fn page_of(
    app: &AppParts,
    listed: &Listed,
    cursor: Option<Cursor<(i64, String)>>,
    limit: ListSize,
) -> Result<Json<Page<Standing>>, Problem> {
    let readers = &app.booking.parts().readers;
    let before = cursor.map(|Cursor(before)| before);
    let rows = waitlist::standings(readers, listed, before.as_ref(), limit.rows())
        .await
        .map_err(crate::error::unread)?;
    Ok(Json(Page::from_rows(rows, limit.get(), |last| {
        (last.entry.joined_ms, last.entry.id.clone())
    })))
}

/// One entry, with its position
#[utoipa::path(get, path = "/waitlist/{resourceId}/{entryId}", tag = "waitlist", params(("resourceId" = String, Path), ("entryId" = String, Path)), responses((status = 200, body = Standing)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams((resource_id, entry_id)): PathParams<(String, String)>,
) -> Result<Json<Standing>, Problem> {
    let standing = waitlist::standing(&app.booking.parts().readers, &entry_id)
        .await
        .map_err(crate::error::unread)?
        .filter(|standing| {
            standing.entry.resource_id == resource_id && caller.may_act_for(&standing.entry.user_id)
        });
    standing.map(Json).ok_or_else(|| no_entry(&entry_id))
}

/// Wait no longer
#[utoipa::path(delete, path = "/waitlist/{resourceId}/{entryId}", tag = "waitlist", params(("resourceId" = String, Path), ("entryId" = String, Path)), responses((status = 204)))]
pub(super) async fn leave(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams((resource_id, entry_id)): PathParams<(String, String)>,
    correlation: CorrelationId,
) -> Result<StatusCode, Problem> {
    let command = LeaveWaitlist {
        access: EntryAccess {
            resource_id,
            entry_id: entry_id.clone(),
        },
    };
    match app.carry_out(&caller, &correlation, command).await? {
        Left::Removed => Ok(StatusCode::NO_CONTENT),
        Left::Over(status) => Err(is_over(&entry_id, status)),
        Left::NoEntry => Err(no_entry(&entry_id)),
    }
}

/// The query of `DELETE /waitlist/{resourceId}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Leaving {
    /// May be left out by a caller with a token, who leaves for themselves.
    user_id: Option<UserId>,
}

/// How many entries were left.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct LeftAll {
    removed: usize,
}

/// Wait for nothing of a resource any longer
#[utoipa::path(delete, path = "/waitlist/{resourceId}", tag = "waitlist", params(("resourceId" = String, Path), Leaving), responses((status = 200, body = LeftAll)))]
pub(super) async fn leave_all(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(resource_id): PathParams<String>,
    QueryParams(leaving): QueryParams<Leaving>,
    correlation: CorrelationId,
) -> Result<Json<LeftAll>, Problem> {
    let mut faults = Faults::default();
    let user_id = user_id(&mut faults, leaving.user_id.as_ref(), &caller)?;
    faults.result_of_query()?;
    is_there(&app, &resource_id).await?;
    let command = LeaveAll {
        resource_id,
        user_id,
    };
    let removed = app.carry_out(&caller, &correlation, command).await?;
    Ok(Json(LeftAll { removed }))
}

/// Accept what is held: answers the booking
#[utoipa::path(post, path = "/waitlist/{resourceId}/{entryId}/accept", tag = "waitlist", params(("resourceId" = String, Path), ("entryId" = String, Path)), responses((status = 200, body = BookingRecord)))]
pub(super) async fn accept(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams((resource_id, entry_id)): PathParams<(String, String)>,
    correlation: CorrelationId,
) -> Result<Response, Problem> {
    let command = AcceptHold {
        access: EntryAccess {
            resource_id,
            entry_id: entry_id.clone(),
        },
    };
    let booking = match app.carry_out(&caller, &correlation, command).await? {
        Accepted::Booked(booking) => *booking,
        Accepted::NotHeld(status) => return Err(not_held(&entry_id, status)),
        Accepted::NoEntry => return Err(no_entry(&entry_id)),
    };
    let place = HeaderValue::try_from(format!("/bookings/{}", booking.id));
    let mut response = Versioned {
        version: booking.version,
        body: booking,
    }
    .into_response();
    if let Ok(place) = place {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LOCATION, place);
    }
    Ok(response)
}

fn not_held(id: &str, status: EntryStatus) -> Problem {
    let why = match status {
        EntryStatus::Waiting => "its turn has not come; `waitlist.promoted` will tell",
        EntryStatus::Expired => "its time is up",
        _ => "it has ended",
    };
    entry_stays(
        id,
        status,
        &format!("Nothing is held for entry {id}: {why}."),
    )
}

fn is_over(id: &str, status: EntryStatus) -> Problem {
    let advice = match status {
        EntryStatus::Accepted => "; cancel its booking instead",
        _ => "",
    };
    let detail = format!(
        "Entry {id} is not waiting: it is {}{advice}.",
        status.in_words()
    );
    entry_stays(id, status, &detail)
}

fn entry_stays(id: &str, status: EntryStatus, detail: &str) -> Problem {
    Problem::conflict(detail)
        .with_code("impossible-step")
        .with_title("Not possible now")
        .with("entryId", id)
        .with("entryStatus", status)
}

/// Somebody else's entry answers the same, so that ids cannot be tried out.
fn no_entry(id: &str) -> Problem {
    Problem::not_found(format!("There is no entry {id:?} in this waitlist."))
}
