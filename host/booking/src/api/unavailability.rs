//! The handlers of `/resources/{id}/unavailability`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::bookings::Moment;
use super::caller::Caller;
use super::faults::{Faults, impossible_at, is_no_stretch};
use super::form::Text as _;
use super::location::created;
use super::openapi::page;
use super::refusals::Master;
use super::request_key::{IdempotencyKey, TakesKey, once};
use super::texts::{CursorText, Reason, Time};
use crate::actor::Role;
use crate::changes::{Close, Closed, NewClosure, Reopen};
use crate::error::unread;
use crate::idempotency::Idempotent;
use crate::interval::Interval;
use crate::queries::{self, ClosureFilter};
use crate::rfc3339;
use crate::unavailability::{MAX_CLOSED_MS, Unavailability};

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
}

/// The body of `POST` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "startTime": "2031-05-06T09:00:00Z", "endTime": "2031-05-07T09:00:00Z", "reason": "New carpets"
}))]
pub(super) struct ClosureBody {
    start_time: Time,
    /// At most five years later.
    end_time: Time,
    reason: Reason,
}

impl ClosureBody {
    fn checked(&self, resource_id: String) -> Result<NewClosure, Problem> {
        let mut faults = Faults::default();
        faults.text("reason", &self.reason);
        let start_ms = faults.time("startTime", &self.start_time);
        let end_ms = faults.time("endTime", &self.end_time);
        // Where one is missing, that is a fault already.
        let interval = Interval::new(start_ms.unwrap_or(0), end_ms.unwrap_or(1));
        if let (Some(_), Some(_)) = (start_ms, end_ms) {
            if interval.duration_ms() <= 0 {
                faults.impossible("endTime", "it must be later than startTime");
            } else if interval.duration_ms() > MAX_CLOSED_MS {
                faults.impossible(
                    "endTime",
                    "a resource is unavailable for five years at most",
                );
            }
        }
        faults.result()?;
        Ok(NewClosure {
            resource_id,
            interval,
            reason: self.reason.trimmed(),
        })
    }
}

/// The answer of `POST`: what was made, and whom it affects.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClosedBody {
    #[serde(flatten)]
    closure: Unavailability,
    affected_count: usize,
    /// The bookings that are in conflict with it, by start.
    affected_bookings: Vec<String>,
}

/// Make a resource unavailable for a time; whose bookings are in it hear of the conflict
#[utoipa::path(post, path = "/resources/{id}/unavailability", tag = "unavailability", request_body = ClosureBody, params(("id" = String, Path), TakesKey), responses((status = 201, body = ClosedBody)))]
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<ClosureBody>,
) -> Result<Response, Problem> {
    caller.needs(Role::Staff, "Making a resource unavailable")?;
    let path = format!("/resources/{id}/unavailability");
    let command = Idempotent {
        command: Close {
            new: body.checked(id.clone())?,
        },
        key: key.of(&caller, &path, &body),
    };
    let (closure, affected) = match once(app.carry_out(&caller, &correlation, command).await?)? {
        Closed::Done { closure, affected } => (closure, affected),
        Closed::NoResource => return Err(Master::Resource.unknown(&id)),
        Closed::Over => {
            return Err(impossible_at(
                "endTime",
                "it is over already; choose a time to come",
            ));
        }
        Closed::TooMany { until_ms } => return Err(too_many(until_ms)),
    };
    let uid = closure.id.clone();
    let body = ClosedBody {
        closure,
        affected_count: affected.len(),
        affected_bookings: affected,
    };
    Ok(created(
        &["resources", &id, "unavailability", &uid],
        Json(body),
    ))
}

fn too_many(until_ms: i64) -> Problem {
    let until = rfc3339::print(until_ms);
    Problem::conflict(format!(
        "More bookings stand in that time than are put into conflict at once. Close it in parts: until {until} first, and from there on in a second request."
    ))
    .with_code("too-many-bookings")
    .with_title("Too many bookings")
    .with("until", until)
}

/// The query of `GET`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only what ends after it.
    #[param(value_type = Option<Time>, example = "2031-05-06T09:00:00Z")]
    from: Option<Moment>,
    /// Only what begins before it.
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

page!(
    /// Times at which a resource is unavailable.
    ClosurePage of Unavailability
);

/// When a resource is unavailable, by start
#[utoipa::path(get, path = "/resources/{id}/unavailability", tag = "unavailability", params(("id" = String, Path), Listing), responses((status = 200, body = ClosurePage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    _caller: Caller,
    PathParams(id): PathParams<String>,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<Unavailability>>, Problem> {
    let filter = ClosureFilter {
        resource_id: &id,
        from_ms: listing.from.map(|Moment(from_ms)| from_ms),
        to_ms: listing.to.map(|Moment(to_ms)| to_ms),
        after: listing.cursor.map(|Cursor(after)| after),
    };
    if let (Some(from_ms), Some(to_ms)) = (filter.from_ms, filter.to_ms)
        && from_ms >= to_ms
    {
        return Err(is_no_stretch());
    }
    known(&app.booking, &id).await?;
    let rows = queries::closures(&app.booking.parts().readers, &filter, listing.limit.rows())
        .await
        .map_err(unread)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        (last.interval.start_ms, last.id.clone())
    })))
}

/// One time at which a resource is unavailable
#[utoipa::path(get, path = "/resources/{id}/unavailability/{uid}", tag = "unavailability", params(("id" = String, Path), ("uid" = String, Path)), responses((status = 200, body = Unavailability)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    _caller: Caller,
    PathParams((id, uid)): PathParams<(String, String)>,
) -> Result<Json<Unavailability>, Problem> {
    known(&app.booking, &id).await?;
    let closure = queries::closure(&app.booking.parts().readers, &id, &uid)
        .await
        .map_err(unread)?;
    closure.map(Json).ok_or_else(|| no_closure(&uid))
}

/// Make a resource available again
///
/// It is never changed, so there is no version of it that somebody could not have seen.
#[utoipa::path(delete, path = "/resources/{id}/unavailability/{uid}", tag = "unavailability", params(("id" = String, Path), ("uid" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams((id, uid)): PathParams<(String, String)>,
    correlation: CorrelationId,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Staff, "Making a resource available again")?;
    let command = Reopen {
        resource_id: id.clone(),
        id: uid.clone(),
    };
    match app.carry_out(&caller, &correlation, command).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            known(&app.booking, &id).await?;
            Err(no_closure(&uid))
        }
    }
}

/// Refuses a resource that there is not.
async fn known(booking: &crate::service::Booking, id: &str) -> Result<(), Problem> {
    queries::resource(&booking.parts().readers, id)
        .await
        .map_err(unread)?
        .map(drop)
        .ok_or_else(|| Master::Resource.unknown(id))
}

fn no_closure(uid: &str) -> Problem {
    Problem::not_found(format!(
        "There is no unavailability {uid:?} of this resource."
    ))
}
