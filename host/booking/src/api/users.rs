//! The handlers of `/users`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::caller::Caller;
use super::etag::{IfMatch, NeedsVersion, Versioned};
use super::master;
use super::openapi::page;
use super::profile_body::{UserBody, UserPatch};
use super::removal::{Removal, WentAlong};
use super::request_key::{IdempotencyKey, TakesKey};
use super::texts::CursorText;
use crate::actor::Role;
use crate::changes::Named;
use crate::queries;
use crate::record::User;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// The query of `GET /users`.
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
    cursor: Option<Cursor<String>>,
}

page!(
    /// Users.
    UserPage of User
);

/// Those who book, by id
#[utoipa::path(get, path = "/users", tag = "users", params(Listing), responses((status = 200, body = UserPage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<User>>, Problem> {
    caller.needs(Role::Admin, "The list of users")?;
    let after = listing
        .cursor
        .map_or_else(String::new, |Cursor(after)| after);
    let rows = queries::users(&app.booking.parts().readers, &after, listing.limit.rows())
        .await
        .map_err(crate::error::unread)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}

/// Add a user
#[utoipa::path(post, path = "/users", tag = "users", request_body = UserBody, params(TakesKey), responses((status = 201, body = User)))]
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<UserBody>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Adding a user")?;
    let key = key.of(&caller, "/users", &body);
    master::add(&app, &caller, &correlation, key, body.checked()?).await
}

/// One user: oneself, or anybody for an admin
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = String, Path)), responses((status = 200, body = User)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Versioned<User>, Problem> {
    own_or_admin(&caller, &id)?;
    let user = queries::user(&app.booking.parts().readers, &id)
        .await
        .map_err(crate::error::unread)?;
    master::found(user, &id)
}

/// Change a profile
#[utoipa::path(patch, path = "/users/{id}", tag = "users", request_body = UserPatch, params(("id" = String, Path), NeedsVersion), responses((status = 200, body = User)))]
pub(super) async fn edit(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<UserPatch>,
) -> Result<Versioned<User>, Problem> {
    own_or_admin(&caller, &id)?;
    let named = Named::new(id, if_match.required()?);
    master::edit(&app, &caller, &correlation, named, patch.checked()?).await
}

/// Delete a user
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = String, Path), NeedsVersion, Removal), responses((status = 200, body = WentAlong)))]
pub(super) async fn remove(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    QueryParams(removal): QueryParams<Removal>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Deleting a user")?;
    let named = Named::<User>::new(id, if_match.required()?);
    master::remove(&app, &caller, &correlation, named, &removal).await
}

/// Asked before anybody looks, so that the answer says nothing about who exists.
fn own_or_admin(caller: &Caller, id: &str) -> Result<(), Problem> {
    match caller.user() == Some(id) {
        true => Ok(()),
        false => caller.needs(Role::Admin, "Somebody else's profile"),
    }
}
