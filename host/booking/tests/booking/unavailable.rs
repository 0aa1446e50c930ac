//! Times at which a resource cannot be used, and whom that concerns.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::resources::data;
use crate::running::{Running, time, wish};

const PATH: &str = "/resources/room-1/unavailability";

fn closure(from: u32, to: u32) -> Value {
    json!({ "startTime": time(from), "endTime": time(to), "reason": "The heating is mended" })
}

impl Running {
    /// Closes room-1 and answers the id and the bookings that are affected.
    pub(crate) async fn close(&self, from: u32, to: u32) -> (String, Vec<String>) {
        let made = self.post(PATH, &closure(from, to)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let made = made.json();
        let affected = made["affectedBookings"].as_array().unwrap();
        let affected = affected.iter().map(|id| id.as_str().unwrap().to_owned());
        (made["id"].as_str().unwrap().to_owned(), affected.collect())
    }

    async fn reopen(&self, id: &str) {
        let gone = self.delete(&format!("{PATH}/{id}"), "").await;
        assert_eq!(gone.status, 204, "{}", gone.text);
    }

    /// The bookings whose conflicts were told as resolved.
    async fn resolved(&self) -> Vec<String> {
        let events = self.events().await;
        events
            .iter()
            .filter(|event| event.kind.as_str() == "conflict.resolved")
            .map(|event| event.subject_id.clone().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn whoever_has_booked_hears_of_it_with_what_they_could_take_instead() {
    let running = Running::new().await;
    let mut other = wish(11);
    other["userId"] = json!("user-2");
    let (first, second) = (running.book(&wish(9)).await, running.book(&other).await);
    // They touch the time, and one is called off.
    running.book(&wish(8)).await;
    running.book(&wish(14)).await;
    let off = running.book(&wish(10)).await;
    running.step(&off, "cancel").await;
    let before = running.events().await.len();

    let made = running.post(PATH, &closure(9, 14)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let body = made.json();
    let id = body["id"].as_str().unwrap();
    assert_eq!(made.headers["location"], format!("{PATH}/{id}"));
    assert_eq!(
        body,
        json!({
            "id": id, "resourceId": "room-1", "startTime": time(9), "endTime": time(14),
            "reason": "The heating is mended", "createdAt": "2026-08-19T10:00:00Z",
            "affectedCount": 2, "affectedBookings": [first, second],
        })
    );
    let events = running.events().await;
    let told = &events[before..];
    assert_eq!(told.len(), 3);
    assert_eq!(told[0].kind.as_str(), "resource.unavailable");
    let of_resource = data(&told[0]);
    assert_eq!(
        (
            &of_resource["id"],
            &of_resource["name"],
            &of_resource["reason"]
        ),
        (
            &json!("room-1"),
            &json!("Aurora"),
            &json!("The heating is mended")
        )
    );
    assert_eq!(
        (&of_resource["startTime"], &of_resource["endTime"]),
        (&json!(time(9)), &json!(time(14)))
    );
    for (event, user, booking) in [(&told[1], "user-1", &first), (&told[2], "user-2", &second)] {
        assert_eq!(event.kind.as_str(), "conflict.detected");
        assert_eq!(event.user_id.as_deref(), Some(user));
        assert_eq!(event.subject_id.as_deref(), Some(booking.as_str()));
    }
    let of_conflict = data(&told[1]);
    assert!(
        of_conflict["reason"].as_str().unwrap().contains("heating"),
        "{of_conflict}"
    );
    assert_eq!(of_conflict["alternatives"][0], "Borealis");
    let suggestions = of_conflict["suggestions"].as_array().unwrap();
    let at_home: Vec<&Value> = suggestions
        .iter()
        .filter(|one| one["resourceId"] == "room-1")
        .map(|one| &one["startTime"])
        .collect();
    // Not in the time that is closed, and not beside it, where others are.
    assert_eq!(at_home, [&json!(time(7)), &json!(time(15))]);
    assert_eq!(
        running
            .look("SELECT count(*) FROM audit WHERE action = 'resource.unavailable'")
            .await,
        1
    );
    // The bookings stand as they are.
    let booking = running.get(&format!("/bookings/{first}")).await.json();
    assert_eq!(
        (&booking["status"], &booking["version"]),
        (&json!("confirmed"), &json!(1))
    );
}

#[tokio::test]
async fn nothing_new_is_booked_or_moved_into_it() {
    let running = Running::new().await;
    running.close(9, 14).await;
    let refused = running.post("/bookings", &wish(10)).await.problem(409);
    assert_eq!(
        refused["conflicts"],
        json!([{ "startTime": time(9), "endTime": time(14) }])
    );
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be used")
    );
    let id = running.book(&wish(14)).await;
    running.book(&wish(8)).await;
    let into = json!({ "startTime": "2026-08-20T13:30:00Z" });
    running.patch(&id, "*", &into).await.problem(409);
}

#[tokio::test]
async fn who_moves_away_or_calls_off_has_resolved_it_and_who_only_cuts_short_has_not() {
    let running = Running::new().await;
    let (moved, off) = (running.book(&wish(9)).await, running.book(&wish(11)).await);
    let (_, affected) = running.close(9, 14).await;
    assert_eq!(affected, [moved.as_str(), off.as_str()]);
    let shorter = json!({ "endTime": "2026-08-20T09:30:00Z" });
    assert_eq!(running.patch(&moved, "*", &shorter).await.status, 200);
    let renamed = json!({ "title": "Retrospective" });
    assert_eq!(running.patch(&moved, "*", &renamed).await.status, 200);
    assert_eq!(running.resolved().await, Vec::<String>::new());
    let elsewhere = json!({ "resourceId": "room-2" });
    assert_eq!(running.patch(&moved, "*", &elsewhere).await.status, 200);
    assert_eq!(running.resolved().await, [moved.as_str()]);
    running.step(&off, "cancel").await;
    assert_eq!(running.resolved().await, [moved.as_str(), off.as_str()]);
}

#[tokio::test]
async fn opened_again_it_resolves_the_conflicts_that_it_has_caused() {
    let running = Running::new().await;
    let (both, alone) = (running.book(&wish(9)).await, running.book(&wish(11)).await);
    let (wide, _) = running.close(9, 14).await;
    let (narrow, affected) = running.close(8, 10).await;
    assert_eq!(affected, [both.as_str()]);
    // A move that is refused is a conflict of its own, and stays one.
    let into = json!({ "startTime": time(12), "endTime": time(13) });
    running.patch(&alone, "*", &into).await.problem(409);

    running.reopen(&wide).await;
    // The booking at nine still has its conflict with the other one.
    assert_eq!(running.resolved().await, [both.as_str(), alone.as_str()]);
    let events = running.events().await;
    let [opened, _, resolved] = &events[events.len() - 3..] else {
        unreachable!()
    };
    assert_eq!(opened.kind.as_str(), "resource.updated");
    assert_eq!(
        data(opened)["availableAgain"],
        json!({ "startTime": time(9), "endTime": time(14) })
    );
    assert_eq!(data(resolved)["startTime"], time(11));
    assert_eq!(
        running
            .look("SELECT count(*) FROM conflicts WHERE resolved_ms IS NULL AND unavailability_id IS NULL")
            .await,
        1
    );
    // That is over, too, with a booking of the time that was refused.
    running.book(&wish(12)).await;
    running.reopen(&narrow).await;
    assert_eq!(
        running.resolved().await,
        [both.as_str(), alone.as_str(), alone.as_str(), both.as_str()]
    );
    running
        .delete(&format!("{PATH}/{narrow}"), "")
        .await
        .problem(404);
    running.book(&wish(8)).await;
}

#[tokio::test]
async fn they_are_listed_by_time_in_pages() {
    let running = Running::new().await;
    for (from, to) in [(20, 22), (5, 40), (10, 12), (30, 31)] {
        running.close(from, to).await;
    }
    let starts = async |query: &str| -> (Vec<String>, Option<String>) {
        let page = running.get(&format!("{PATH}?{query}")).await.json();
        let items = page["items"].as_array().unwrap();
        let starts = items
            .iter()
            .map(|item| item["startTime"].as_str().unwrap().to_owned());
        (starts.collect(), page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = starts("limit=3").await;
    assert_eq!(first, [time(5), time(10), time(20)]);
    let (rest, next) = starts(&format!("limit=3&cursor={}", next.unwrap())).await;
    assert_eq!((rest, next), (vec![time(30)], None));
    // What only touches is not in it.
    let between = format!("from={}&to={}", time(12), time(20));
    assert_eq!(starts(&between).await.0, [time(5)]);
    running
        .get(&format!("{PATH}?from={}&to={}", time(12), time(12)))
        .await
        .problem(422);
    running
        .get("/resources/room-9/unavailability")
        .await
        .problem(404);
    let (id, _) = running.close(50, 51).await;
    let one = running.get(&format!("{PATH}/{id}")).await.json();
    assert_eq!(
        (&one["id"], &one["endTime"]),
        (&json!(id), &json!(time(51)))
    );
    running
        .get(&format!("/resources/room-2/unavailability/{id}"))
        .await
        .problem(404);
    running
        .delete(&format!("/resources/room-2/unavailability/{id}"), "")
        .await
        .problem(404);
}

#[tokio::test]
async fn a_time_that_makes_no_sense_is_refused_by_field() {
    let running = Running::new().await;
    for (field, value, status, expected) in [
        ("startTime", json!("soon"), 400, "RFC 3339"),
        ("endTime", json!(time(9)), 422, "later than startTime"),
        ("endTime", json!("2031-09-01T00:00:00Z"), 422, "five years"),
        ("reason", json!("  "), 400, "empty"),
        ("reason", json!("r".repeat(501)), 400, "500"),
    ] {
        let mut body = closure(9, 14);
        body[field] = value;
        let problem = running.post(PATH, &body).await.problem(status);
        assert_eq!(problem["field"], field);
        assert!(
            problem["detail"].as_str().unwrap().contains(expected),
            "{problem}"
        );
    }
    let mut over = closure(9, 14);
    over["startTime"] = json!("2026-08-18T10:00:00Z");
    over["endTime"] = json!("2026-08-19T10:00:00Z");
    assert_eq!(
        running.post(PATH, &over).await.problem(422)["field"],
        "endTime"
    );
    let years =
        json!({ "startTime": time(9), "endTime": "2031-08-01T00:00:00Z", "reason": "Rebuilt" });
    assert_eq!(running.post(PATH, &years).await.status, 201);
    running
        .post("/resources/room-9/unavailability", &closure(9, 14))
        .await
        .problem(404);
    // Years later it is found by what is near its end.
    let page = running
        .get(&format!("{PATH}?from=2031-07-31T23:00:00Z"))
        .await
        .json();
    assert_eq!(page["items"][0]["reason"], "Rebuilt");
}

#[tokio::test]
async fn the_same_key_closes_once() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let keyed = async || {
        let request = Request::post(PATH)
            .header("content-type", "application/json")
            .header("idempotency-key", "k-1")
            .body(Body::from(closure(9, 14).to_string()))
            .unwrap();
        running.send(request).await
    };
    let first = keyed().await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(keyed().await.text, first.text);
    assert_eq!(
        running.last_kinds(3).await,
        [
            "booking.created",
            "resource.unavailable",
            "conflict.detected"
        ]
    );
}

#[tokio::test]
async fn more_bookings_than_one_change_puts_into_conflict_are_closed_in_parts() {
    let running = Running::new().await;
    running
        .execute(
            "WITH RECURSIVE hour (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM hour WHERE n < 1000)
             INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                                   blocked_until_ms, attendees_count, created_ms, updated_ms)
             SELECT 'b-' || n, 'room-1', 'user-1', 'x', 'confirmed', 1787184000000 + n * 3600000,
                    1787187600000 + n * 3600000, 1787187600000 + n * 3600000, 1, 0, 0
             FROM hour",
        )
        .await;
    let mut long = closure(0, 1);
    long["endTime"] = json!("2027-08-20T00:00:00Z");
    let refused = running.post(PATH, &long).await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:too-many-bookings");
    assert!(running.kinds().await.is_empty());
    let until = refused["until"].clone();
    long["endTime"] = until.clone();
    let first = running.post(PATH, &long).await.json();
    assert_eq!(first["affectedCount"], 1000);
    long["startTime"] = until;
    long["endTime"] = json!("2027-08-20T00:00:00Z");
    let second = running.post(PATH, &long).await.json();
    assert_eq!(second["affectedBookings"], json!(["b-1000"]));
}
