//! Replays: a stretch of the log is handled again.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_pipeline::{ReplayEffects, ReplayRequest, ReplayState, ReplayStatus};
use carillon_web::{JsonBody, PathParams, Problem};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::access::By;
use super::moment::Moment;
use super::{invalid, problem};
use crate::gateway::AppState;

/// Which stretch, and what becomes of the answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Wanted {
    from: Moment,
    /// Now, unless given.
    to: Option<Moment>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    with_state: bool,
}

impl Wanted {
    fn request(&self) -> Result<ReplayRequest, Problem> {
        let Moment(from_ms) = self.from;
        let to_ms = self
            .to
            .map_or_else(|| Timestamp::now().as_millisecond(), |Moment(ms)| ms);
        if to_ms <= from_ms {
            return Err(invalid(
                "`to` is not after `from`: there is nothing between the two.",
            ));
        }
        let effects = if self.dry_run {
            ReplayEffects::Compare
        } else {
            ReplayEffects::Apply
        };
        let state = match (effects, self.with_state) {
            (ReplayEffects::Compare, true) => {
                return Err(invalid(
                    "A dry run leaves nothing behind, so it cannot write state: leave out `withState` or `dryRun`.",
                ));
            }
            (ReplayEffects::Apply, true) => ReplayState::Write,
            (_, false) => ReplayState::Leave,
        };
        Ok(ReplayRequest {
            from_ms,
            to_ms,
            effects,
            state,
        })
    }
}

/// `POST /admin/plugins/{name}/replay`: begins one, and answers its number.
pub(crate) async fn begin(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Response, Problem> {
    let request = wanted.request()?;
    let replay = shared.operations.replay(&name, request, &operator).await;
    let id = replay.map_err(problem)?;
    let mut response = (StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/admin/replays/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /admin/replays/{id}`.
pub(crate) async fn status(
    State(AppState(shared)): State<AppState>,
    PathParams(id): PathParams<u64>,
) -> Result<Json<ReplayStatus>, Problem> {
    let status = shared.operations.replay_status(id);
    status.map(Json).map_err(problem)
}

/// `DELETE /admin/replays/{id}`: ends it where it stands.
pub(crate) async fn cancel(
    State(AppState(shared)): State<AppState>,
    PathParams(id): PathParams<u64>,
) -> Result<Json<ReplayStatus>, Problem> {
    let status = shared.operations.cancel_replay(id);
    status.map(Json).map_err(problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(json: &str) -> Result<ReplayRequest, Problem> {
        serde_json::from_str::<Wanted>(json).unwrap().request()
    }

    #[test]
    fn a_replay_takes_effect_and_leaves_state_alone_unless_asked_otherwise() {
        let plain = ReplayRequest {
            from_ms: 1,
            to_ms: 9,
            effects: ReplayEffects::Apply,
            state: ReplayState::Leave,
        };
        assert_eq!(request(r#"{"from": 1, "to": 9}"#).unwrap(), plain);
        let dry = ReplayRequest {
            effects: ReplayEffects::Compare,
            ..plain
        };
        assert_eq!(
            request(r#"{"from": 1, "to": 9, "dryRun": true}"#).unwrap(),
            dry
        );
        let writing = ReplayRequest {
            state: ReplayState::Write,
            ..plain
        };
        assert_eq!(
            request(r#"{"from": 1, "to": 9, "withState": true}"#).unwrap(),
            writing
        );
    }

    #[test]
    fn a_replay_that_makes_no_sense_is_refused() {
        let backwards = request(r#"{"from": 9, "to": 9}"#).unwrap_err();
        assert!(backwards.detail().contains("not after"), "{backwards}");
        let both = request(r#"{"from": 1, "dryRun": true, "withState": true}"#).unwrap_err();
        assert!(both.detail().contains("dry run"), "{both}");
    }
}
