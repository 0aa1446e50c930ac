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

use super::app::{App, ListSize};
use super::bookings::Moment;
use super::caller::Caller;
use super::faults::{impossible_at, is_no_stretch};
use super::texts::{CursorText, Time};
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

/// Last parts of paths that say what is done, so that no verb follows them in a name.
const SAYING_IT: [&str; 9] = [
    "accept",
    "cancel",
    "check-in",
    "check-out",
    "confirm",
    "export",
    "no-show",
    "summary",
    "usage",
];

/// What a request is called in analytics: the parts of its path that are no parameters, and what is done
/// to the last of them. `resources.unavailability.removed`, `users.calendar.created`; where the last part
/// says it, it is the end: `bookings.check-in`. What only watches the service has no name.
fn name_of(method: &str, route: &str) -> Option<String> {
    let is_parameter = |part: &str| part.starts_with('{');
    let mut parts: Vec<&str> = route.split('/').filter(|part| !part.is_empty()).collect();
    // It says whose waitlist it is, and not which entry.
    parts.pop_if(|last| *last == "{resourceId}");
    let is_one = is_parameter(parts.last()?);
    parts.retain(|part| !is_parameter(part));
    let (first, last) = (*parts.first()?, *parts.last()?);
    if matches!(
        first,
        "healthz" | "readyz" | "metrics" | "openapi.json" | "docs"
    ) {
        return None;
    }
    let verb = match method {
        _ if SAYING_IT.contains(&last) => return Some(parts.join(".")),
        "POST" => "created",
        "PATCH" | "PUT" => "changed",
        "DELETE" if is_one => "removed",
        "DELETE" => "cleared",
        _ if is_one => "shown",
        _ if last == "availability" => "searched",
        _ => "listed",
    };
    parts.push(verb);
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, HashSet};

    use super::*;

    /// Each operation of the API, with its name.
    const NAMES: &str = "
        GET    /analytics/summary                      analytics.summary
        GET    /analytics/usage                        analytics.usage
        GET    /audit                                  audit.listed
        GET    /audit/export                           audit.export
        GET    /availability                           availability.searched
        GET    /bookings                               bookings.listed
        POST   /bookings                               bookings.created
        GET    /bookings/{id}                          bookings.shown
        PATCH  /bookings/{id}                          bookings.changed
        POST   /bookings/{id}/cancel                   bookings.cancel
        POST   /bookings/{id}/check-in                 bookings.check-in
        POST   /bookings/{id}/check-out                bookings.check-out
        POST   /bookings/{id}/confirm                  bookings.confirm
        POST   /bookings/{id}/no-show                  bookings.no-show
        GET    /calendars/{id}                         calendars.shown
        DELETE /calendars/{id}                         calendars.removed
        GET    /healthz                                -
        GET    /readyz                                 -
        GET    /resources                              resources.listed
        POST   /resources                              resources.created
        GET    /resources/{id}                         resources.shown
        PATCH  /resources/{id}                         resources.changed
        DELETE /resources/{id}                         resources.removed
        GET    /resources/{id}/calendar                resources.calendar.listed
        POST   /resources/{id}/calendar                resources.calendar.created
        GET    /resources/{id}/unavailability          resources.unavailability.listed
        POST   /resources/{id}/unavailability          resources.unavailability.created
        GET    /resources/{id}/unavailability/{uid}    resources.unavailability.shown
        DELETE /resources/{id}/unavailability/{uid}    resources.unavailability.removed
        POST   /series                                 series.created
        GET    /series/{id}                            series.shown
        GET    /users                                  users.listed
        POST   /users                                  users.created
        GET    /users/{id}                             users.shown
        PATCH  /users/{id}                             users.changed
        DELETE /users/{id}                             users.removed
        GET    /users/{id}/calendar                    users.calendar.listed
        POST   /users/{id}/calendar                    users.calendar.created
        GET    /waitlist                               waitlist.listed
        GET    /waitlist/{resourceId}                  waitlist.listed
        POST   /waitlist/{resourceId}                  waitlist.created
        DELETE /waitlist/{resourceId}                  waitlist.cleared
        GET    /waitlist/{resourceId}/{entryId}        waitlist.shown
        DELETE /waitlist/{resourceId}/{entryId}        waitlist.removed
        POST   /waitlist/{resourceId}/{entryId}/accept waitlist.accept
    ";

    #[test]
    fn every_operation_of_the_api_has_a_name_that_says_what_was_done_to_what() {
        let expected: BTreeMap<(&str, &str), Option<&str>> = NAMES
            .lines()
            .filter_map(|line| {
                let mut columns = line.split_whitespace();
                let operation = (columns.next()?, columns.next()?);
                Some((operation, columns.next().filter(|name| *name != "-")))
            })
            .collect();
        let document = serde_json::to_value(super::super::described().into_openapi()).unwrap();
        let mut found = 0;
        for (route, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                let method = method.to_uppercase();
                let name = expected.get(&(&*method, &**route));
                let name = name.unwrap_or_else(|| panic!("{method} {route} is not in the table"));
                assert_eq!(
                    name_of(&method, route).as_deref(),
                    *name,
                    "{method} {route}"
                );
                found += 1;
            }
        }
        assert_eq!(
            found,
            expected.len(),
            "the table has operations that there are not"
        );
    }

    #[test]
    fn no_two_operations_share_a_name_but_those_that_are_the_same_list() {
        let mut names = HashSet::new();
        let mut shared: Vec<&str> = NAMES
            .split_whitespace()
            .skip(2)
            .step_by(3)
            .filter(|name| *name != "-" && !names.insert(*name))
            .collect();
        shared.sort_unstable();
        // What a user waits for, and who waits for a resource.
        assert_eq!(shared, ["waitlist.listed"]);
    }
}
