//! `/admin/plugins`: what runs, and how it runs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use carillon_pipeline::{LoadOutcome, LoadRecord, PluginDetails, PluginSummary, StateFate};
use carillon_web::{JsonBody, Page, PathParams, Problem, QueryParams};
use serde::{Deserialize, Serialize};

use super::access::By;
use super::{problem, whole};
use crate::gateway::AppState;

/// `GET /admin/plugins`.
pub(crate) async fn list(State(AppState(shared)): State<AppState>) -> Json<Page<PluginSummary>> {
    Json(whole(shared.operations.list()))
}

/// `GET /admin/plugins/{name}`.
pub(crate) async fn show(
    State(AppState(shared)): State<AppState>,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginDetails>, Problem> {
    shared
        .operations
        .show(&name)
        .await
        .map(Json)
        .map_err(problem)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveQuery {
    #[serde(default)]
    state: Fate,
}

/// What becomes of the state of a plugin that is removed.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    #[default]
    Keep,
    Delete,
}

#[derive(Serialize)]
pub(crate) struct Removed {
    plugin: String,
    state: Fate,
}

/// `DELETE /admin/plugins/{name}`.
pub(crate) async fn remove(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
    QueryParams(query): QueryParams<RemoveQuery>,
) -> Result<Json<Removed>, Problem> {
    let fate = match query.state {
        Fate::Keep => StateFate::Keep,
        Fate::Delete => StateFate::Delete,
    };
    let removed = shared.operations.remove(&name, fate, &operator).await;
    removed.map_err(problem)?;
    Ok(Json(Removed {
        plugin: name,
        state: query.state,
    }))
}

/// `POST /admin/plugins/{name}/pause`.
pub(crate) async fn pause(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginSummary>, Problem> {
    let paused = shared.operations.pause(&name, &operator).await;
    paused.map(Json).map_err(problem)
}

/// `POST /admin/plugins/{name}/resume`.
pub(crate) async fn resume(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginSummary>, Problem> {
    let resumed = shared.operations.resume(&name, &operator).await;
    resumed.map(Json).map_err(problem)
}

/// `POST /admin/plugins/{name}/promote`.
pub(crate) async fn promote(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
) -> Result<Json<LoadOutcome>, Problem> {
    let promoted = shared.operations.promote(&name, &operator).await;
    promoted.map(Json).map_err(problem)
}

/// `POST /admin/plugins/{name}/abort`.
pub(crate) async fn abort(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
) -> Result<Json<PluginSummary>, Problem> {
    let aborted = shared.operations.abort(&name, &operator).await;
    aborted.map(Json).map_err(problem)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The number of a load, a version, or the beginning of a hash.
    to: Option<To>,
}

/// The number of a load is a number in what `versions` answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum To {
    Load(i64),
    Text(String),
}

/// `POST /admin/plugins/{name}/rollback`.
pub(crate) async fn rollback(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
    body: Option<JsonBody<Rollback>>,
) -> Result<Json<LoadOutcome>, Problem> {
    let JsonBody(rollback) = body.unwrap_or(JsonBody(Rollback::default()));
    let to = rollback.to.map(|to| match to {
        To::Load(number) => number.to_string(),
        To::Text(text) => text,
    });
    let operations = &shared.operations;
    let outcome = operations.rollback(&name, to.as_deref(), &operator).await;
    outcome.map(Json).map_err(problem)
}

/// `PATCH /admin/plugins/{name}/settings`.
pub(crate) async fn change_settings(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
    JsonBody(changes): JsonBody<BTreeMap<String, Option<String>>>,
) -> Result<Json<LoadOutcome>, Problem> {
    let operations = &shared.operations;
    let outcome = operations.change_settings(&name, changes, &operator).await;
    outcome.map(Json).map_err(problem)
}

/// `GET /admin/plugins/{name}/versions`.
pub(crate) async fn versions(
    State(AppState(shared)): State<AppState>,
    PathParams(name): PathParams<String>,
) -> Result<Json<Page<LoadRecord>>, Problem> {
    let loads = shared.operations.versions(&name).await.map_err(problem)?;
    Ok(Json(whole(loads)))
}
