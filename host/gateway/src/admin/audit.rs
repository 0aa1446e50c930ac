//! `GET /admin/audit`: who did what, newest first.

use axum::Json;
use axum::extract::State;
use carillon_pipeline::AuditRecord;
use carillon_web::{Cursor, Limit, Page, Problem, QueryParams};
use serde::Deserialize;

use super::problem;
use crate::gateway::AppState;

/// Records of a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// The most records of a page.
const MAX_LIMIT: u32 = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    plugin: Option<String>,
    /// `next` of the page before.
    before: Option<Cursor<i64>>,
    #[serde(default)]
    limit: Limit<DEFAULT_LIMIT, MAX_LIMIT>,
}

pub(crate) async fn list(
    State(AppState(shared)): State<AppState>,
    QueryParams(query): QueryParams<Query>,
) -> Result<Json<Page<AuditRecord>>, Problem> {
    let limit = query.limit.get();
    // The limit is at most MAX_LIMIT.
    let rows = u32::try_from(query.limit.rows()).unwrap_or(MAX_LIMIT);
    let before = query.before.map(|Cursor(id)| id);
    let operations = &shared.operations;
    let records = operations
        .audit(query.plugin.as_deref(), before, rows)
        .await;
    let records = records.map_err(problem)?;
    Ok(Json(Page::from_rows(records, limit, |record| record.id)))
}
