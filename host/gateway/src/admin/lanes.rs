//! `GET /admin/lanes`: where every lane of this host stands.

use axum::Json;
use axum::extract::State;
use carillon_pipeline::LaneStatus;
use carillon_web::Page;

use super::whole;
use crate::gateway::AppState;

pub(crate) async fn list(State(AppState(shared)): State<AppState>) -> Json<Page<LaneStatus>> {
    Json(whole(shared.operations.lanes()))
}
