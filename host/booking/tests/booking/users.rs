//! Users: making, listing, changing, deleting.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::resources::data;
use crate::running::{Running, wish};

fn hana() -> Value {
    json!({
        "id": "auth0|hana", "email": "hana@example.com", "displayName": " Hana Novak ",
        "timeZone": "Europe/Prague", "locale": "cs",
    })
}

#[tokio::test]
async fn a_user_is_made_told_noted_and_found_again() {
    let running = Running::new().await;
    let made = running.post("/users", &hana()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut kept = hana();
    kept["displayName"] = json!("Hana Novak");
    kept["version"] = json!(1);
    assert_eq!(made.json(), kept);
    assert_eq!(made.headers["etag"], "\"1\"");
    // The address that is answered is the one that finds them.
    let location = made.headers["location"].to_str().unwrap();
    assert_eq!(location, "/users/auth0%7Chana");
    let found = running.get(location).await;
    assert_eq!(
        (found.json(), &found.headers["etag"]),
        (kept, &made.headers["etag"])
    );
    let events = running.events().await;
    let event = events.last().unwrap();
    assert_eq!(event.kind.as_str(), "user.created");
    assert_eq!(event.user_id.as_deref(), Some("auth0|hana"));
    assert_eq!(data(event)["email"], "hana@example.com");
    assert_eq!(
        running.post("/users", &hana()).await.problem(409)["type"],
        "urn:carillon:problem:id-taken"
    );
    let mut wanted = wish(9);
    wanted["userId"] = json!("auth0|hana");
    running.book(&wanted).await;
}

#[tokio::test]
async fn the_same_key_makes_one_user() {
    let running = Running::new().await;
    let body = json!({ "email": "x@example.com", "displayName": "X" });
    let keyed = async || {
        let request = Request::post("/users")
            .header("content-type", "application/json")
            .header("idempotency-key", "k-1")
            .body(Body::from(body.to_string()))
            .unwrap();
        running.send(request).await
    };
    let first = keyed().await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(first.json()["locale"], "en");
    assert_eq!(keyed().await.text, first.text);
    assert_eq!(running.look("SELECT count(*) FROM users").await, 8);
}

#[tokio::test]
async fn every_wrong_field_of_a_user_is_named() {
    let running = Running::new().await;
    let long = format!("{}@example.com", "h".repeat(65));
    for (field, value, status, expected) in [
        ("email", json!("hana"), 400, "ada@example.com"),
        (
            "email",
            json!("hana@example.com\r\nBcc: x@y.z"),
            400,
            "ada@example.com",
        ),
        ("email", json!(long), 422, "64 bytes"),
        ("displayName", json!(""), 400, "empty"),
        ("displayName", json!("a\tb"), 400, "control"),
        ("timeZone", json!("Prague"), 422, "IANA"),
        ("locale", json!("cs_CZ"), 400, "BCP 47"),
    ] {
        let mut body = hana();
        body[field] = value.clone();
        let problem = running.post("/users", &body).await.problem(status);
        assert_eq!(problem["field"], field);
        assert!(
            problem["detail"].as_str().unwrap().contains(expected),
            "{problem}"
        );
        let patch = json!({ field: value });
        let problem = running.ask("PATCH", "/users/user-1", "*", &patch).await;
        assert_eq!(problem.problem(status)["field"], field);
    }
    let mut body = hana();
    body["email"] = json!("?");
    body["locale"] = json!("?");
    let problem = running.post("/users", &body).await.problem(400);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    assert_eq!(running.events().await.len(), 11, "nothing was told");
}

#[tokio::test]
async fn users_are_listed_in_pages() {
    let running = Running::new().await;
    let mut seen = Vec::new();
    let mut path = "/users?limit=3".to_owned();
    loop {
        let page = running.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(cursor) => path = format!("/users?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    let all: Vec<String> = (1..=7).map(|number| format!("user-{number}")).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_profile_is_changed_at_the_version_that_was_seen() {
    let running = Running::new().await;
    let path = "/users/user-1";
    let patch = json!({ "timeZone": "america/new_york", "email": "ada@example.org" });
    running.ask("PATCH", path, "", &patch).await.problem(428);
    let changed = running.ask("PATCH", path, "\"1\"", &patch).await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    let now = changed.json();
    assert_eq!(
        (&now["timeZone"], &now["displayName"]),
        (&json!("America/New_York"), &json!("Ada Lindqvist"))
    );
    running
        .ask("PATCH", path, "\"1\"", &patch)
        .await
        .problem(412);
    let same = running.ask("PATCH", path, "\"2\"", &patch).await;
    assert_eq!(same.headers["etag"], "\"2\"");
    let events = running.events().await;
    assert_eq!(events.len(), 12);
    assert_eq!(events[11].kind.as_str(), "user.updated");
    assert_eq!(data(&events[11])["email"], "ada@example.org");
    assert_eq!(
        running
            .look(
                "SELECT count(*) FROM audit WHERE action = 'user.updated'
                 AND before ->> 'email' = 'user-1@example.com' AND after ->> 'email' = 'ada@example.org'"
            )
            .await,
        1
    );
    running
        .ask("PATCH", "/users/user-9", "*", &patch)
        .await
        .problem(404);
}

#[tokio::test]
async fn a_user_is_deleted_with_their_bookings_to_come_and_nobody_elses() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let mut other = wish(12);
    other["userId"] = json!("user-2");
    let others = running.book(&other).await;
    let path = "/users/user-1";
    assert_eq!(running.delete(path, "*").await.problem(409)["bookings"], 1);
    let gone = running
        .delete(&format!("{path}?bookings=cancel"), "\"1\"")
        .await;
    assert_eq!(gone.json()["cancelledBookings"], 1);
    assert_eq!(
        running.last_kinds(2).await,
        ["booking.cancelled", "user.deleted"]
    );
    let events = running.events().await;
    assert_eq!(
        data(&events[events.len() - 2])["reason"],
        "the user was removed"
    );
    assert_eq!(data(&events[events.len() - 1])["id"], "user-1");
    let kept = running.get(&format!("/bookings/{others}")).await.json();
    assert_eq!(kept["status"], "confirmed");
    running.get(path).await.problem(404);
    running.post("/bookings", &wish(15)).await.problem(422);
    let mut same = hana();
    same["id"] = json!("user-1");
    assert_eq!(
        running.post("/users", &same).await.problem(409)["type"],
        "urn:carillon:problem:id-was-deleted"
    );
    assert_eq!(
        running.get("/users").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn who_is_deleted_leaves_an_id_and_nothing_else_of_their_profile() {
    let running = Running::new().await;
    running.post("/users", &hana()).await;
    let mut wanted = wish(9);
    wanted["userId"] = json!("auth0|hana");
    running.book(&wanted).await;
    let (_, calendar) = running.calendar("users/auth0%7Chana").await;
    for other in ["users/user-1", "resources/room-1"] {
        running.calendar(other).await;
    }
    let gone = running
        .delete("/users/auth0%7Chana?bookings=cancel", "*")
        .await;
    assert_eq!(gone.json()["cancelledBookings"], 1, "{}", gone.text);
    let kept = running
        .look(
            "SELECT count(*) FROM users WHERE id = 'auth0|hana' AND deleted_ms IS NOT NULL
             AND (display_name, email, time_zone, locale) = ('', '', 'UTC', 'en')",
        )
        .await;
    assert_eq!(kept, 1, "the row is there for bookings of the past");
    assert_eq!(running.get(&calendar).await.status, 404);
    assert_eq!(running.look("SELECT count(*) FROM feeds").await, 2);
    let revoked = "SELECT count(*) FROM audit WHERE action = 'feed.revoked'";
    assert_eq!(running.look(revoked).await, 1);
    let events = running.events().await;
    let [cancelled, deleted] = &events[events.len() - 2..] else {
        panic!("{events:?}");
    };
    // Their calendar has to hear that the booking is off, so that event is the last with the address.
    assert_eq!(
        data(cancelled)["invitation"]["attendee"]["email"],
        "hana@example.com"
    );
    assert_eq!(data(deleted), json!({ "id": "auth0|hana", "version": 2 }));
    assert_eq!(deleted.user_id.as_deref(), Some("auth0|hana"));
    let record = running.get("/audit?user=auth0%7Chana").await.json();
    let [made, removed] = &record["items"].as_array().unwrap()[..] else {
        panic!("{record}");
    };
    assert_eq!(removed["action"], "user.deleted");
    assert_eq!(
        removed["before"],
        json!({ "id": "auth0|hana", "version": 1 })
    );
    assert_eq!(removed["after"], Value::Null);
    // What was written before is not changed: the record is only added to.
    assert_eq!(made["after"]["email"], "hana@example.com");
}

#[tokio::test]
async fn nobody_is_invited_for_who_was_deleted() {
    let running = Running::new().await;
    // It waits for approval until it is over, and is called off by the sweep.
    let mut wanted = wish(9);
    wanted["resourceId"] = json!("room-4");
    running.book(&wanted).await;
    running.clock.forward(Duration::from_secs(24 * 3600));
    assert_eq!(running.delete("/users/user-1", "*").await.status, 200);
    running.booking.sweep_once().await.unwrap();
    let events = running.events().await;
    let last = events.last().unwrap();
    assert_eq!(last.kind.as_str(), "booking.cancelled");
    assert_eq!(last.user_id.as_deref(), Some("user-1"));
    assert_eq!(data(last)["invitation"], Value::Null);
}
