//! Waiting for a time, being promoted, and what becomes of it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use carillon_booking::{BookingConfig, Surroundings};
use serde_json::{Value, json};

use crate::history;
use crate::running::{Answer, Running, connect, time, wish};
use crate::tokens;

/// How long the holds of these tests last.
pub(crate) const HOLD: Duration = Duration::from_secs(15 * 60);

/// A wish to wait for room-1 for an hour; the title says whose it is.
pub(crate) fn wait(user: u32, hour: u32) -> Value {
    json!({
        "userId": format!("user-{user}"), "title": format!("Of {user}"),
        "startTime": time(hour), "endTime": time(hour + 1), "attendeesCount": 2,
    })
}

impl Running {
    pub(crate) async fn leave(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap())
            .await
    }

    /// Joins the waitlist of room-1 and answers the path of the entry.
    pub(crate) async fn join(&self, wish: &Value) -> String {
        let answer = self.post("/waitlist/room-1", wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.headers["location"].to_str().unwrap().to_owned()
    }

    /// Status and position of an entry.
    pub(crate) async fn stands(&self, path: &str) -> (String, Value) {
        let entry = self.get(path).await.json();
        let status = entry["status"].as_str().unwrap().to_owned();
        (status, entry["position"].clone())
    }

    pub(crate) async fn accept(&self, path: &str) -> Answer {
        let request = Request::post(format!("{path}/accept"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The kinds of events of the waitlist, each with the position of the entry in `entries`.
    async fn told(&self, entries: &[&String]) -> Vec<(String, usize)> {
        let events = self.events().await;
        let of_waitlist = events.iter().filter_map(|event| {
            let kind = event.kind.as_str().strip_prefix("waitlist.")?.to_owned();
            let id = event.subject_id.as_deref()?;
            let index = entries.iter().position(|path| path.ends_with(id))?;
            Some((kind, index))
        });
        of_waitlist.collect()
    }
}

fn told(kind: &str, entry: usize) -> (String, usize) {
    (kind.to_owned(), entry)
}

#[tokio::test]
async fn whoever_waits_sees_their_place_and_the_event_tells_all_of_it() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let first = running.join(&wait(2, 9)).await;
    let mut urgent = wait(3, 9);
    urgent["priority"] = json!(7);
    let answer = running.post("/waitlist/room-1", &urgent).await;
    let entry = answer.json();
    let id = entry["id"].as_str().unwrap();
    assert_eq!(
        answer.headers["location"],
        format!("/waitlist/room-1/{id}").as_str()
    );
    assert_eq!(
        entry,
        json!({
            "id": id, "resourceId": "room-1", "userId": "user-3", "title": "Of 3", "status": "waiting",
            "startTime": time(9), "endTime": time(10), "attendeesCount": 2, "priority": 7,
            "version": 1, "position": 1,
            "joinedAt": "2026-08-19T10:00:00Z", "updatedAt": "2026-08-19T10:00:00Z",
        })
    );
    assert_eq!(running.stands(&first).await, ("waiting".into(), json!(2)));
    let events = running.events().await;
    let event = events.last().unwrap();
    assert_eq!(event.kind.as_str(), "waitlist.joined");
    assert_eq!(event.user_id.as_deref(), Some("user-3"));
    assert_eq!(event.resource_id.as_deref(), Some("room-1"));
    assert_eq!(event.subject_id.as_deref(), Some(id));
    let data: Value = serde_json::from_str(event.data.get()).unwrap();
    assert_eq!(
        data,
        json!({
            "id": id, "title": "Of 3", "priority": 7, "position": 1, "attendeesCount": 2,
            "desiredStartTime": time(9), "desiredEndTime": time(10), "resourceName": "Aurora",
        })
    );
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn a_cancelled_booking_is_held_for_the_best_waiter_who_accepts_it_with_one_call() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entries = [
        running.join(&wait(2, 9)).await,
        running.join(&wait(3, 9)).await,
    ];
    let mut urgent = wait(4, 9);
    urgent["priority"] = json!(50);
    let urgent = running.join(&urgent).await;
    running.step(&standing, "cancel").await;

    let entry = running.get(&urgent).await.json();
    assert_eq!(entry["status"], "promoted");
    assert_eq!(entry["holdUntil"], "2026-08-19T10:15:00Z");
    assert_eq!(entry["position"], Value::Null);
    assert_eq!(
        running.stands(&entries[0]).await,
        ("waiting".into(), json!(1))
    );
    let events = running.events().await;
    let [cancelled, promoted] = &events[events.len() - 2..] else {
        unreachable!()
    };
    assert_eq!(cancelled.kind.as_str(), "booking.cancelled");
    assert_eq!(promoted.kind.as_str(), "waitlist.promoted");
    assert_eq!(promoted.user_id.as_deref(), Some("user-4"));
    assert_eq!(promoted.correlation_id, cancelled.correlation_id);
    let data: Value = serde_json::from_str(promoted.data.get()).unwrap();
    assert_eq!(data["bookingId"], entry["bookingId"]);
    assert_eq!(data["holdUntil"], "2026-08-19T10:15:00Z");

    // It is held: nobody else gets it, and nothing but accepting it makes it a booking.
    running.post("/bookings", &wish(9)).await.problem(409);
    let held = entry["bookingId"].as_str().unwrap();
    running.step(held, "cancel").await.problem(409);
    running
        .patch(held, "*", &json!({ "title": "x" }))
        .await
        .problem(409);
    running.accept(&entries[0]).await.problem(409);

    running.clock.forward(HOLD - Duration::from_millis(1));
    let accepted = running.accept(&urgent).await;
    assert_eq!(accepted.status, StatusCode::OK, "{}", accepted.text);
    let booking = accepted.json();
    assert_eq!(booking["status"], "confirmed");
    assert_eq!(booking["id"], held);
    assert_eq!(booking["userId"], "user-4");
    assert_eq!(booking["title"], "Of 4");
    assert_eq!(booking["holdUntil"], Value::Null);
    assert_eq!(
        accepted.headers["content-location"],
        format!("/bookings/{held}").as_str()
    );
    assert_eq!(
        running.stands(&urgent).await,
        ("accepted".into(), Value::Null)
    );
    // An answer that was lost is given again, and tells nobody anything.
    assert_eq!(running.accept(&urgent).await.json(), booking);
    running.leave(&urgent).await.problem(409);
    assert_eq!(
        running.kinds().await,
        [
            "booking.created",
            "waitlist.joined",
            "waitlist.joined",
            "waitlist.joined",
            "booking.cancelled",
            "waitlist.promoted",
            "conflict.detected",
            "booking.created",
        ]
    );
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn a_hold_on_what_needs_approval_becomes_a_booking_that_waits_for_it() {
    let running = Running::new().await;
    let mut hall = wish(9);
    hall["resourceId"] = json!("room-4");
    let standing = running.book(&hall).await;
    let answer = running.post("/waitlist/room-4", &wait(2, 9)).await;
    running.step(&standing, "cancel").await;
    let path = answer.headers["location"].to_str().unwrap();
    let booking = running.accept(path).await.json();
    assert_eq!(booking["status"], "pending");
    let id = booking["id"].as_str().unwrap();
    assert_eq!(running.step(id, "confirm").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_frees_time_asks_those_who_wait_be_it_a_change_or_people_who_leave_early() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    let moved = running.join(&wait(2, 9)).await;
    let later = json!({ "startTime": time(11), "endTime": time(14) });
    let answer = running.patch(&id, "*", &later).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(running.stands(&moved).await.0, "promoted");

    let shortened = running.join(&wait(3, 13)).await;
    running
        .patch(&id, "*", &json!({ "endTime": time(13) }))
        .await;
    assert_eq!(running.stands(&shortened).await.0, "promoted");

    running.step(&id, "check-in").await;
    let early = running.join(&wait(4, 12)).await;
    let begun = running.join(&wait(5, 11)).await;
    // 2026-08-20T11:30:00Z
    running.clock.forward(Duration::from_secs(25 * 3600 + 1800));
    running.step(&id, "check-out").await;
    assert_eq!(running.stands(&early).await.0, "promoted");
    assert_eq!(
        running.stands(&begun).await.0,
        "waiting",
        "what has begun is given to nobody"
    );
    // The rest that nobody waits for can be booked.
    let mut rest = wish(11);
    rest["startTime"] = json!("2026-08-20T11:30:00Z");
    running.book(&rest).await;
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn freed_time_goes_to_all_who_fit_into_it_and_not_to_who_would_fit_only_in_part() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(13));
    let long = running.book(&long).await;
    running.book(&wish(13)).await;
    let mut beyond = wait(2, 12);
    beyond["endTime"] = json!(time(14));
    beyond["priority"] = json!(100);
    let entries = [
        running.join(&beyond).await,
        running.join(&wait(3, 10)).await,
        running.join(&wait(4, 10)).await,
        running.join(&wait(5, 12)).await,
    ];
    running.step(&long, "cancel").await;
    let mut stand = Vec::new();
    for path in &entries {
        stand.push(running.stands(path).await.0);
    }
    assert_eq!(stand, ["waiting", "promoted", "waiting", "promoted"]);
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn who_leaves_gives_back_what_was_held_and_the_next_is_asked() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let paths = [
        running.join(&wait(2, 9)).await,
        running.join(&wait(3, 9)).await,
        running.join(&wait(4, 9)).await,
    ];
    let entries: Vec<&String> = paths.iter().collect();
    assert_eq!(running.leave(&paths[1]).await.status, 204);
    assert_eq!(
        running.stands(&paths[2]).await,
        ("waiting".into(), json!(2))
    );
    running.step(&standing, "cancel").await;
    assert_eq!(running.leave(&paths[0]).await.status, 204);
    assert_eq!(running.stands(&paths[2]).await.0, "promoted");
    // What was removed is gone.
    running.get(&paths[0]).await.problem(404);
    running.leave(&paths[0]).await.problem(404);
    running.accept(&paths[0]).await.problem(404);
    assert_eq!(
        running.told(&entries).await,
        [
            told("joined", 0),
            told("joined", 1),
            told("joined", 2),
            told("removed", 1),
            told("promoted", 0),
            told("removed", 0),
            told("promoted", 2),
        ]
    );
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn who_leaves_altogether_is_given_nothing_on_the_way() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let mut longer = wait(2, 9);
    longer["endTime"] = json!("2026-08-20T09:30:00Z");
    let paths = [
        running.join(&wait(2, 9)).await,
        running.join(&longer).await,
        running.join(&wait(3, 9)).await,
    ];
    running.step(&standing, "cancel").await;
    running.leave("/waitlist/room-1").await.problem(422);
    let nobody = running.leave("/waitlist/room-1?userId=").await.problem(400);
    assert_eq!(nobody["type"], "urn:carillon:problem:invalid-query");
    assert_eq!(nobody["field"], "userId");
    let left = running.leave("/waitlist/room-1?userId=user-2").await;
    assert_eq!(left.json(), json!({ "removed": 2 }));
    let entries: Vec<&String> = paths.iter().collect();
    assert_eq!(
        running.told(&entries).await[3..],
        [
            told("promoted", 0),
            told("removed", 0),
            told("removed", 1),
            told("promoted", 2)
        ]
    );
    let left = running.leave("/waitlist/room-1?userId=user-2").await;
    assert_eq!(left.json(), json!({ "removed": 0 }));
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn nobody_waits_for_what_is_free_forbidden_or_waited_for_already() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let refused = async |path: &str, wish: &Value, status| -> String {
        let problem = running.post(path, wish).await.problem(status);
        problem["type"].as_str().unwrap().to_owned()
    };
    let room = "/waitlist/room-1";
    let kind = |code: &str| format!("urn:carillon:problem:{code}");
    assert_eq!(refused(room, &wait(2, 10), 409).await, kind("time-is-free"));
    let own = running.join(&wait(2, 9)).await;
    let again = running.post(room, &wait(2, 9)).await.problem(409);
    assert_eq!(again["type"], kind("already-waiting"));
    assert!(own.ends_with(again["entryId"].as_str().unwrap()));
    let mut crowd = wait(3, 9);
    crowd["attendeesCount"] = json!(9);
    assert_eq!(refused(room, &crowd, 422).await, kind("over-capacity"));
    let mut unknown = wait(3, 9);
    unknown["userId"] = json!("user-9");
    assert_eq!(refused(room, &unknown, 422).await, kind("unknown-user"));
    assert_eq!(
        refused("/waitlist/room-9", &wait(3, 9), 404).await,
        kind("unknown-resource")
    );
    for (field, value, status) in [
        ("priority", json!(-1), 400),
        ("priority", json!(1001), 400),
        ("priority", json!(1.5), 400),
        ("title", json!(""), 400),
        ("endTime", json!(time(8)), 422),
        ("colour", json!("red"), 400),
    ] {
        let mut odd = wait(3, 9);
        odd[field] = value;
        let problem = running.post(room, &odd).await.problem(status);
        assert!(problem["detail"].to_string().contains(field), "{problem}");
    }
    // Not even for what is held for oneself, nor for what has begun or breaks a rule.
    running.clock.forward(Duration::from_secs(23 * 3600));
    let begun = running.post(room, &wait(3, 9)).await.problem(409);
    assert_eq!(begun["rule"], "begun");
    running.get("/waitlist/room-9").await.problem(404);
    // Nobody is known, so it has to be said who is meant.
    assert_eq!(running.get("/waitlist").await.problem(422)["field"], "user");
    let page = running.get("/waitlist?user=user-2").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
}

#[tokio::test]
async fn what_one_waits_for_is_not_what_has_ended() {
    let running = Running::new().await;
    let mut entries = Vec::new();
    for hour in 9..13 {
        let standing = running.book(&wish(hour)).await;
        let entry = running.join(&wait(2, hour)).await;
        entries.push(entry);
        if hour < 12 {
            running.step(&standing, "cancel").await;
        }
        running.clock.forward(Duration::from_secs(1));
    }
    running.accept(&entries[0]).await;
    running.close(10, 11).await;
    let mut stand = Vec::new();
    for entry in &entries {
        stand.push(running.stands(entry).await.0);
    }
    assert_eq!(stand, ["accepted", "expired", "promoted", "waiting"]);
    let listed = async |path: &str| -> Vec<String> {
        let page = running.get(path).await.json();
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["status"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        listed("/waitlist?user=user-2").await,
        ["waiting", "promoted"]
    );
    // The waitlist of the resource says what became of everybody.
    stand.reverse();
    assert_eq!(listed("/waitlist/room-1").await, stand);
}

#[tokio::test]
async fn a_rule_that_forbids_the_booking_forbids_waiting_and_promotion() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let strict = running.join(&wait(2, 9)).await;
    let mut short = wait(3, 9);
    short["startTime"] = json!("2026-08-20T09:30:00Z");
    let short = running.join(&short).await;
    running.rule(&json!({ "maxDurationMinutes": 30 })).await;
    let problem = running
        .post("/waitlist/room-1", &wait(4, 9))
        .await
        .problem(409);
    assert_eq!(problem["rule"], "too-long");
    running.step(&standing, "cancel").await;
    assert_eq!(running.stands(&strict).await.0, "waiting");
    assert_eq!(running.stands(&short).await.0, "promoted");
}

#[tokio::test]
async fn a_hold_keeps_the_time_free_that_the_resource_needs_after_it() {
    let running = Running::new().await;
    let first = running.book(&wish(9)).await;
    running.rule(&json!({ "bufferMinutes": 30 })).await;
    let entry = running.join(&wait(2, 9)).await;
    running.book(&wish(10)).await;
    running.step(&first, "cancel").await;
    assert_eq!(running.stands(&entry).await.0, "waiting");
    let mut shorter = wait(3, 9);
    shorter["startTime"] = json!("2026-08-20T08:30:00Z");
    shorter["endTime"] = json!("2026-08-20T09:30:00Z");
    let free = running
        .post("/waitlist/room-1", &shorter)
        .await
        .problem(409);
    assert_eq!(free["type"], "urn:carillon:problem:time-is-free");
}

#[tokio::test]
async fn the_same_request_twice_is_one_entry() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let keyed = async |body: &Value| -> Answer {
        let request = Request::post("/waitlist/room-1")
            .header("content-type", "application/json")
            .header("idempotency-key", "k-1")
            .body(Body::from(body.to_string()))
            .unwrap();
        running.send(request).await
    };
    let first = keyed(&wait(2, 9)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = keyed(&wait(2, 9)).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    keyed(&wait(3, 9)).await.problem(422);
    assert_eq!(
        running.kinds().await,
        ["booking.created", "waitlist.joined"]
    );
}

#[tokio::test]
async fn a_user_sees_and_touches_their_own_entries_and_staff_all() {
    let running = tokens::running().await;
    let call = async |user: &str, method: &str, path: &str, body: &Value| {
        tokens::call(&running, user, method, path, body).await
    };
    let nothing = json!({});
    let room = "/waitlist/room-1";
    call("user-1", "POST", "/bookings", &wish(9)).await;
    let mut own = wait(2, 9);
    own.as_object_mut().unwrap().remove("userId");
    let joined = call("user-2", "POST", room, &own).await;
    assert_eq!(joined.json()["userId"], "user-2");
    let path = joined.headers["location"].to_str().unwrap();
    call("user-3", "POST", room, &wait(2, 9)).await.problem(403);
    let mut pushy = wait(3, 9);
    pushy["priority"] = json!(101);
    call("user-3", "POST", room, &pushy).await.problem(403);
    assert_eq!(call("boss", "POST", room, &pushy).await.status, 201);

    call("user-3", "GET", path, &nothing).await.problem(404);
    call("user-3", "DELETE", path, &nothing).await.problem(404);
    let accept = format!("{path}/accept");
    call("user-3", "POST", &accept, &nothing).await.problem(404);
    call("user-2", "POST", &accept, &nothing).await.problem(409);
    let elsewhere = path.replace("room-1", "room-2");
    call("user-2", "GET", &elsewhere, &nothing)
        .await
        .problem(404);

    let users = async |user: &str, query: &str| -> (Vec<Value>, Value) {
        let page = call(user, "GET", &format!("{room}{query}"), &nothing)
            .await
            .json();
        let items = page["items"].as_array().unwrap().iter();
        let users = items.map(|item| item["userId"].clone()).collect();
        (users, page["next"].clone())
    };
    assert_eq!(users("user-2", "").await.0, ["user-2"]);
    let (first, next) = users("boss", "?limit=1").await;
    assert_eq!(first, ["user-3"], "the newest first");
    let rest = format!("?limit=1&cursor={}", next.as_str().unwrap());
    assert_eq!(
        users("boss", &rest).await,
        (vec![json!("user-2")], Value::Null)
    );

    call(
        "user-3",
        "DELETE",
        "/waitlist/room-1?userId=user-2",
        &nothing,
    )
    .await
    .problem(403);
    let left = call("user-2", "DELETE", room, &nothing).await;
    assert_eq!(left.json(), json!({ "removed": 1 }));
}

#[tokio::test]
async fn one_user_waits_only_so_often_and_a_list_is_full_at_its_bound() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(13));
    running.book(&long).await;
    let minutes = |user: u32, minute: u32| {
        let mut wish = wait(user, 9);
        wish["startTime"] = json!(format!("2026-08-20T09:{minute:02}:00Z"));
        wish
    };
    for minute in 0..50 {
        running.join(&minutes(2, minute)).await;
    }
    let problem = running
        .post("/waitlist/room-1", &minutes(2, 50))
        .await
        .problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:waiting-too-often");
    running.join(&minutes(3, 50)).await;

    // The others come past the service.
    let mut database = connect(running.folder.path()).await;
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 949)
         INSERT INTO waitlist (id, resource_id, user_id, title, attendees_count, start_ms, end_ms,
                               priority, status, joined_ms, updated_ms)
         SELECT 'x' || n, 'room-1', 'user-4', '', 1, start_ms + n, end_ms, 0, 'waiting', 0, 0
         FROM number, (SELECT start_ms, end_ms FROM waitlist LIMIT 1)",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let problem = running
        .post("/waitlist/room-1", &minutes(3, 51))
        .await
        .problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:waitlist-full");
}

#[tokio::test]
async fn of_a_full_list_the_last_is_asked_if_only_they_fit() {
    let running = Running::with(BookingConfig::default(), Surroundings::default()).await;
    let mut long = wish(9);
    long["endTime"] = json!(time(13));
    let id = running.book(&long).await;
    running.book(&wish(13)).await;
    let last = running.join(&wait(2, 12)).await;
    // 999 others of a higher priority want a time of which the last hour is taken.
    let mut database = connect(running.folder.path()).await;
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 999)
         INSERT INTO waitlist (id, resource_id, user_id, title, attendees_count, start_ms, end_ms,
                               priority, status, joined_ms, updated_ms)
         SELECT 'x' || n, 'room-1', 'user-4', '', 1, start_ms + n, end_ms + 1, 9, 'waiting', 0, 0
         FROM number, (SELECT start_ms, end_ms FROM waitlist LIMIT 1)",
    )
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(running.stands(&last).await, ("waiting".into(), json!(1000)));
    running.step(&id, "cancel").await;
    assert_eq!(running.stands(&last).await.0, "promoted");
}
