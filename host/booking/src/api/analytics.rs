//! The handlers of `/analytics`, and what happened in the API as events.

use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, Problem, QueryParams};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bookings::Moment;
use super::caller::Caller;
use super::faults::{impossible_at, is_no_stretch};
use super::texts::{CursorText, Time};
use super::{App, ListSize};
use crate::actor::Role;
use crate::analytics::{self, Summary, Usage, UsageWish};
use crate::error::unread;
use crate::interval::Interval;
use crate::recorder::{Happened, Recorder};

/// The longest stretch that is looked at, in milliseconds: a leap year and a bit.
const MAX_STRETCH_MS: i64 = 370 * 24 * 60 * 60 * 1000;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(usage))
        .routes(routes!(summary))
}

/// The query of `GET /analytics/summary`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SummaryQuery {
    /// From when.
    #[param(value_type = Time, example = "2031-05-06T09:00:00Z")]
    from: Moment,
    /// To when, at most 370 days later.
    #[param(value_type = Time, example = "2031-05-07T09:00:00Z")]
    to: Moment,
}

/// From when to when, and of which resources.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageQuery {
    /// From when.
    #[param(value_type = Time, example = "2031-05-06T09:00:00Z")]
    from: Moment,
    /// To when, at most 370 days later.
    #[param(value_type = Time, example = "2031-05-07T09:00:00Z")]
    to: Moment,
    /// Only resources of this kind.
    kind: Option<String>,
    /// How many resources a page has.
    #[param(inline)]
    #[serde(default)]
    limit: ListSize,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<String>>,
}

fn bounds(Moment(from_ms): Moment, Moment(to_ms): Moment) -> Result<Interval, Problem> {
    let bounds = Interval::new(from_ms, to_ms);
    if bounds.duration_ms() <= 0 {
        return Err(is_no_stretch());
    }
    if bounds.duration_ms() > MAX_STRETCH_MS {
        return Err(impossible_at(
            "to",
            "it must be at most 370 days after `from`",
        ));
    }
    Ok(bounds)
}

/// How the resources were used in a stretch of time.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct UsageAnswer {
    #[serde(flatten)]
    bounds: Interval,
    resources: Vec<Usage>,
    /// The cursor that asks for the resources behind these, or null at the end. A page may have fewer
    /// than `limit` where they have many bookings.
    next: Option<String>,
}

/// How each resource was used, by hour of the day
#[utoipa::path(get, path = "/analytics/usage", tag = "analytics", params(UsageQuery),
    responses((status = 200, body = UsageAnswer)))]
pub(super) async fn usage(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(query): QueryParams<UsageQuery>,
) -> Result<Json<UsageAnswer>, Problem> {
    caller.needs(Role::Staff, "How the place is used")?;
    let bounds = bounds(query.from, query.to)?;
    let mut reader = app
        .booking
        .parts()
        .readers
        .acquire()
        .await
        .map_err(unread)?;
    let wish = UsageWish {
        bounds,
        kind: query.kind,
        after: query.cursor.map_or_else(String::new, |Cursor(after)| after),
        limit: query.limit.get(),
    };
    let (resources, more) = analytics::usage(&mut reader, &wish).await.map_err(unread)?;
    let next = resources
        .last()
        .filter(|_| more)
        .map(|last| Cursor(&last.resource_id).to_string());
    Ok(Json(UsageAnswer {
        bounds,
        resources,
        next,
    }))
}

/// How bookings went: statuses, no-shows, lead times, waitlist, conflicts
#[utoipa::path(get, path = "/analytics/summary", tag = "analytics", params(SummaryQuery),
    responses((status = 200, body = Summary)))]
pub(super) async fn summary(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(query): QueryParams<SummaryQuery>,
) -> Result<Json<Summary>, Problem> {
    caller.needs(Role::Staff, "How the place is used")?;
    let bounds = bounds(query.from, query.to)?;
    let parts = app.booking.parts();
    let summary = analytics::summary(&parts.readers, bounds, parts.clock.now_ms())
        .await
        .map_err(unread)?;
    Ok(Json(summary))
}

/// Notes what was asked and how it went, for `analytics-events`.
pub(super) async fn record(
    State(recorder): State<Recorder>,
    correlation: CorrelationId,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let name = route.and_then(|route| name_of(request.method().as_str(), route.as_str()));
    let response = next.run(request).await;
    // Whoever has no token could fill the disk with them.
    let is_known = response.status() != StatusCode::UNAUTHORIZED;
    if let Some(name) = name.filter(|_| is_known) {
        recorder.note(Happened {
            name,
            correlation_id: correlation.to_string(),
            status: response.status().as_u16(),
            took: begun.elapsed(),
        });
    }
    response
}

/// What a request is called in analytics: `bookings.created`, `availability.searched`; by the first
/// part of its path, and the last where that is a verb. What only watches the service has no name.
fn name_of(method: &str, route: &str) -> Option<String> {
    let parts: Vec<&str> = route.split('/').filter(|part| !part.is_empty()).collect();
    let first = *parts.first()?;
    if matches!(
        first,
        "healthz" | "readyz" | "metrics" | "openapi.json" | "docs"
    ) {
        return None;
    }
    let last = *parts.last()?;
    let verb = match method {
        "POST" if parts.len() > 2 && !last.starts_with('{') => last,
        "POST" => "created",
        "PATCH" | "PUT" => "changed",
        "DELETE" => "removed",
        _ if first == "availability" => "searched",
        _ if last.starts_with('{') => "shown",
        _ => "listed",
    };
    Some(format!("{first}.{verb}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_names_that_say_what_was_asked() {
        for (method, route, name) in [
            ("POST", "/bookings", Some("bookings.created")),
            ("POST", "/bookings/{id}/check-in", Some("bookings.check-in")),
            ("PATCH", "/bookings/{id}", Some("bookings.changed")),
            ("GET", "/bookings/{id}", Some("bookings.shown")),
            ("GET", "/bookings", Some("bookings.listed")),
            ("GET", "/availability", Some("availability.searched")),
            ("POST", "/waitlist/{resourceId}", Some("waitlist.created")),
            ("DELETE", "/waitlist/{resourceId}", Some("waitlist.removed")),
            ("GET", "/healthz", None),
        ] {
            assert_eq!(name_of(method, route).as_deref(), name, "{method} {route}");
        }
    }
}
