//! `GET /inbox`: what stands in a user's streams, newest first.

use axum::Json;
use axum::extract::State;
use carillon_store::{InboxCursor, InboxItem, StoreError};
use carillon_web::{Bearer, Cursor, Limit, Page, Problem, QueryParams};
use serde::Deserialize;

use crate::gateway::{AppState, Shared};
use crate::streams::streams_of;

/// Items of a page unless asked otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 50;

/// The most items of a page.
pub(crate) const MAX_LIMIT: u32 = 200;

#[derive(Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    limit: Limit<DEFAULT_LIMIT, MAX_LIMIT>,
    before: Option<Cursor<InboxCursor>>,
}

/// Answers one page over the user's stream and those of the groups.
pub(crate) async fn list(
    State(AppState(shared)): State<AppState>,
    Bearer(claims): Bearer,
    QueryParams(query): QueryParams<Query>,
) -> Result<Json<Page<InboxItem>>, Problem> {
    let streams = streams_of(&claims, shared.config.max_streams)
        .map_err(|close| Problem::bad_request(close.reason).with_code("too-many-groups"))?;
    let streams: Vec<String> = streams.iter().map(ToString::to_string).collect();
    // The limit is at most MAX_LIMIT.
    let limit = u32::try_from(query.limit.get()).unwrap_or(MAX_LIMIT);
    page(&shared, &streams, query.before, limit)
        .await
        .map(Json)
        .map_err(Problem::internal)
}

/// Reads one page.
pub(crate) async fn page(
    shared: &Shared,
    streams: &[String],
    before: Option<Cursor<InboxCursor>>,
    limit: u32,
) -> Result<Page<InboxItem>, StoreError> {
    let before = before.map(|Cursor(cursor)| cursor);
    let rows = shared.store.inbox(streams, before, limit + 1).await?;
    Ok(Page::from_rows(rows, limit as usize, |item| item.cursor))
}
