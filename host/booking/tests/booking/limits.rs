//! How often and how much one caller may send.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use carillon_booking::{BookingConfig, Surroundings};
use serde_json::json;

use crate::roles::{token, with_tokens};
use crate::running::{Answer, Running, wish};

fn config() -> BookingConfig {
    BookingConfig {
        requests_per_s: 2,
        requests_at_once: 3,
        ..BookingConfig::default()
    }
}

fn from(address: &str, path: &str) -> Request<Body> {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(address));
    request
}

impl Running {
    async fn at(&self, address: &str) -> Answer {
        self.send(from(address, "/resources")).await
    }

    async fn bearer(&self, user: &str, address: &str) -> Answer {
        let mut request = from(address, "/resources");
        let bearer = format!("Bearer {}", token(user, &[]));
        let headers = request.headers_mut();
        headers.insert("authorization", bearer.parse().unwrap());
        self.send(request).await
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let running = Running::with(config(), Surroundings::default()).await;
    for _ in 0..3 {
        assert_eq!(running.at("192.0.2.1:1000").await.status, 200);
    }
    // Another port is the same address.
    let refused = running.at("192.0.2.1:2000").await;
    let problem = refused.problem(429);
    assert_eq!(problem["type"], "urn:carillon:problem:too-many-requests");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(running.at("192.0.2.2:1000").await.status, 200);
    // Whoever watches the service is answered.
    let watcher = running.send(from("192.0.2.1:1000", "/healthz")).await;
    assert_eq!(watcher.status, 200);
    // Half a second is one request.
    running.clock.forward(Duration::from_millis(500));
    assert_eq!(running.at("192.0.2.1:1000").await.status, 200);
    running.at("192.0.2.1:1000").await.problem(429);
    running.clock.forward(Duration::from_secs(10));
    for _ in 0..3 {
        assert_eq!(running.at("192.0.2.1:1000").await.status, 200);
    }
    running.at("192.0.2.1:1000").await.problem(429);
}

#[tokio::test]
async fn with_a_token_it_is_the_user_who_is_counted_wherever_they_are() {
    let running = with_tokens(config()).await;
    for port in 1..=3 {
        let address = format!("192.0.2.{port}:1000");
        assert_eq!(running.bearer("user-1", &address).await.status, 200);
    }
    running
        .bearer("user-1", "192.0.2.4:1000")
        .await
        .problem(429);
    assert_eq!(running.bearer("user-2", "192.0.2.1:1000").await.status, 200);
    // Without a good token it is the address, so that tokens cannot be guessed.
    for _ in 0..3 {
        running.at("192.0.2.1:1000").await.problem(401);
    }
    running.at("192.0.2.1:1000").await.problem(429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_caller_who_is_counted_and_noted() {
    let config = BookingConfig {
        trusted_proxies: serde_json::from_value(json!(["10.0.0.0/8"])).unwrap(),
        ..config()
    };
    let running = Running::with(config, Surroundings::default()).await;
    let ask = async |peer: &str, forwarded: &str| {
        let mut request = from(peer, "/resources");
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        running.send(request).await
    };
    for _ in 0..3 {
        assert_eq!(ask("10.0.0.1:1000", "192.0.2.1").await.status, 200);
    }
    ask("10.0.0.1:1000", "192.0.2.1").await.problem(429);
    // What the caller has made up stands further left.
    ask("10.0.0.1:1000", "192.0.2.99, 192.0.2.1")
        .await
        .problem(429);
    assert_eq!(ask("10.0.0.1:1000", "192.0.2.2").await.status, 200);
    // From anywhere else the header is nothing but a text.
    for _ in 0..3 {
        assert_eq!(ask("198.51.100.1:1000", "192.0.2.3").await.status, 200);
    }
    ask("198.51.100.1:1000", "192.0.2.4").await.problem(429);

    let mut request = from("10.0.0.1:1000", "/bookings");
    *request.method_mut() = axum::http::Method::POST;
    *request.body_mut() = Body::from(wish(9).to_string());
    let headers = request.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
    assert_eq!(running.send(request).await.status, 201);
    let audit = running.get("/audit?action=booking.created").await.json();
    assert_eq!(audit["items"][0]["origin"], "192.0.2.7");
}

#[tokio::test]
async fn without_a_limit_everybody_may_ask_as_often_as_they_like() {
    let running = Running::new().await;
    for _ in 0..150 {
        assert_eq!(running.at("192.0.2.1:1000").await.status, 200);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_changes_nothing() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["title"] = json!("x".repeat(16 * 1024));
    running.post("/bookings", &long).await.problem(413);
    let resource = json!({
        "name": "x".repeat(16 * 1024), "kind": "room", "capacity": 1,
    });
    running.post("/resources", &resource).await.problem(413);
    running
        .ask(
            "PATCH",
            "/users/user-1",
            "*",
            &json!({ "email": "x".repeat(16 * 1024) }),
        )
        .await
        .problem(413);
    assert_eq!(running.events().await.len(), 11);
}
