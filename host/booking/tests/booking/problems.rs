//! The types of problems: one for each cause, wherever it comes up.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::running::{Running, time, wish};
use crate::series::{column, mondays};
use crate::waitlist::wait;

impl Running {
    async fn refused(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("if-match", "*")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await.problem(status)
    }
}

#[tokio::test]
async fn what_is_not_there_has_one_type_wherever_it_is_named() {
    let running = Running::new().await;
    let nothing = json!({});
    let closure = json!({ "startTime": time(9), "endTime": time(14), "reason": "Rebuilt" });
    let mut elsewhere = wish(9);
    elsewhere["resourceId"] = json!("room-9");
    let mut for_nobody = wish(9);
    for_nobody["userId"] = json!("user-9");
    for (method, path, body, status, code) in [
        ("GET", "/resources/room-9", &nothing, 404, "resource"),
        ("PATCH", "/resources/room-9", &nothing, 404, "resource"),
        ("DELETE", "/resources/room-9", &nothing, 404, "resource"),
        (
            "GET",
            "/resources/room-9/calendar",
            &nothing,
            404,
            "resource",
        ),
        (
            "POST",
            "/resources/room-9/calendar",
            &nothing,
            404,
            "resource",
        ),
        (
            "GET",
            "/resources/room-9/unavailability",
            &nothing,
            404,
            "resource",
        ),
        (
            "POST",
            "/resources/room-9/unavailability",
            &closure,
            404,
            "resource",
        ),
        (
            "GET",
            "/resources/room-9/unavailability/a",
            &nothing,
            404,
            "resource",
        ),
        (
            "DELETE",
            "/resources/room-9/unavailability/a",
            &nothing,
            404,
            "resource",
        ),
        ("GET", "/waitlist/room-9", &nothing, 404, "resource"),
        ("POST", "/waitlist/room-9", &wait(3, 9), 404, "resource"),
        (
            "DELETE",
            "/waitlist/room-9?userId=user-2",
            &nothing,
            404,
            "resource",
        ),
        ("POST", "/bookings", &elsewhere, 422, "resource"),
        ("GET", "/users/user-9", &nothing, 404, "user"),
        ("PATCH", "/users/user-9", &nothing, 404, "user"),
        ("DELETE", "/users/user-9", &nothing, 404, "user"),
        ("GET", "/users/user-9/calendar", &nothing, 404, "user"),
        ("POST", "/users/user-9/calendar", &nothing, 404, "user"),
        ("POST", "/bookings", &for_nobody, 422, "user"),
    ] {
        let problem = running.refused(method, path, body, status).await;
        let kind = format!("urn:carillon:problem:unknown-{code}");
        assert_eq!(problem["type"], kind, "{method} {path}: {problem}");
        // A type has one title (RFC 9457, section 3.1.3).
        assert_eq!(
            problem["title"],
            format!("No such {code}"),
            "{method} {path}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("no {code} ")), "{detail}");
    }
}

#[tokio::test]
async fn an_occurrence_that_meets_a_closed_time_says_so_and_not_that_it_is_booked() {
    let running = Running::new().await;
    running.close(9, 14).await;
    let mut wanted = mondays(&time(9)[..10], "UTC", "skip");
    wanted["rule"] = json!("FREQ=DAILY;COUNT=2");
    let made = running.post("/series", &wanted).await.json();
    assert_eq!(column(&made, "outcome"), ["skipped", "booked"]);
    assert_eq!(
        column(&made, "code"),
        [&json!("not-available"), &Value::Null]
    );
}

#[tokio::test]
async fn a_closed_resource_is_not_called_booked() {
    let running = Running::new().await;
    running.close(9, 14).await;
    let id = running.book(&wish(14)).await;
    let into = json!({ "startTime": time(13) });
    let path = format!("/bookings/{id}");
    for (method, path, body) in [("POST", "/bookings", &wish(10)), ("PATCH", &*path, &into)] {
        let problem = running.refused(method, path, body, 409).await;
        assert_eq!(problem["type"], "urn:carillon:problem:not-available");
        assert_eq!(problem["title"], "Not available at that time");
        assert_eq!(
            problem["reason"],
            "the resource cannot be used at that time"
        );
        // What can be done about it is the same.
        assert!(problem["conflictId"].is_string(), "{problem}");
        assert!(!problem["alternatives"].as_array().unwrap().is_empty());
    }
    let taken = running.refused("POST", "/bookings", &wish(14), 409).await;
    assert_eq!(taken["type"], "urn:carillon:problem:overlap");
    assert_eq!(taken["title"], "Already booked");
}

#[tokio::test]
async fn who_is_refused_a_series_hears_of_the_way_to_have_the_rest_of_it() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let series = |conflicts: &str, count: u32| {
        json!({
            "resourceId": "room-1", "userId": "user-2", "title": "Stand-up", "timeZone": "UTC",
            "startTime": "2026-08-20T09:00:00", "endTime": "2026-08-20T10:00:00",
            "rule": format!("FREQ=DAILY;COUNT={count}"), "conflicts": conflicts,
        })
    };
    let skip = "`\"conflicts\": \"skip\"`";
    // One of three, none of one, and who has asked for it already.
    for (conflicts, count, is_told) in [
        ("refuse", 3, true),
        ("refuse", 1, false),
        ("skip", 1, false),
    ] {
        let body = series(conflicts, count);
        let problem = running.refused("POST", "/series", &body, 409).await;
        assert_eq!(problem["type"], "urn:carillon:problem:series-conflict");
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            detail.contains(skip),
            is_told,
            "{conflicts} {count}: {detail}"
        );
    }
    // What the sentence says is so.
    let made = running.post("/series", &series("skip", 3)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // A change of several occurrences takes no such word, and speaks of none.
    let occurrences = made.json()["occurrences"].clone();
    let id = occurrences[1]["bookingId"].as_str().unwrap();
    let mut taken = wish(11 + 24);
    taken["userId"] = json!("user-3");
    running.book(&taken).await;
    let path = format!("/bookings/{id}?scope=following");
    let later = json!({ "startTime": time(11 + 24), "endTime": time(12 + 24) });
    let problem = running.refused("PATCH", &path, &later, 409).await;
    assert_eq!(problem["type"], "urn:carillon:problem:series-conflict");
    assert!(
        !problem["detail"].as_str().unwrap().contains("skip"),
        "{problem}"
    );
}
