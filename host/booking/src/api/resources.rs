//! The handlers of `/resources`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::availability::People;
use super::caller::Caller;
use super::etag::{IfMatch, NeedsVersion, Versioned};
use super::master;
use super::numbers::Within;
use super::openapi::page;
use super::removal::{Removal, WentAlong};
use super::request_key::{IdempotencyKey, TakesKey};
use super::resource_body::{ResourceBody, ResourcePatch};
use super::texts::CursorText;
use crate::actor::Role;
use crate::changes::Named;
use crate::queries::{self, ResourceFilter};
use crate::record::Resource;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// The query of `GET /resources`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those of this kind.
    kind: Option<String>,
    /// Only those at this place.
    place: Option<String>,
    /// Only those that take at least so many people.
    #[param(inline)]
    capacity: Option<People>,
    /// How many items a page has.
    #[param(inline)]
    #[serde(default)]
    limit: ListSize,
    /// `next` of the page before.
    #[param(value_type = Option<CursorText>, inline)]
    cursor: Option<Cursor<String>>,
}

page!(
    /// Resources.
    ResourcePage of Resource
);

/// What can be booked, by id
#[utoipa::path(get, path = "/resources", tag = "resources", params(Listing), responses((status = 200, body = ResourcePage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    _caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<Resource>>, Problem> {
    let filter = ResourceFilter {
        kind: listing.kind,
        place: listing.place,
        capacity: listing.capacity.map(|Within(people)| people),
        after: listing
            .cursor
            .map_or_else(String::new, |Cursor(after)| after),
    };
    let rows = queries::resources(&app.booking.parts().readers, &filter, listing.limit.rows())
        .await
        .map_err(crate::error::unread)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}

/// Add a resource
#[utoipa::path(post, path = "/resources", tag = "resources", request_body = ResourceBody, params(TakesKey), responses((status = 201, body = Resource)))]
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<ResourceBody>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Making a resource")?;
    let key = key.of(&caller, "/resources", &body);
    master::add(&app, &caller, &correlation, key, body.checked()?).await
}

/// One resource
#[utoipa::path(get, path = "/resources/{id}", tag = "resources", params(("id" = String, Path)), responses((status = 200, body = Resource)))]
pub(super) async fn show(
    State(App(app)): State<App>,
    _caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Versioned<Resource>, Problem> {
    let resource = queries::resource(&app.booking.parts().readers, &id)
        .await
        .map_err(crate::error::unread)?;
    master::found(resource, &id)
}

/// Change a resource; bookings that stand keep what they have
#[utoipa::path(patch, path = "/resources/{id}", tag = "resources", request_body = ResourcePatch, params(("id" = String, Path), NeedsVersion), responses((status = 200, body = Resource)))]
pub(super) async fn edit(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<ResourcePatch>,
) -> Result<Versioned<Resource>, Problem> {
    caller.needs(Role::Admin, "Changing a resource")?;
    let named = Named::new(id, if_match.required()?);
    master::edit(&app, &caller, &correlation, named, patch.checked()?).await
}

/// Delete a resource
#[utoipa::path(delete, path = "/resources/{id}", tag = "resources", params(("id" = String, Path), NeedsVersion, Removal), responses((status = 200, body = WentAlong)))]
pub(super) async fn remove(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    QueryParams(removal): QueryParams<Removal>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Deleting a resource")?;
    let named = Named::<Resource>::new(id, if_match.required()?);
    master::remove(&app, &caller, &correlation, named, &removal).await
}
