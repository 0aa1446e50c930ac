//! The handlers of `/series`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::caller::Caller;
use super::faults::impossible_at;
use super::refusals::{refused, without_place};
use super::request_key::{IdempotencyKey, TakesKey, once};
use super::series_body::SeriesBody;
use super::texts::CursorText;
use crate::changes::{CreateSeries, Occurrence, OnConflict, SeriesCreated};
use crate::idempotency::Idempotent;
use crate::record::BookingRecord;
use crate::series::{SeriesRecord, occurrences_after, series};

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
