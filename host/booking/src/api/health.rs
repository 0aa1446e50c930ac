//! For those who watch the service: is it alive, can it work, what does it count.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use carillon_web::Problem;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(alive))
        .routes(routes!(ready))
}

/// How long the database may take to answer before the service is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process runs
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses((status = 200, body = Object)))]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Bookings can be read and written
///
/// Kafka is not asked: without it bookings are taken all the same, and their events wait in the outbox.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()), responses((status = 200, body = Object)))]
pub(super) async fn ready(State(App(app)): State<App>) -> Result<Json<Value>, Problem> {
    let parts = app.booking.parts();
    if !parts.writer.is_running() {
        return Err(not_ready("the writer of the booking database has stopped"));
    }
    match tokio::time::timeout(PATIENCE, app.booking.lag()).await {
        Ok(Ok(lag)) => Ok(Json(json!({ "status": "ready", "outboxRows": lag.rows }))),
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready");
            Err(not_ready("the booking database cannot be read"))
        }
        Err(_) => Err(not_ready("the booking database does not answer in time")),
    }
}

fn not_ready(why: &str) -> Problem {
    Problem::unavailable(format!("The service is not ready: {why}."), 5)
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(App(app)): State<App>) -> impl IntoResponse {
    let text = app
        .metrics
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render)
        .unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}
