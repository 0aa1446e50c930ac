//! Rules, conflicts and their way out, changes, and requests that come twice.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;

use crate::running::{Answer, Running, connect, time, wish};

impl Running {
    pub(crate) async fn patch(&self, id: &str, if_match: &str, patch: &Value) -> Answer {
        let request = Request::patch(format!("/bookings/{id}"))
            .header("content-type", "application/json")
            .header("if-match", if_match)
            .body(Body::from(patch.to_string()))
            .unwrap();
        self.send(request).await
    }

    async fn keyed(&self, key: &str, body: &Value) -> Answer {
        let request = Request::post("/bookings")
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// Rules for `room-1`, past the service.
    pub(crate) async fn rule(&self, rules: &Value) {
        sqlx::query("UPDATE resources SET rules = ? WHERE id = 'room-1'")
            .bind(rules.to_string())
            .execute(&mut connect(self.folder.path()).await)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_conflict_names_free_times_and_free_rooms_and_the_one_that_is_taken_resolves_it() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let mut wanted = wish(9);
    wanted["userId"] = json!("user-2");
    let problem = running.post("/bookings", &wanted).await.problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:overlap");
    let alternatives = problem["alternatives"].as_array().unwrap();
    let scores: Vec<i64> = alternatives
        .iter()
        .map(|alternative| alternative["score"].as_i64().unwrap())
        .collect();
    assert!(
        scores.windows(2).all(|pair| pair[0] >= pair[1]),
        "{scores:?}"
    );
    let on = |room: &str| {
        alternatives
            .iter()
            .filter(|alternative| alternative["resourceId"] == room)
            .collect::<Vec<_>>()
    };
    let starts: Vec<&Value> = on("room-1").iter().map(|one| &one["startTime"]).collect();
    assert_eq!(starts, [&json!(time(8)), &json!(time(10))]);
    assert_eq!(on("room-2")[0]["startTime"], time(9));
    assert!(
        on("room-2")[0]["reason"]
            .as_str()
            .unwrap()
            .contains("same place")
    );
    // The hall waits for approval, so it comes last.
    assert_eq!(alternatives.last().unwrap()["resourceId"], "room-4");

    let chosen = on("room-2")[0];
    wanted["resourceId"] = chosen["resourceId"].clone();
    wanted["conflictId"] = problem["conflictId"].clone();
    // It is somebody's own.
    let mut stranger = wanted.clone();
    stranger["userId"] = json!("user-3");
    let unknown = running.post("/bookings", &stranger).await.problem(422);
    assert_eq!(unknown["type"], "urn:carillon:problem:unknown-conflict");
    let id = running.book(&wanted).await;
    assert_eq!(
        running.kinds().await,
        [
            "booking.created",
            "conflict.detected",
            "booking.created",
            "conflict.resolved"
        ]
    );
    let events = running.events().await;
    let [detected, _, resolved] = &events[events.len() - 3..] else {
        unreachable!()
    };
    assert_eq!(detected.subject_id, resolved.subject_id);
    let data: Value = serde_json::from_str(resolved.data.get()).unwrap();
    assert_eq!(data["resolvedBy"], id);
    // Once only.
    wanted["resourceId"] = json!("room-3");
    running.post("/bookings", &wanted).await.problem(422);
}

#[tokio::test]
async fn the_rules_of_a_resource_are_kept_when_booking_and_when_moving() {
    let running = Running::new().await;
    running
        .rule(&json!({
            "openingHours": { "thursday": [{ "from": "08:00", "to": "18:00" }] },
            "maxDurationMinutes": 120, "bufferMinutes": 30,
        }))
        .await;
    let refused = running.post("/bookings", &wish(18)).await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:against-the-rules");
    assert_eq!(refused["rule"], "closed");
    let id = running.book(&wish(9)).await;
    // Half an hour to clean up.
    let problem = running.post("/bookings", &wish(10)).await.problem(409);
    assert_eq!(problem["conflicts"][0]["endTime"], "2026-08-20T10:30:00Z");
    running.book(&wish(11)).await;
    let moved = running
        .patch(
            &id,
            "\"1\"",
            &json!({ "startTime": time(17), "endTime": time(20) }),
        )
        .await;
    assert_eq!(moved.problem(409)["rule"], "too-long");
    let mut past = wish(9);
    past["startTime"] = json!("2026-08-19T08:00:00Z");
    past["endTime"] = json!("2026-08-19T09:00:00Z");
    assert_eq!(
        running.post("/bookings", &past).await.problem(409)["rule"],
        "over"
    );
}

#[tokio::test]
async fn a_change_needs_the_version_that_was_seen() {
    let running = Running::new().await;
    let made = running.post("/bookings", &wish(9)).await;
    assert_eq!(made.headers["etag"], "\"1\"");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let title = json!({ "title": "Retrospective" });
    let blind = Request::patch(format!("/bookings/{id}"))
        .header("content-type", "application/json")
        .body(Body::from(title.to_string()))
        .unwrap();
    running.send(blind).await.problem(428);
    let changed = running.patch(&id, "\"1\"", &title).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(changed.headers["etag"], "\"2\"");
    let late = running
        .patch(&id, "\"1\"", &json!({ "attendeesCount": 2 }))
        .await;
    late.problem(412);
    assert_eq!(late.headers["etag"], "\"2\"");
    // What changes nothing is no change.
    let same = running.patch(&id, "*", &title).await;
    assert_eq!(same.headers["etag"], "\"2\"");
    let step = Request::post(format!("/bookings/{id}/cancel"))
        .header("if-match", "\"1\"")
        .body(Body::empty())
        .unwrap();
    running.send(step).await.problem(412);
    assert_eq!(
        running.kinds().await,
        ["booking.created", "booking.updated"]
    );
    running.step(&id, "cancel").await;
    running
        .patch(&id, "*", &json!({ "title": "x" }))
        .await
        .problem(409);
}

#[tokio::test]
async fn a_booking_is_moved_only_to_where_it_is_free() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.book(&wish(12)).await;
    let into = json!({ "startTime": "2026-08-20T11:30:00Z" });
    let problem = running.patch(&id, "*", &into).await.problem(409);
    assert_eq!(problem["conflicts"][0]["startTime"], time(12));
    let over_itself = json!({ "startTime": "2026-08-20T09:30:00Z" });
    let moved = running.patch(&id, "*", &over_itself).await.json();
    assert_eq!(
        moved["endTime"], "2026-08-20T10:30:00Z",
        "it lasts as long as before"
    );
    // To the hall, which asks again.
    let moved = running
        .patch(&id, "*", &json!({ "resourceId": "room-4" }))
        .await;
    assert_eq!(moved.json()["status"], "pending");
    running
        .patch(&id, "*", &json!({ "resourceId": "room-9" }))
        .await
        .problem(422);
    running
        .patch(&id, "*", &json!({ "attendeesCount": 61 }))
        .await
        .problem(422);
    running
        .patch(&id, "*", &json!({ "endTime": time(2) }))
        .await
        .problem(422);
    running
        .patch("nothing", "*", &json!({ "title": "x" }))
        .await
        .problem(404);
    running
        .patch(&id, "*", &json!({ "status": "confirmed" }))
        .await
        .problem(400);
}

#[tokio::test]
async fn the_same_request_twice_is_one_booking_and_another_body_is_refused() {
    let running = Running::new().await;
    let first = running.keyed("\"k-1\"", &wish(9)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = running.keyed("k-1", &wish(9)).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    let other = running.keyed("k-1", &wish(10)).await.problem(422);
    assert_eq!(other["type"], "urn:carillon:problem:idempotency-key-reused");
    // A refusal is an answer, too: its conflict is told once.
    let refused = running.keyed("k-2", &wish(9)).await;
    refused.problem(409);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    running.step(&id, "cancel").await;
    assert_eq!(running.keyed("k-2", &wish(9)).await.text, refused.text);
    assert_eq!(
        running.kinds().await,
        ["booking.created", "conflict.detected", "booking.cancelled"]
    );
    for odd in ["", "\"\"", &"k".repeat(256)] {
        running.keyed(odd, &wish(9)).await.problem(400);
    }
}

#[tokio::test]
async fn every_change_leaves_its_entry_in_a_record_that_cannot_be_changed() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running
        .patch(&id, "*", &json!({ "title": "Retrospective" }))
        .await;
    running.step(&id, "cancel").await;
    let mut database = connect(running.folder.path()).await;
    let rows = sqlx::query(
        "SELECT action, actor, role, before, after FROM audit WHERE subject_id = ? ORDER BY seq",
    )
    .bind(&id)
    .fetch_all(&mut database)
    .await
    .unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get("action")).collect();
    assert_eq!(
        actions,
        ["booking.created", "booking.updated", "booking.cancelled"]
    );
    let state = |row: usize, column: &str| -> Value {
        let text: Option<String> = rows[row].get(column);
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    };
    assert_eq!(state(0, "before"), Value::Null);
    assert_eq!(state(1, "before")["title"], "Team Meeting");
    assert_eq!(state(1, "after")["title"], "Retrospective");
    assert_eq!(state(2, "after")["status"], "cancelled");
    for tampering in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let error = sqlx::query(tampering).execute(&mut database).await;
        assert!(error.unwrap_err().to_string().contains("the audit record"));
    }
}
