//! The API with `require_token`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use carillon_booking::{Booking, BookingConfig, Surroundings, SurroundingsError};
use serde_json::{Value, json};

use crate::roles::{token, with_tokens};
use crate::running::{Answer, Running, quiet, wish};

pub(crate) async fn running() -> Running {
    with_tokens(quiet()).await
}

pub(crate) async fn call(
    running: &Running,
    user: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Answer {
    let token = match user {
        "boss" => token(user, &["admin"]),
        _ => token(user, &[]),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    running.send(request).await
}

#[tokio::test]
async fn without_a_token_only_the_watchers_are_answered() {
    let running = running().await;
    running.post("/bookings", &wish(9)).await.problem(401);
    running.get("/bookings").await.problem(401);
    running.get("/resources").await.problem(401);
    assert_eq!(running.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bearer_books_for_themselves_and_sees_nobody_else() {
    let running = running().await;
    let mut own = wish(9);
    own.as_object_mut().unwrap().remove("userId");
    let made = call(&running, "user-2", "POST", "/bookings", &own).await;
    assert_eq!(made.json()["userId"], "user-2");
    let path = format!("/bookings/{}", made.json()["id"].as_str().unwrap());

    call(&running, "user-1", "GET", &path, &json!({}))
        .await
        .problem(404);
    let cancel = format!("{path}/cancel");
    call(&running, "user-1", "POST", &cancel, &json!({}))
        .await
        .problem(404);
    let list = call(&running, "user-1", "GET", "/bookings", &json!({})).await;
    assert_eq!(list.json()["items"], json!([]));
    assert_eq!(
        call(&running, "user-2", "GET", &path, &json!({}))
            .await
            .status,
        200
    );
    call(&running, "user-2", "POST", "/bookings", &wish(11))
        .await
        .problem(403);
}

#[tokio::test]
async fn approval_is_for_those_with_the_role() {
    let running = running().await;
    let mut wanted = wish(9);
    wanted["resourceId"] = json!("room-4");
    let made = call(&running, "user-1", "POST", "/bookings", &wanted).await;
    let path = format!("/bookings/{}/confirm", made.json()["id"].as_str().unwrap());
    call(&running, "user-1", "POST", &path, &json!({}))
        .await
        .problem(403);
    assert_eq!(
        call(&running, "boss", "POST", &path, &json!({}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn tokens_that_are_required_must_be_configured() {
    let folder = tempfile::tempdir().unwrap();
    let config = BookingConfig {
        require_token: true,
        ..quiet()
    };
    let booking = Booking::open(folder.path(), config).await.unwrap();
    assert!(matches!(
        booking.router(Surroundings::default()).unwrap_err(),
        SurroundingsError::NoTokens
    ));
}
