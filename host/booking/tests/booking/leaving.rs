//! What somebody is told who is off a waitlist, where no token is required.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::roles::{checking_tokens, token};
use crate::running::{Running, quiet, wish};
use crate::waitlist::wait;

/// Lets user-2 wait and be taken off by whoever sends this; answers the reason that the event gives.
async fn reason_told(running: &Running, bearer: Option<String>) -> Value {
    let entry = running.join(&wait(2, 9)).await;
    let mut request = Request::delete(&entry);
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let left = running.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(left.status, 204, "{}", left.text);
    let events = running.events().await;
    let event = events.last().unwrap();
    assert_eq!(event.kind.as_str(), "waitlist.removed");
    let data: Value = serde_json::from_str(event.data.get()).unwrap();
    data["reason"].clone()
}

#[tokio::test]
async fn staff_is_named_only_where_it_is_known_to_have_been_somebody_else() {
    let running = Running::with(quiet(), checking_tokens()).await;
    running.book(&wish(9)).await;
    assert_eq!(reason_told(&running, None).await, Value::Null);
    assert_eq!(
        reason_told(&running, Some("made up".into())).await,
        Value::Null
    );
    assert_eq!(
        reason_told(&running, Some(token("user-2", &[]))).await,
        "you asked for it"
    );
    // Without a role a token takes nothing away from what everybody may do.
    assert_eq!(
        reason_told(&running, Some(token("user-3", &[]))).await,
        "those who run the place took you off it"
    );
    let audit = running.get("/audit?action=waitlist.removed").await.json();
    let actors: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["actor"].as_str().unwrap())
        .collect();
    assert_eq!(actors, ["anybody", "anybody", "user-2", "user-3"]);
}
