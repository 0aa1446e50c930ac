//! The handlers of calendars: making, listing and revoking them, and reading one without a token.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::{CorrelationId, Page, PathParams, Problem};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::caller::Caller;
use super::openapi::page;
use super::refusals::Master;
use crate::actor::Role;
use crate::calendar::{entries, render, window};
use crate::changes::{
    AddFeed, Feed, FeedAdded, FeedKind, MAX_FEEDS, RevokeFeed, Revoked, Secret, feed_of, feeds,
    subject_name,
};

use crate::error::unread;

/// A secret has as many digits.
const SECRET_DIGITS: usize = 32;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_of_resource, add_to_resource))
        .routes(routes!(list_of_user, add_to_user))
        .routes(routes!(read, revoke))
}

page!(
    /// Addresses of a calendar.
    FeedPage of Feed
);

/// What making a calendar answers: the only time that its address is shown.
#[derive(Serialize, utoipa::ToSchema)]
struct Made {
    id: String,
    url: String,
}

/// A new secret address for the calendar of a resource
#[utoipa::path(post, path = "/resources/{id}/calendar", tag = "calendars", params(("id" = String, Path)), responses((status = 201, body = Made)))]
pub(super) async fn add_to_resource(
    app: State<App>,
    caller: Caller,
    correlation: CorrelationId,
    PathParams(id): PathParams<String>,
) -> Result<Response, Problem> {
    add(app, caller, correlation, FeedKind::Resource, id).await
}

/// A new secret address for the calendar of a user
#[utoipa::path(post, path = "/users/{id}/calendar", tag = "calendars", params(("id" = String, Path)), responses((status = 201, body = Made)))]
pub(super) async fn add_to_user(
    app: State<App>,
    caller: Caller,
    correlation: CorrelationId,
    PathParams(id): PathParams<String>,
) -> Result<Response, Problem> {
    add(app, caller, correlation, FeedKind::User, id).await
}

/// The addresses of the calendar of a resource, without their secrets
#[utoipa::path(get, path = "/resources/{id}/calendar", tag = "calendars", params(("id" = String, Path)), responses((status = 200, body = FeedPage)))]
pub(super) async fn list_of_resource(
    app: State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Json<Page<Feed>>, Problem> {
    list(app, caller, FeedKind::Resource, id).await
}

/// The addresses of the calendar of a user, without their secrets
#[utoipa::path(get, path = "/users/{id}/calendar", tag = "calendars", params(("id" = String, Path)), responses((status = 200, body = FeedPage)))]
pub(super) async fn list_of_user(
    app: State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Json<Page<Feed>>, Problem> {
    list(app, caller, FeedKind::User, id).await
}

/// A resource's are for who runs the place, a user's for the user and for them.
fn may_touch(caller: &Caller, kind: FeedKind, subject_id: &str) -> Result<(), Problem> {
    match kind {
        FeedKind::User if caller.may_act_for(subject_id) => Ok(()),
        FeedKind::User => caller.needs(Role::Staff, "Somebody else's calendar"),
        FeedKind::Resource => caller.needs(Role::Staff, "The calendar of a resource"),
    }
}

async fn add(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    kind: FeedKind,
    subject_id: String,
) -> Result<Response, Problem> {
    may_touch(&caller, kind, &subject_id)?;
    let command = AddFeed {
        kind,
        subject_id: subject_id.clone(),
    };
    match app.carry_out(&caller, &correlation, command).await? {
        FeedAdded::Added(feed, Secret(secret)) => {
            let made = Made {
                id: feed.id,
                url: format!("/calendars/{secret}.ics"),
            };
            // Nobody on the way is to keep the address.
            let headers = [(header::CACHE_CONTROL, "no-store")];
            Ok((StatusCode::CREATED, headers, Json(made)).into_response())
        }
        FeedAdded::NoSubject => Err(no_subject(kind, &subject_id)),
        FeedAdded::TooMany => Err(Problem::conflict(format!(
            "There are {MAX_FEEDS} calendars of {} {subject_id:?} already; revoke one first, with DELETE /calendars/{{id}}.",
            kind.as_str()
        ))
        .with_code("too-many-calendars")),
    }
}

async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    kind: FeedKind,
    subject_id: String,
) -> Result<Json<Page<Feed>>, Problem> {
    may_touch(&caller, kind, &subject_id)?;
    let readers = &app.booking.parts().readers;
    let name = subject_name(readers, kind, &subject_id).await;
    if name.map_err(unread)?.is_none() {
        return Err(no_subject(kind, &subject_id));
    }
    let items = feeds(readers, kind, &subject_id).await.map_err(unread)?;
    Ok(Json(Page { items, next: None }))
}

fn no_subject(kind: FeedKind, id: &str) -> Problem {
    match kind {
        FeedKind::Resource => Master::Resource.unknown(id),
        FeedKind::User => Master::User.unknown(id),
    }
}

/// Revoke an address, by its id
#[utoipa::path(delete, path = "/calendars/{id}", tag = "calendars", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    PathParams(id): PathParams<String>,
) -> Result<StatusCode, Problem> {
    let command = RevokeFeed { id };
    match app.carry_out(&caller, &correlation, command).await? {
        Revoked::Revoked => Ok(StatusCode::NO_CONTENT),
        Revoked::NoFeed => Err(no_calendar()),
    }
}

/// A calendar (RFC 5545), for programs that know nothing of tokens: the secret, and `.ics`
#[utoipa::path(get, path = "/calendars/{id}", tag = "calendars", security(()), params(("id" = String, Path)), responses((status = 200, body = String, content_type = "text/calendar"), (status = 304)))]
pub(super) async fn read(
    State(App(app)): State<App>,
    headers: HeaderMap,
    PathParams(file): PathParams<String>,
) -> Result<Response, Problem> {
    let parts = app.booking.parts();
    let secret = secret(&file).ok_or_else(no_calendar)?;
    let feed = feed_of(&parts.readers, &secret)
        .await
        .map_err(unread)?
        .ok_or_else(no_calendar)?;
    // What was deleted is in no calendar any more.
    let name = subject_name(&parts.readers, feed.kind, &feed.subject_id)
        .await
        .map_err(unread)?
        .ok_or_else(no_calendar)?;
    let window = window(parts.clock.now_ms());
    let mut reader = parts.readers.acquire().await.map_err(unread)?;
    let entries = entries(&mut reader, feed.kind, &feed.subject_id, window)
        .await
        .map_err(unread)?;
    Ok(answer(&headers, render(&name, &entries)))
}

fn secret(file: &str) -> Option<Secret> {
    let digits = file.strip_suffix(".ics")?;
    let is_secret = digits.len() == SECRET_DIGITS
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_secret.then(|| Secret(digits.to_owned()))
}

/// The feed, or 304 for who has it already (RFC 9110, section 13.1.2).
fn answer(headers: &HeaderMap, feed: String) -> Response {
    let digest = Sha256::digest(feed.as_bytes());
    let digits: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{digits}\"");
    let knows = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim())
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    let mut response = match knows {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => (
            [(header::CONTENT_TYPE, "text/calendar; charset=utf-8")],
            feed,
        )
            .into_response(),
    };
    let own = response.headers_mut();
    own.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    // Digits and quotes are fit for a header.
    if let Ok(tag) = HeaderValue::try_from(tag) {
        own.insert(header::ETAG, tag);
    }
    response
}

/// The same for what never was and for what was revoked; the address is not repeated.
fn no_calendar() -> Problem {
    Problem::not_found(
        "There is no such calendar; ask for a new address with POST /users/{id}/calendar.",
    )
}
