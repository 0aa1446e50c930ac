//! The HTTP face.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use carillon_booking::Surroundings;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};

use crate::running::{Running, time, wish};

#[tokio::test]
async fn a_booking_is_made_and_found_again() {
    let running = Running::new().await;
    let answer = running.post("/bookings", &wish(9)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let made = answer.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/bookings/{id}"));
    assert_eq!(
        made,
        json!({
            "id": id, "resourceId": "room-1", "userId": "user-1", "title": "Team Meeting",
            "status": "confirmed", "startTime": time(9), "endTime": time(10),
            "blockedUntil": time(10), "attendeesCount": 5, "version": 1, "createdAt": "2026-08-19T10:00:00Z", "updatedAt": "2026-08-19T10:00:00Z",
        })
    );
    assert_eq!(running.get(&format!("/bookings/{id}")).await.json(), made);
}

#[tokio::test]
async fn a_booking_lives_through_its_steps_and_each_is_told_once() {
    let running = Running::new().await;
    let mut pending = wish(9);
    pending["resourceId"] = json!("room-4");
    let id = running.book(&pending).await;
    for (step, status, version) in [
        ("confirm", "confirmed", 2),
        ("check-in", "checked_in", 3),
        ("check-out", "checked_out", 4),
    ] {
        let answer = running.step(&id, step).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.json()["status"], status);
        assert_eq!(answer.json()["version"], version);
    }
    let cancelled = running.book(&wish(9)).await;
    running.step(&cancelled, "cancel").await;
    let missed = running.book(&wish(9)).await;
    running.clock.forward(Duration::from_secs(23 * 3600));
    running.step(&missed, "no-show").await;
    assert_eq!(
        running.kinds().await,
        [
            "booking.created",
            "booking.confirmed",
            "booking.checked_in",
            "booking.checked_out",
            "booking.created",
            "booking.cancelled",
            "booking.created",
            "booking.no_show",
        ]
    );
}

#[tokio::test]
async fn an_impossible_step_is_refused_with_the_reason_and_tells_nobody() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    let problem = running.step(&id, "check-out").await.problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:impossible-step");
    assert_eq!(problem["bookingStatus"], "confirmed");
    assert!(problem["detail"].to_string().contains("checked in first"));
    assert_eq!(running.kinds().await, ["booking.created"]);
    running.step("nothing", "cancel").await.problem(404);
    running.get("/bookings/nothing").await.problem(404);
}

#[tokio::test]
async fn an_overlap_names_the_time_that_is_taken_and_nobody() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let mut later = wish(9);
    later["userId"] = json!("user-2");
    later["startTime"] = json!("2026-08-20T09:59:59.999Z");
    later["endTime"] = json!("2026-08-20T11:00:00Z");
    let answer = running.post("/bookings", &later).await;
    let problem = answer.problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:overlap");
    assert_eq!(
        problem["conflicts"],
        json!([{"startTime": time(9), "endTime": time(10)}])
    );
    assert!(!answer.text.contains("user-1") && !answer.text.contains(&standing));

    let events = running.events().await;
    let conflict = events.last().unwrap();
    assert_eq!(conflict.kind.as_str(), "conflict.detected");
    assert_eq!(conflict.user_id.as_deref(), Some("user-2"));
    assert_eq!(conflict.resource_id.as_deref(), Some("room-1"));
    let data: Value = serde_json::from_str(conflict.data.get()).unwrap();
    assert_eq!(data["conflictsWith"], json!([standing]));
    assert_eq!(data["endTime"], "2026-08-20T11:00:00Z");
}

#[tokio::test]
async fn times_are_half_open_and_a_cancelled_booking_frees_its_time() {
    let running = Running::new().await;
    let middle = running.book(&wish(9)).await;
    running.book(&wish(8)).await;
    running.book(&wish(10)).await;
    running.post("/bookings", &wish(9)).await.problem(409);
    running.step(&middle, "cancel").await;
    running.book(&wish(9)).await;
}

#[tokio::test]
async fn an_event_carries_the_booking_and_the_correlation_id_of_the_request() {
    let running = Running::new().await;
    let request = Request::post("/bookings")
        .header("content-type", "application/json")
        .header("x-correlation-id", "req-456")
        .body(Body::from(wish(9).to_string()))
        .unwrap();
    let id = running.send(request).await.json()["id"].clone();
    let events = running.events().await;
    let event = events.last().unwrap();
    assert_eq!(event.correlation_id.as_deref(), Some("req-456"));
    assert_eq!(event.service.as_deref(), Some("booking-service"));
    assert_eq!(event.subject_id.as_deref(), id.as_str());
    assert_eq!(event.time_ms, crate::running::NOON_MS);
    let mut data: Value = serde_json::from_str(event.data.get()).unwrap();
    // `calendars.rs` looks into it.
    let invitation = data.as_object_mut().unwrap().remove("invitation");
    assert!(invitation.is_some());
    assert_eq!(
        data,
        json!({
            "id": id, "title": "Team Meeting", "status": "confirmed",
            "startTime": time(9), "endTime": time(10), "attendeesCount": 5, "resourceName": "Aurora",
        })
    );
}

#[tokio::test]
async fn a_wish_that_cannot_be_met_is_refused_with_the_field() {
    let running = Running::new().await;
    for (field, value, status, kind, expected) in [
        (
            "resourceId",
            json!("room-9"),
            422,
            "unknown-resource",
            "GET /resources",
        ),
        ("userId", json!("user-9"), 422, "unknown-user", "no user"),
        (
            "attendeesCount",
            json!(9),
            422,
            "over-capacity",
            "at most 8",
        ),
        (
            "endTime",
            json!(time(8)),
            422,
            "impossible-values",
            "later than startTime",
        ),
        (
            "startTime",
            json!(7),
            400,
            "invalid-body",
            "expected a string",
        ),
        ("startTime", json!("soon"), 400, "invalid-body", "RFC 3339"),
    ] {
        let mut wanted = wish(9);
        wanted[field] = value;
        let problem = running.post("/bookings", &wanted).await.problem(status);
        assert_eq!(problem["field"], field);
        assert_eq!(problem["type"], format!("urn:carillon:problem:{kind}"));
        assert!(
            problem["detail"].to_string().contains(expected),
            "{problem}"
        );
    }
    let mut odd = wish(9);
    odd["colour"] = json!("red");
    let problem = running.post("/bookings", &odd).await.problem(400);
    assert!(problem["detail"].to_string().contains("colour"));
    assert!(running.kinds().await.is_empty());
}

#[tokio::test]
async fn lists_come_in_pages_by_start_and_filter_by_resource_and_time() {
    let running = Running::new().await;
    for hour in [12, 8, 10, 9, 11] {
        running.book(&wish(hour)).await;
    }
    let mut elsewhere = wish(9);
    elsewhere["resourceId"] = json!("room-2");
    running.book(&elsewhere).await;

    let starts = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["startTime"].as_str().unwrap().to_owned())
            .collect()
    };
    let query = format!("resource=room-1&from={}&to={}", time(9), time(12));
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let page = running
            .get(&format!("/bookings?{query}&limit=2{next}"))
            .await
            .json();
        all.extend(starts(&page));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(all, [time(9), time(10), time(11)]);
    // A booking that only reaches into the time counts; one that ends as it begins does not.
    let page = running
        .get("/bookings?from=2026-08-20T12:30:00Z")
        .await
        .json();
    assert_eq!(starts(&page), [time(12)]);
    assert_eq!(
        running.get("/bookings").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_refused_by_name() {
    let running = Running::new().await;
    for (query, status, expected) in [
        ("from=yesterday", 400, "from"),
        ("to=2026-08-20T12:00:00+02:00", 400, "%2B"),
        ("limit=none", 400, "limit"),
        ("limit=201", 400, "from 1 to 200"),
        ("limit=2147483648", 400, "from 1 to 200"),
        ("cursor=", 400, "cursor"),
        ("cursor=AAAAAAAAAAAA", 422, "cursor"),
        ("resorce=room-1", 400, "resorce"),
        (
            "from=2026-08-20T12:00:00Z&to=2026-08-20T12:00:00Z",
            422,
            "later than",
        ),
    ] {
        let problem = running
            .get(&format!("/bookings?{query}"))
            .await
            .problem(status);
        assert!(
            problem["detail"].to_string().contains(expected),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn resources_are_listed_with_their_capacity() {
    let running = Running::new().await;
    let page = running.get("/resources?limit=3").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert_eq!(page["items"][0]["id"], "room-1");
    assert_eq!(page["items"][0]["capacity"], 8);
    let cursor = page["next"].as_str().unwrap();
    let rest = running
        .get(&format!("/resources?cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["items"][0]["id"], "room-4");
    assert_eq!(rest["items"][0]["requiresApproval"], true);
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn the_page_of_the_gateway_may_call_and_others_may_not() {
    let running = Running::new().await;
    let ask = |origin: &'static str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/bookings")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = running.send(ask("http://127.0.0.1:8090")).await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(
        allowed.headers["access-control-allow-origin"],
        "http://127.0.0.1:8090"
    );
    let other = running.send(ask("http://evil.example")).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let request = Request::get("/nowhere")
        .header("origin", "http://127.0.0.1:8090")
        .body(Body::empty())
        .unwrap();
    let problem = running.send(request).await;
    problem.problem(404);
    assert!(problem.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let surroundings = Surroundings {
        metrics: Some(recorder.handle()),
        ..Surroundings::default()
    };
    let running = Running::with(Default::default(), surroundings).await;
    assert_eq!(running.get("/healthz").await.json()["status"], "ok");
    let ready = running.get("/readyz").await;
    assert_eq!(ready.json(), json!({"status": "ready", "outboxRows": 11}));
    let metrics = running.get("/metrics").await;
    assert_eq!(metrics.status, StatusCode::OK);
    assert!(
        metrics.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    Running::new().await.get("/metrics").await.problem(404);
}
