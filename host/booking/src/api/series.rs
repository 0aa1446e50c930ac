//! The handlers of `/series`, and what changes of several occurrences answer.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bookings::{edited_booking, stepped_booking};
use super::caller::Caller;
use super::faults::impossible_at;
use super::refusals::refused;
use super::request_key::{IdempotencyKey, TakesKey, once};
use super::series_body::SeriesBody;
use super::texts::CursorText;
use super::{App, ListSize};
use crate::changes::{
    CreateSeries, NoPlace, Occurrence, OnConflict, Outcome, ScopedCancelled, ScopedEdited,
    SeriesCreated,
};
use crate::idempotency::Idempotent;
use crate::record::BookingRecord;
use crate::rfc3339;
use crate::series::{Scope, SeriesRecord, occurrences_after, series};

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(show))
}

/// What `POST /series` answers.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Report {
    series: SeriesRecord,
    occurrences: Vec<Occurrence>,
    /// Local times that the rule names and the clocks leave out.
    #[schema(value_type = Vec<String>)]
    left_out: Vec<DateTime>,
}

/// Book many times by a rule (RFC 5545), all or as many as have a place
#[utoipa::path(post, path = "/series", tag = "series", request_body = SeriesBody, params(TakesKey), responses((status = 201, body = Report)))]
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<SeriesBody>,
) -> Result<Response, Problem> {
    let new = body.checked(&caller)?;
    let (resource_id, user_id) = (new.first.resource_id.clone(), new.first.user_id.clone());
    let on_conflict = new.on_conflict;
    let command = Idempotent {
        command: CreateSeries { new },
        key: key.of(&caller, "/series", &body),
    };
    match once(app.carry_out(&caller, &correlation, command).await?)? {
        SeriesCreated::Made {
            series,
            occurrences,
            left_out,
        } => Ok(created(Report {
            series,
            occurrences,
            left_out,
        })),
        SeriesCreated::Refused(why) => Err(refused(&resource_id, &user_id, why)),
        SeriesCreated::OverlapsItself { buffer_minutes } => Err(impossible_at(
            "rule",
            format!(
                "one occurrence begins before another is over; {resource_id} needs {buffer_minutes} minutes after each"
            ),
        )),
        SeriesCreated::NoPlace(no_place) => {
            let advice = match on_conflict {
                OnConflict::Refuse if no_place.has_possible() => {
                    " Send it with `\"conflicts\": \"skip\"` to book the others without them."
                }
                _ => "",
            };
            Err(without_place(no_place, advice))
        }
    }
}

fn created(report: Report) -> Response {
    let location = format!("/series/{}", report.series.id);
    let mut response = (StatusCode::CREATED, Json(report)).into_response();
    // An id of the service's own is fit for a header.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Names what is in the way of each occurrence, and nothing of whose it is. `advice` is a sentence more.
fn without_place(no_place: NoPlace, advice: &str) -> Problem {
    let all = no_place.occurrences.len();
    let refused = |occurrence: &&Occurrence| occurrence.outcome == Outcome::Refused;
    let count = no_place.occurrences.iter().filter(refused).count();
    let first = no_place.occurrences.iter().find(refused).map(|occurrence| {
        let reason = occurrence
            .obstacle
            .as_ref()
            .map_or("", |obstacle| obstacle.reason.as_str());
        let start = rfc3339::print(occurrence.interval.start_ms);
        format!("; the first is that of {start}: {reason}")
    });
    let problem = Problem::conflict(format!(
        "{count} of {all} occurrences have no place, so everything is as it was{}.{advice}",
        first.unwrap_or_default()
    ))
    .with_code("series-conflict")
    .with_title("Not every occurrence has a place")
    .with("occurrences", &no_place.occurrences);
    match no_place.first {
        None => problem,
        Some(taken) => problem
            .with("conflictId", &taken.conflict_id)
            .with("conflicts", &taken.intervals)
            .with("alternatives", &taken.alternatives),
    }
}

/// The query of `GET /series/{id}`.
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
    cursor: Option<Cursor<i64>>,
}

/// What `GET /series/{id}` answers.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct WithOccurrences {
    series: SeriesRecord,
    #[schema(value_type = super::bookings::BookingPage)]
    #[serde(flatten)]
    occurrences: Page<BookingRecord>,
}

/// A series, and its occurrences in the order of the rule
#[utoipa::path(get, path = "/series/{id}", tag = "series", params(("id" = String, Path), Listing), responses((status = 200, body = WithOccurrences)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<WithOccurrences>, Problem> {
    let readers = &app.booking.parts().readers;
    let series = series(readers, &id)
        .await
        .map_err(crate::error::unread)?
        .filter(|series| caller.may_act_for(&series.user_id))
        .ok_or_else(|| Problem::not_found(format!("There is no series {id:?}.")))?;
    let after_ms = listing.cursor.map_or(i64::MIN, |Cursor(after_ms)| after_ms);
    let rows = occurrences_after(readers, &id, after_ms, listing.limit.rows())
        .await
        .map_err(crate::error::unread)?;
    let occurrences = Page::from_rows(rows, listing.limit.get(), |last| last.occurrence_ms);
    Ok(Json(WithOccurrences {
        series,
        occurrences,
    }))
}

/// The query of changes that may be for several occurrences.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Scoped {
    /// Of a series: this occurrence, it and the following, or all that are to come.
    #[param(inline)]
    #[serde(default)]
    pub(super) scope: AskedScope,
}

/// Which occurrences of a series a change is for.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AskedScope {
    /// The one that is named.
    #[default]
    This,
    /// That, and those after it.
    Following,
    /// Every one that is still to come.
    All,
}

impl AskedScope {
    /// None where it is for the named one alone, which need not be of a series.
    pub(super) fn of_several(self) -> Option<Scope> {
        match self {
            Self::This => None,
            Self::Following => Some(Scope::Following),
            Self::All => Some(Scope::All),
        }
    }
}

/// Refuses a query where there is none: several occurrences are not arrived at together, and whoever asks
/// for that must not believe that they were.
pub(super) struct NoScope;

impl<S: Send + Sync> FromRequestParts<S> for NoScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Problem::bad_request(
                "This is for one booking and takes no query; only `cancel` and PATCH take a scope.",
            )
            .with_code("invalid-query")),
        }
    }
}

/// What `PATCH /bookings/{id}?scope=` answers.
pub(super) fn scoped_edited(id: &str, edited: ScopedEdited) -> Result<Response, Problem> {
    match edited {
        ScopedEdited::Bookings(bookings) => Ok(all(bookings)),
        ScopedEdited::NoPlace(no_place) => Err(without_place(no_place, "")),
        ScopedEdited::NoSeries => Err(no_series(id)),
        ScopedEdited::Refused(why) => edited_booking(id, why).map(|booking| all(vec![booking])),
    }
}

/// What `POST /bookings/{id}/cancel?scope=` answers.
pub(super) fn scoped_cancelled(id: &str, cancelled: ScopedCancelled) -> Result<Response, Problem> {
    match cancelled {
        ScopedCancelled::Bookings(bookings) => Ok(all(bookings)),
        ScopedCancelled::NoSeries => Err(no_series(id)),
        ScopedCancelled::Refused(why) => stepped_booking(id, why).map(|booking| all(vec![booking])),
    }
}

/// A series is bounded, so its occurrences are one page.
fn all(bookings: Vec<BookingRecord>) -> Response {
    Json(Page {
        items: bookings,
        next: None,
    })
    .into_response()
}

fn no_series(id: &str) -> Problem {
    Problem::conflict(format!(
        "Booking {id} is of no series; leave `scope` out, or say `scope=this`."
    ))
    .with_code("no-series")
}
