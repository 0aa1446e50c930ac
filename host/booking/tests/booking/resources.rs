//! Resources: making, listing, changing, deleting.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sqlx::Row;

use crate::running::{Answer, Running, connect, wish};

impl Running {
    /// A request, with `If-Match` where it is not empty, and a body where there is one.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        if_match: &str,
        body: &Value,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !if_match.is_empty() {
            request = request.header("if-match", if_match);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str, if_match: &str) -> Answer {
        self.ask("DELETE", path, if_match, &Value::Null).await
    }

    /// The kinds of the last events.
    pub(crate) async fn last_kinds(&self, count: usize) -> Vec<String> {
        let events = self.events().await;
        let last = &events[events.len() - count..];
        last.iter().map(|event| event.kind.to_string()).collect()
    }

    /// The first column of the first row, past the service.
    pub(crate) async fn look(&self, query: &'static str) -> i64 {
        sqlx::query(query)
            .fetch_one(&mut connect(self.folder.path()).await)
            .await
            .unwrap()
            .get(0)
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(&mut connect(self.folder.path()).await)
            .await
            .unwrap();
    }
}

pub(crate) fn data(event: &carillon_events::Event) -> Value {
    serde_json::from_str(event.data.get()).unwrap()
}

fn lab() -> Value {
    json!({
        "id": "lab-1", "name": " Laboratory ", "kind": "wet-lab", "capacity": 4,
        "requiresApproval": true, "place": "Annex", "timeZone": "europe/berlin",
        "rules": { "bufferMinutes": 30 },
    })
}

fn lab_as_kept() -> Value {
    json!({
        "id": "lab-1", "name": "Laboratory", "kind": "wet-lab", "capacity": 4,
        "requiresApproval": true, "place": "Annex", "timeZone": "Europe/Berlin", "version": 1,
        "rules": { "bufferMinutes": 30, "minLeadMinutes": 0, "minDurationMinutes": 0 },
    })
}

#[tokio::test]
async fn a_resource_is_made_told_noted_and_found_again() {
    let running = Running::new().await;
    let made = running.post("/resources", &lab()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json(), lab_as_kept());
    assert_eq!(made.headers["location"], "/resources/lab-1");
    assert_eq!(made.headers["etag"], "\"1\"");
    let found = running.get("/resources/lab-1").await;
    assert_eq!(found.json(), made.json());
    assert_eq!(found.headers["etag"], "\"1\"");
    running.get("/resources/lab-2").await.problem(404);

    let events = running.events().await;
    let event = events.last().unwrap();
    assert_eq!(event.kind.as_str(), "resource.created");
    assert_eq!(event.subject_id.as_deref(), Some("lab-1"));
    assert_eq!(data(event)["name"], "Laboratory");
    assert_eq!(
        running
            .look("SELECT count(*) FROM audit WHERE subject_id = 'lab-1' AND action = 'resource.created'")
            .await,
        1
    );
    // It can be booked at once.
    let mut wanted = wish(9);
    wanted["resourceId"] = json!("lab-1");
    wanted["attendeesCount"] = json!(4);
    running.book(&wanted).await;
}

#[tokio::test]
async fn without_an_id_one_is_made_and_a_key_makes_it_once() {
    let running = Running::new().await;
    let body = json!({ "name": "Desk", "kind": "desk", "capacity": 1 });
    let keyed = async || {
        let request = Request::post("/resources")
            .header("content-type", "application/json")
            .header("idempotency-key", "k-1")
            .body(Body::from(body.to_string()))
            .unwrap();
        running.send(request).await
    };
    let first = keyed().await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = keyed().await;
    assert_eq!(
        (&again.text, &again.headers["location"]),
        (&first.text, &first.headers["location"])
    );
    let made = first.json();
    assert_eq!(made["timeZone"], "UTC");
    let id = made["id"].as_str().unwrap();
    assert_eq!(first.headers["location"], format!("/resources/{id}"));
    assert_eq!(
        running
            .look("SELECT count(*) FROM resources WHERE kind = 'desk'")
            .await,
        1
    );
    assert_eq!(running.events().await.len(), 12);
}

#[tokio::test]
async fn every_wrong_field_of_a_resource_is_named() {
    let running = Running::new().await;
    for (field, value, status, expected) in [
        ("id", json!(""), 400, "empty"),
        ("id", json!(".."), 400, "path"),
        ("id", json!(" lab"), 400, "space"),
        ("name", json!(" "), 400, "empty"),
        ("name", json!("n".repeat(201)), 400, "200"),
        ("kind", json!("Wet Lab"), 400, "small letters"),
        ("capacity", json!(0), 400, "1 to 100000"),
        ("capacity", json!(100_001), 400, "1 to 100000"),
        ("place", json!("a\nb"), 400, "one line"),
        ("timeZone", json!(""), 400, "empty"),
        ("timeZone", json!("Mars/Olympus"), 422, "IANA"),
    ] {
        let mut body = lab();
        body[field] = value.clone();
        let problem = running.post("/resources", &body).await.problem(status);
        assert_eq!(problem["field"], field);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
        if field != "id" {
            let patch = json!({ field: value });
            let problem = running.ask("PATCH", "/resources/room-1", "*", &patch).await;
            assert_eq!(problem.problem(status)["field"], field);
        }
    }
    for (rules, status, field) in [
        (json!({ "bufferMinutes": 1441 }), 400, "rules.bufferMinutes"),
        (
            json!({ "minDurationMinutes": 60, "maxDurationMinutes": 30 }),
            422,
            "rules.minDurationMinutes",
        ),
    ] {
        let mut body = lab();
        body["rules"] = rules.clone();
        assert_eq!(
            running.post("/resources", &body).await.problem(status)["field"],
            field
        );
        let patch = json!({ "rules": rules });
        let problem = running.ask("PATCH", "/resources/room-1", "*", &patch).await;
        assert_eq!(problem.problem(status)["field"], field);
    }
    let unknown = json!({ "colour": "red" });
    running
        .ask("PATCH", "/resources/room-1", "*", &unknown)
        .await
        .problem(400);
    assert_eq!(running.events().await.len(), 11, "nothing was told");
}

#[tokio::test]
async fn resources_are_filtered_by_kind_place_and_least_capacity_in_pages() {
    let running = Running::new().await;
    running.post("/resources", &lab()).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, expected) in [
        ("kind=wet-lab", vec!["lab-1"]),
        ("place=Annex", vec!["lab-1"]),
        (
            "place=Main%20building&capacity=20",
            vec!["room-3", "room-4"],
        ),
        ("kind=room&capacity=12&limit=1", vec!["room-2"]),
        ("kind=wet-lab&capacity=5", vec![]),
    ] {
        let page = running.get(&format!("/resources?{query}")).await.json();
        assert_eq!(ids(&page), expected, "{query}");
    }
    let first = running.get("/resources?kind=room&limit=3").await.json();
    let next = format!(
        "/resources?kind=room&limit=3&cursor={}",
        first["next"].as_str().unwrap()
    );
    let rest = running.get(&next).await.json();
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["room-4".to_owned()], &Value::Null)
    );
    for odd in ["many", "0", "100001"] {
        let path = format!("/resources?capacity={odd}");
        assert_eq!(running.get(&path).await.problem(400)["field"], "capacity");
    }
}

#[tokio::test]
async fn a_change_needs_the_version_seen_and_what_is_booked_stays() {
    let running = Running::new().await;
    let booked = running.book(&wish(9)).await;
    let patch =
        json!({ "name": "Aurora II", "capacity": 2, "rules": { "maxDurationMinutes": 30 } });
    let path = "/resources/room-1";
    running.ask("PATCH", path, "", &patch).await.problem(428);
    let changed = running.ask("PATCH", path, "\"1\"", &patch).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.headers["etag"], "\"2\"");
    let now = changed.json();
    assert_eq!(now["name"], "Aurora II");
    assert_eq!(
        (&now["capacity"], &now["kind"]),
        (&json!(2), &json!("room"))
    );
    running
        .ask("PATCH", path, "\"1\"", &json!({ "capacity": 3 }))
        .await
        .problem(412);
    // What changes nothing is no change.
    let same = running.ask("PATCH", path, "*", &patch).await;
    assert_eq!(same.headers["etag"], "\"2\"");
    assert_eq!(
        running.last_kinds(2).await,
        ["booking.created", "resource.updated"]
    );
    // Five people stay in the room for two; nobody else books like that.
    let booking = running.get(&format!("/bookings/{booked}")).await.json();
    assert_eq!(
        (&booking["status"], &booking["version"]),
        (&json!("confirmed"), &json!(1))
    );
    running.post("/bookings", &wish(12)).await.problem(422);
    let mut pair = wish(12);
    pair["attendeesCount"] = json!(2);
    assert_eq!(
        running.post("/bookings", &pair).await.problem(409)["rule"],
        "too-long"
    );
    running
        .ask("PATCH", "/resources/room-9", "*", &patch)
        .await
        .problem(404);
}

#[tokio::test]
async fn with_bookings_to_come_a_resource_stays_unless_they_are_cancelled() {
    let running = Running::new().await;
    let path = "/resources/room-1";
    let mut past = wish(9);
    past["startTime"] = json!("2026-08-19T10:00:00Z");
    past["endTime"] = json!("2026-08-19T11:00:00Z");
    let over = running.book(&past).await;
    running.clock.forward(std::time::Duration::from_secs(3600));
    for hour in [9, 12] {
        running.book(&wish(hour)).await;
    }
    running.delete(path, "").await.problem(428);
    running.delete(path, "\"7\"").await.problem(412);
    let refused = running.delete(path, "\"1\"").await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:bookings-to-come");
    assert_eq!(refused["bookings"], 2);
    running
        .delete(&format!("{path}?bookings=keep"), "\"1\"")
        .await
        .problem(400);

    let before = running.events().await.len();
    let gone = running
        .delete(&format!("{path}?bookings=cancel"), "\"1\"")
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(
        gone.json(),
        json!({ "cancelledBookings": 2, "removedFromWaitlists": 0 })
    );
    let events = running.events().await;
    let told = &events[before..];
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["booking.cancelled", "booking.cancelled", "resource.deleted"]
    );
    assert_eq!(data(&told[0])["reason"], "Aurora was removed");
    assert_eq!(
        running
            .look("SELECT count(*) FROM audit WHERE action = 'booking.cancelled'")
            .await,
        2
    );
    // It is gone, and what is over still names it.
    running.get(path).await.problem(404);
    running.delete(path, "*").await.problem(404);
    let list = running.get("/resources").await.json();
    assert_eq!(list["items"][0]["id"], "room-2");
    running.post("/bookings", &wish(15)).await.problem(422);
    let kept = running.get(&format!("/bookings/{over}")).await.json();
    assert_eq!(
        (&kept["resourceId"], &kept["status"]),
        (&json!("room-1"), &json!("confirmed"))
    );
    // Its id is not given again.
    let mut same = lab();
    same["id"] = json!("room-1");
    let refused = running.post("/resources", &same).await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:id-was-deleted");
    same["id"] = json!("room-2");
    let refused = running.post("/resources", &same).await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:id-taken");
}

#[tokio::test]
async fn with_people_inside_a_resource_stays() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.step(&id, "check-in").await;
    let path = "/resources/room-1?bookings=cancel";
    let refused = running.delete(path, "*").await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:people-inside");
    running.step(&id, "check-out").await;
    assert_eq!(running.delete(path, "*").await.status, 200);
}

/// An entry that waits for room-1, and one for which a place is held there.
async fn waiters(running: &Running) {
    running
        .execute(
            "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                                   blocked_until_ms, attendees_count, hold_until_ms, created_ms, updated_ms)
             VALUES ('held-1', 'room-1', 'user-2', 'Held', 'held', 1787220000000, 1787223600000,
                     1787223600000, 1, 1787140000000, 1787133600000, 1787133600000)",
        )
        .await;
    running
        .execute(
            "INSERT INTO waitlist (id, resource_id, user_id, title, attendees_count, start_ms, end_ms,
                                   priority, status, booking_id, joined_ms, updated_ms)
             VALUES ('w-1', 'room-1', 'user-2', 'Held', 1, 1787220000000, 1787223600000, 3, 'promoted',
                     'held-1', 1, 1),
                    ('w-2', 'room-1', 'user-2', 'Later', 1, 1787223600000, 1787227200000, 3, 'waiting',
                     NULL, 2, 2),
                    ('w-3', 'room-2', 'user-3', 'Elsewhere', 1, 1787223600000, 1787227200000, 3,
                     'waiting', NULL, 3, 3)",
        )
        .await;
}

#[tokio::test]
async fn whoever_waits_for_a_resource_or_is_deleted_leaves_the_waitlist_and_what_is_held_is_freed()
{
    for path in ["/resources/room-1", "/users/user-2"] {
        let running = Running::new().await;
        waiters(&running).await;
        // What is held counts as a booking to come.
        assert_eq!(running.delete(path, "*").await.problem(409)["bookings"], 1);
        let gone = running
            .delete(&format!("{path}?bookings=cancel"), "*")
            .await;
        assert_eq!(
            gone.json(),
            json!({ "cancelledBookings": 0, "removedFromWaitlists": 2 })
        );
        let events = running.events().await;
        let told = &events[events.len() - 3..];
        let of = |index: usize| (told[index].kind.as_str(), told[index].subject_id.as_deref());
        // All go before anybody is asked, so that nothing that is freed is offered to them.
        assert_eq!(of(0), ("waitlist.removed", Some("w-1")));
        assert_eq!(of(1), ("waitlist.removed", Some("w-2")));
        assert!(told[2].kind.as_str().ends_with(".deleted"));
        assert_eq!(told[0].user_id.as_deref(), Some("user-2"));
        let of_event = data(&told[1]);
        assert_eq!(of_event["desiredStartTime"], "2026-08-20T11:00:00Z");
        assert_eq!(of_event["resourceName"], "Aurora");
        assert!(of_event["reason"].as_str().unwrap().contains("removed"));
        assert_eq!(
            running
                .look("SELECT count(*) FROM waitlist WHERE status = 'removed'")
                .await,
            2
        );
        assert_eq!(
            running
                .look("SELECT count(*) FROM bookings WHERE status = 'expired'")
                .await,
            1
        );
    }
}

#[tokio::test]
async fn more_bookings_than_one_change_takes_away_are_left_and_what_to_do_is_said() {
    let running = Running::new().await;
    running
        .execute(
            "WITH RECURSIVE hour (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM hour WHERE n < 1001)
             INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                                   blocked_until_ms, attendees_count, created_ms, updated_ms)
             SELECT 'b-' || n, 'room-1', 'user-1', 'x', 'confirmed', 1787133600000 + n * 3600000,
                    1787137200000 + n * 3600000, 1787137200000 + n * 3600000, 1, 0, 0
             FROM hour",
        )
        .await;
    let path = "/resources/room-1?bookings=cancel";
    let refused = running.delete(path, "*").await.problem(409);
    assert_eq!(refused["type"], "urn:carillon:problem:too-many-bookings");
    assert_eq!(refused["bookings"], 1001);
    assert_eq!(running.kinds().await.len(), 0);
    running.step("b-500", "cancel").await;
    let gone = running.delete(path, "*").await;
    assert_eq!(gone.json()["cancelledBookings"], 1000);
    assert_eq!(
        running
            .look("SELECT count(*) FROM bookings WHERE status = 'cancelled'")
            .await,
        1001
    );
}
