//! What operators and their tools ask: metrics, alive, ready.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use carillon_web::Problem;
use serde_json::{Value, json};

use crate::gateway::AppState;

/// Says whether the process can do its work. Asked at each `GET /readyz`, so it must
/// answer from what is known, without waiting.
pub trait Readiness: Send + Sync + 'static {
    /// Sentences for an operator, one for each thing that is not as it should be; none
    /// when ready.
    fn why_not_ready(&self) -> Vec<String>;
}

impl<F: Fn() -> Vec<String> + Send + Sync + 'static> Readiness for F {
    fn why_not_ready(&self) -> Vec<String> {
        self()
    }
}

/// `GET /metrics`: Prometheus' text format.
pub(crate) async fn metrics(State(AppState(shared)): State<AppState>) -> impl IntoResponse {
    let text = shared.metrics.render();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

/// `GET /healthz`: the process runs and its executor turns.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// `GET /readyz`: 200, or 503 with the reasons.
pub(crate) async fn ready(
    State(AppState(shared)): State<AppState>,
) -> Result<Json<Value>, Problem> {
    let mut reasons = shared.readiness.why_not_ready();
    if shared.hub.is_closing() {
        reasons.push("the gateway is shutting down".to_owned());
    }
    if reasons.is_empty() {
        return Ok(Json(json!({ "ready": true })));
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("Not ready: {}.", reasons.join("; ")),
    )
    .with_code("not-ready")
    .with("reasons", reasons))
}
