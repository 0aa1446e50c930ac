//! The handlers of `/resources`.

use axum::Json;
use axum::extract::State;
use carillon_web::{Cursor, Page, Problem, QueryParams};
use serde::Deserialize;

use super::caller::Caller;
use super::{App, PageSize};
use crate::queries;
use crate::record::Resource;

/// The query of `GET /resources`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    #[serde(default)]
    limit: PageSize,
    cursor: Option<Cursor<String>>,
}

/// `GET /resources?limit=&cursor=`, by id.
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
