//! The handlers of `/resources`.

use axum::Json;
use axum::extract::State;
use carillon_web::{Cursor, Page, Problem, QueryParams};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::openapi::page;
use super::{App, PageSize};
use crate::queries;
use crate::record::Resource;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The query of `GET /resources`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// How many items a page has: 50 unless asked, 200 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    #[serde(default)]
    limit: PageSize,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<String>>,
}

page!(
    /// Resources.
    ResourcePage of Resource
);

/// What can be booked, by id
#[utoipa::path(get, path = "/resources", tag = "resources", params(Listing),
    responses((status = 200, body = ResourcePage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    _caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<Resource>>, Problem> {
    let after = listing
        .cursor
        .map_or_else(String::new, |Cursor(after)| after);
    let rows = queries::resources(&app.booking.parts().readers, &after, listing.limit.rows())
        .await
        .map_err(Problem::internal)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}
