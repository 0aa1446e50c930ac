//! The handlers of `/resources`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::Deserialize;

use super::caller::Caller;
use super::etag::{IfMatch, Versioned};
use super::location::created;
use super::removal::{self, Removal, added, changed};
use super::request_key::{IdempotencyKey, once};
use super::resource_body::{ResourceBody, ResourcePatch};
use super::{App, PageSize};
use crate::actor::Role;
use crate::changes::{CreateResource, EditResource, RemoveResource};
use crate::idempotency::Idempotent;
use crate::queries::{self, ResourceFilter};
use crate::record::Resource;

/// The query of `GET /resources`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    kind: Option<String>,
    place: Option<String>,
    capacity: Option<i64>,
    #[serde(default)]
    limit: PageSize,
    cursor: Option<Cursor<String>>,
}

/// `GET /resources?kind=&place=&capacity=&limit=&cursor=`, by id; those that take at least `capacity`.
pub(super) async fn list(
    State(App(app)): State<App>,
    _caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<Resource>>, Problem> {
    let filter = ResourceFilter {
        kind: listing.kind,
        place: listing.place,
        capacity: listing.capacity,
        after: listing
            .cursor
            .map_or_else(String::new, |Cursor(after)| after),
    };
    let rows = queries::resources(&app.booking.parts().readers, &filter, listing.limit.rows())
        .await
        .map_err(Problem::internal)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}

/// `POST /resources`
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<ResourceBody>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Making a resource")?;
    let resource = body.checked()?;
    let what = named(&resource.id);
    let change = Idempotent {
        change: CreateResource {
            config: Arc::clone(&app.booking.parts().config),
            by: caller.actor(&correlation),
            resource,
        },
        key: key.of(&caller, "/resources", &body),
    };
    let resource = added(
        &what,
        once(app.booking.parts().writer.write(change).await?)?,
    )?;
    let id = resource.id.clone();
    Ok(created(&["resources", &id], versioned(resource)))
}

/// `GET /resources/{id}`
pub(super) async fn show(
    State(App(app)): State<App>,
    _caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Versioned<Resource>, Problem> {
    let resource = queries::resource(&app.booking.parts().readers, &id)
        .await
        .map_err(Problem::internal)?;
    resource.map(versioned).ok_or_else(|| no_resource(&id))
}

/// `PATCH /resources/{id}`
pub(super) async fn edit(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<ResourcePatch>,
) -> Result<Versioned<Resource>, Problem> {
    caller.needs(Role::Admin, "Changing a resource")?;
    let what = named(&id);
    let change = EditResource {
        config: Arc::clone(&app.booking.parts().config),
        by: caller.actor(&correlation),
        versions: if_match.required()?,
        edit: patch.checked()?,
        id,
    };
    let edited = app.booking.parts().writer.write(change).await?;
    changed(&what, edited).map(versioned)
}

/// `DELETE /resources/{id}?bookings=`
pub(super) async fn remove(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    QueryParams(removal): QueryParams<Removal>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Deleting a resource")?;
    let what = named(&id);
    let change = RemoveResource {
        config: Arc::clone(&app.booking.parts().config),
        by: caller.actor(&correlation),
        versions: if_match.required()?,
        bookings: removal.bookings(),
        id,
    };
    removal::removed(&what, app.booking.parts().writer.write(change).await?)
}

fn versioned(resource: Resource) -> Versioned<Resource> {
    Versioned {
        version: resource.version,
        body: resource,
    }
}

fn named(id: &str) -> String {
    format!("Resource {id:?}")
}

pub(super) fn no_resource(id: &str) -> Problem {
    removal::missing(&named(id))
}
