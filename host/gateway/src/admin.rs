//! `/admin`: what operators ask and do.
//!
//! Thin on purpose: it finds out who asks, parses, calls [`carillon_pipeline::Operations`] and
//! answers JSON. What is allowed and what follows is decided there. Browsers of other origins
//! get nothing: there is no CORS here.

mod access;
mod audit;
mod binary;
mod dead_letters;
mod explain;
mod lanes;
mod logs;
mod moment;
mod plugins;
mod replays;
mod tokens;
mod trials;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Router, middleware};
use carillon_pipeline::OperationError;
use carillon_web::{Page, Problem};

use crate::gateway::{AppState, Shared};

pub use tokens::{AdminConfig, AdminConfigError, AdminTokens};

/// When to try again what the host cannot do at the moment, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// The routes below `/admin`. Nothing behind them is reached without an admin token.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<AppState> {
    let state = AppState(Arc::clone(shared));
    Router::new()
        .route("/plugins", get(plugins::list))
        .route(
            "/plugins/{name}",
            get(plugins::show).put(binary::load).delete(plugins::remove),
        )
        .route("/plugins/{name}/pause", post(plugins::pause))
        .route("/plugins/{name}/resume", post(plugins::resume))
        .route("/plugins/{name}/promote", post(plugins::promote))
        .route("/plugins/{name}/abort", post(plugins::abort))
        .route("/plugins/{name}/rollback", post(plugins::rollback))
        .route("/plugins/{name}/settings", patch(plugins::change_settings))
        .route("/plugins/{name}/versions", get(plugins::versions))
        .route("/plugins/{name}/logs", get(logs::read))
        .route("/plugins/{name}/diff", get(trials::diff))
        .route("/plugins/{name}/replay", post(replays::begin))
        .route(
            "/replays/{id}",
            get(replays::status).delete(replays::cancel),
        )
        .route("/lanes", get(lanes::list))
        .route(
            "/dead-letters",
            get(dead_letters::list).delete(dead_letters::purge),
        )
        .route("/dead-letters/replay", post(dead_letters::replay))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/explain/{id}", get(explain::explain))
        .route("/audit", get(audit::list))
        .layer(middleware::from_fn_with_state(state, access::authenticate))
}

/// An operation that was not done, as the operator reads it.
fn problem(error: OperationError) -> Problem {
    match error {
        OperationError::NotFound(detail) => Problem::not_found(detail).with_code("not-found"),
        OperationError::Refused(detail) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_code("refused")
        }
        OperationError::Conflict(detail) => Problem::conflict(detail).with_code("conflict"),
        OperationError::Invalid(detail) => invalid(detail),
        OperationError::Unavailable(detail) => {
            Problem::unavailable(detail, RETRY_AFTER_S).with_code("unavailable")
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::bad_request(detail).with_code("invalid")
}

/// A list that is always whole.
fn whole<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}
