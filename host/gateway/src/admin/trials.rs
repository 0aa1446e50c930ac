//! `GET /admin/plugins/{name}/diff`: how a candidate differs from what is active.

use axum::Json;
use axum::extract::State;
use carillon_pipeline::TrialReport;
use carillon_web::{Limit, PathParams, Problem, QueryParams};
use serde::Deserialize;

use super::problem;
use crate::gateway::AppState;

/// Differences of a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// The most differences of a page.
const MAX_LIMIT: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// `next` of the page before.
    after: Option<String>,
    #[serde(default)]
    limit: Limit<DEFAULT_LIMIT, MAX_LIMIT>,
}

pub(crate) async fn diff(
    State(AppState(shared)): State<AppState>,
    PathParams(name): PathParams<String>,
    QueryParams(query): QueryParams<Query>,
) -> Result<Json<TrialReport>, Problem> {
    // The limit is at most MAX_LIMIT.
    let limit = u32::try_from(query.limit.get()).unwrap_or(MAX_LIMIT);
    let operations = &shared.operations;
    let report = operations.diff(&name, query.after.as_deref(), limit).await;
    report.map(Json).map_err(problem)
}
