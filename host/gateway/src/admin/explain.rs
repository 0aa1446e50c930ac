//! `GET /admin/explain/{id}`: the story of a notification, an event or a record, up to the
//! socket.

use axum::Json;
use axum::extract::State;
use carillon_pipeline::Explanation;
use carillon_web::{PathParams, Problem};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::problem;
use crate::gateway::AppState;
use crate::hub::Hub;
use crate::pushes::{Horizon, REMEMBERED, Recollection};

pub(crate) async fn explain(
    State(AppState(shared)): State<AppState>,
    PathParams(id): PathParams<String>,
) -> Result<Json<Explanation>, Problem> {
    let mut explanation = shared.operations.explain(&id).await.map_err(problem)?;
    tell_pushes(&mut explanation, &shared.hub);
    Ok(Json(explanation))
}

/// Adds to the story of each notification that is visible who was connected when it came.
fn tell_pushes(explanation: &mut Explanation, hub: &Hub) {
    for notification in &mut explanation.notifications {
        let Some((stream, offset)) = place(notification) else {
            continue;
        };
        let recollection = hub.recall(&stream, offset);
        let what = format!("number {offset} of the stream {stream}");
        let line = in_words(&what, recollection);
        explanation.story.push(line);
        if let (Value::Object(members), Recollection::Pushed(pushed)) = (notification, recollection)
        {
            let push = json!({ "atMs": pushed.at_ms, "connections": pushed.connections });
            members.insert("pushed".to_owned(), push);
        }
    }
}

/// Where a notification stands; `None` while it waits for its time.
fn place(notification: &Value) -> Option<(String, u64)> {
    let stream = notification.get("stream")?.as_str()?;
    let offset = notification.get("streamOffset")?.as_u64()?;
    Some((stream.to_owned(), offset))
}

fn in_words(what: &str, recollection: Recollection) -> String {
    match recollection {
        Recollection::Pushed(pushed) => {
            let at = show(pushed.at_ms);
            match pushed.connections {
                0 => format!(
                    "nobody was connected when {what} came, at {at}; who comes later finds it there"
                ),
                1 => format!("{what} was pushed to 1 connection at {at}"),
                many => format!("{what} was pushed to {many} connections at {at}"),
            }
        }
        Recollection::NotSince {
            at_ms,
            why: Horizon::Began,
        } => format!(
            "this process does not remember that {what} was pushed: it began at {}",
            show(at_ms)
        ),
        Recollection::NotSince {
            at_ms,
            why: Horizon::Overwritten,
        } => format!(
            "this process does not remember that {what} was pushed: it keeps the last {REMEMBERED} pushes, back to {}",
            show(at_ms)
        ),
    }
}

fn show(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| format!("{at_ms} ms since 1970"),
        |time| format!("{time:.3}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carillon_store::{Publication, Publisher as _};

    use super::*;
    use crate::telemetry::Telemetry;

    fn explanation(notifications: Vec<Value>) -> Explanation {
        Explanation {
            id: "x".to_owned(),
            subject: "event".to_owned(),
            story: Vec::new(),
            record: None,
            plugins: Vec::new(),
            notifications,
        }
    }

    #[test]
    fn the_story_ends_at_the_socket() {
        let hub = Arc::new(Hub::new(Arc::new(Telemetry::new())));
        let mut ada = hub.register(10_000);
        ada.listen(["user:ada".into()].into());
        let publication = |stream: &str| Publication {
            stream: stream.into(),
            offset: 3,
            json: "{}".into(),
        };
        hub.published(&[publication("user:ada"), publication("user:bob")]);
        let mut told = explanation(vec![
            json!({ "stream": "user:ada", "streamOffset": 3 }),
            json!({ "stream": "user:bob", "streamOffset": 3 }),
            json!({ "stream": "user:cy", "streamOffset": 3 }),
            json!({ "stream": "user:ada", "streamOffset": null }),
        ]);
        tell_pushes(&mut told, &hub);
        let beginnings = [
            "number 3 of the stream user:ada was pushed to 1 connection at 20",
            "nobody was connected when number 3 of the stream user:bob came, at 20",
            "this process does not remember that number 3 of the stream user:cy was pushed: it began at 20",
        ];
        assert_eq!(told.story.len(), beginnings.len(), "{:?}", told.story);
        for (line, beginning) in told.story.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
        assert_eq!(told.notifications[0]["pushed"]["connections"], 1);
        assert_eq!(told.notifications[1]["pushed"]["connections"], 0);
        assert!(told.notifications[2].get("pushed").is_none());
    }
}
