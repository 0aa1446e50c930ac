//! What is possible when: steps that are due, and changes of what was booked.

use std::time::Duration;

use carillon_booking::{BookingConfig, Surroundings};
use serde_json::{Value, json};

use crate::history;
use crate::roles::{Role, with_tokens};
use crate::running::{Running, quiet, time, wish};
use crate::waitlist::wait;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// From the start of the clock to 2026-08-20T00:00:00Z.
const TO_MIDNIGHT: Duration = Duration::from_secs(14 * 3600);

/// A service that lets people check in half an hour before their time.
async fn punctual() -> Running {
    let config = BookingConfig {
        check_in_early_minutes: 30,
        ..quiet()
    };
    Running::with(config, Surroundings::default()).await
}

/// From nine to this hour.
fn until(hour: u32) -> Value {
    let mut wanted = wish(9);
    wanted["endTime"] = json!(time(hour));
    wanted
}

impl Running {
    async fn reason_against(&self, id: &str, step: &str) -> String {
        let problem = self.step(id, step).await.problem(409);
        assert_eq!(problem["type"], "urn:carillon:problem:impossible-step");
        problem["reason"].as_str().unwrap().to_owned()
    }

    async fn of(&self, id: &str, member: &str) -> Value {
        self.get(&format!("/bookings/{id}")).await.json()[member].clone()
    }
}

#[tokio::test]
async fn people_check_in_when_their_time_is_near_and_not_when_it_is_over() {
    let running = punctual().await;
    let id = running.book(&wish(9)).await;
    assert_eq!(
        running.reason_against(&id, "check-in").await,
        "it is too early; its people can check in from 2026-08-20T08:30:00Z on"
    );
    running.clock.forward(TO_MIDNIGHT + 8 * HOUR + 30 * MINUTE);
    let other = running.book(&wish(10)).await;
    assert_eq!(running.step(&id, "check-in").await.status, 200);
    running.clock.forward(2 * HOUR + 30 * MINUTE);
    assert_eq!(
        running.reason_against(&other, "check-in").await,
        "it is over"
    );
}

#[tokio::test]
async fn nobody_has_missed_what_has_not_begun_and_what_is_over_is_not_confirmed() {
    let running = punctual().await;
    let id = running.book(&wish(9)).await;
    let mut pending = wish(9);
    pending["resourceId"] = json!("room-4");
    let pending = running.book(&pending).await;
    running
        .clock
        .forward(TO_MIDNIGHT + 9 * HOUR - Duration::from_millis(1));
    assert_eq!(
        running.reason_against(&id, "no-show").await,
        "it has not begun yet"
    );
    running.clock.forward(Duration::from_millis(1));
    assert_eq!(running.step(&id, "no-show").await.status, 200);
    running.clock.forward(HOUR);
    assert_eq!(
        running.reason_against(&pending, "confirm").await,
        "it is over"
    );
}

#[tokio::test]
async fn who_books_while_the_time_runs_has_the_grace_from_then_on() {
    let running = punctual().await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 20 * MINUTE);
    let walked_in = running.book(&wish(9)).await;
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(14 * MINUTE);
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
    assert_eq!(running.of(&walked_in, "status").await, "no_show");
}

#[tokio::test]
async fn another_title_or_end_does_not_put_off_the_grace_and_another_start_does() {
    let running = punctual().await;
    let at = |resource: &str| {
        let mut wanted = until(12);
        wanted["resourceId"] = json!(resource);
        wanted
    };
    let renamed = running.book(&at("room-1")).await;
    let shortened = running.book(&at("room-2")).await;
    let moved = running.book(&at("room-3")).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 10 * MINUTE);
    for (id, edit) in [
        (&shortened, json!({ "endTime": time(11) })),
        (
            &moved,
            json!({ "resourceId": "room-2", "startTime": time(11) }),
        ),
        (&renamed, json!({ "title": "Still to come" })),
    ] {
        let edited = running.patch(id, "*", &edit).await;
        assert_eq!(edited.status, 200, "{}", edited.text);
    }
    running.clock.forward(5 * MINUTE);
    assert_eq!(running.sweep().await.missed, 2);
    assert_eq!(running.of(&renamed, "status").await, "no_show");
    assert_eq!(running.of(&shortened, "status").await, "no_show");
    running.clock.forward(2 * HOUR - 5 * MINUTE);
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(5 * MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
}

#[tokio::test]
async fn who_moves_while_the_time_runs_has_the_grace_from_then_on() {
    let running = punctual().await;
    let id = running.book(&until(12)).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 10 * MINUTE);
    let edit = json!({ "resourceId": "room-2" });
    assert_eq!(running.patch(&id, "*", &edit).await.status, 200);
    running.clock.forward(14 * MINUTE);
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
}

#[tokio::test]
async fn who_moves_to_what_has_begun_or_is_approved_late_has_the_grace_from_then_on() {
    let running = punctual().await;
    let mut later = wish(12);
    later["resourceId"] = json!("room-2");
    let later = running.book(&later).await;
    let mut wanted = until(12);
    wanted["resourceId"] = json!("room-4");
    let approved = running.book(&wanted).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 10 * MINUTE);
    let edit = json!({ "startTime": time(9) });
    let moved = running.patch(&later, "*", &edit).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert_eq!(running.step(&approved, "confirm").await.status, 200);
    running.clock.forward(14 * MINUTE);
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.missed, 2);
}

#[tokio::test]
async fn another_title_of_a_series_does_not_put_off_the_grace_either() {
    let running = punctual().await;
    let mut wanted = crate::series::mondays("2026-08-20", "UTC", "refuse");
    wanted["rule"] = json!("FREQ=DAILY;COUNT=1");
    let [id] = &running.series(&wanted).await[..] else {
        panic!("one occurrence");
    };
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 10 * MINUTE);
    let edit = json!({ "title": "Still to come" });
    let edited = running.patch_scope(id, "all", "*", &edit).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
    running.clock.forward(5 * MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
}

#[tokio::test]
async fn what_began_while_the_service_was_away_is_not_missed_when_it_comes_back() {
    let running = punctual().await;
    running.book(&until(12)).await;
    running.clock.forward(TO_MIDNIGHT + 10 * HOUR);
    let running = running.again().await;
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(15 * MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
}

#[tokio::test]
async fn what_was_over_when_the_service_came_back_was_missed_by_nobody() {
    let running = punctual().await;
    let id = running.book(&wish(9)).await;
    running.clock.forward(TO_MIDNIGHT + 10 * HOUR);
    let running = running.again().await;
    running.clock.forward(HOUR);
    assert_eq!(running.sweep().await.missed, 0);
    assert_eq!(running.of(&id, "status").await, "confirmed");
}

#[tokio::test]
async fn what_nobody_approves_in_time_gives_its_time_back() {
    let running = punctual().await;
    let mut wanted = until(12);
    wanted["resourceId"] = json!("room-4");
    let id = running.book(&wanted).await;
    running
        .clock
        .forward(TO_MIDNIGHT + 9 * HOUR + 15 * MINUTE - Duration::from_millis(1));
    assert_eq!(running.sweep().await.unapproved, 0);
    running.clock.forward(Duration::from_millis(1));
    assert_eq!(running.sweep().await.unapproved, 1);
    assert_eq!(running.of(&id, "status").await, "cancelled");
    assert_eq!(running.kinds().await.last().unwrap(), "booking.cancelled");
    assert_eq!(running.sweep().await.unapproved, 0);
    wanted["startTime"] = json!(time(10));
    running.book(&wanted).await;
}

#[tokio::test]
async fn without_a_grace_what_nobody_approves_waits_until_it_is_over() {
    let config = BookingConfig {
        no_show_after_minutes: 0,
        ..quiet()
    };
    let running = Running::with(config, Surroundings::default()).await;
    let mut wanted = wish(9);
    wanted["resourceId"] = json!("room-4");
    let id = running.book(&wanted).await;
    running.clock.forward(TO_MIDNIGHT + 10 * HOUR - MINUTE);
    assert_eq!(running.sweep().await.unapproved, 0);
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.unapproved, 1);
    assert_eq!(running.of(&id, "status").await, "cancelled");
}

#[tokio::test]
async fn who_is_there_changes_the_end_and_nothing_else_of_the_time() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.step(&id, "check-in").await;
    for elsewhere in [
        json!({ "startTime": time(12), "endTime": time(13) }),
        json!({ "resourceId": "room-2" }),
    ] {
        let problem = running.patch(&id, "*", &elsewhere).await.problem(409);
        assert_eq!(problem["bookingStatus"], "checked_in", "{problem}");
    }
    let longer = json!({ "endTime": time(11) });
    let answer = running.patch(&id, "*", &longer).await;
    assert_eq!(answer.json()["endTime"], time(11), "{}", answer.text);
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn more_than_was_approved_is_approved_anew_and_less_is_not() {
    let running = with_tokens(quiet()).await;
    let id = running.pending_of("user-1", 9).await;
    let path = format!("/bookings/{id}");
    let status = async |role: Role, body: Value| {
        let answer = running.by(role, "PATCH", &path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["status"].clone()
    };
    let confirm = async || {
        let confirmed = running
            .by(Role::Staff, "POST", &format!("{path}/confirm"), &json!({}))
            .await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    };
    confirm().await;
    let shorter = json!({ "endTime": "2026-08-20T09:30:00Z" });
    assert_eq!(status(Role::User, shorter).await, "confirmed");
    let title = json!({ "title": "Another" });
    assert_eq!(status(Role::User, title).await, "confirmed");
    let later = json!({ "startTime": time(12), "endTime": time(18) });
    assert_eq!(status(Role::User, later).await, "pending");
    confirm().await;
    let crowd = json!({ "attendeesCount": 6 });
    assert_eq!(status(Role::User, crowd).await, "pending");
    confirm().await;
    // Those who approve need not ask themselves.
    let moved = json!({ "startTime": time(13), "endTime": time(19) });
    assert_eq!(status(Role::Staff, moved).await, "confirmed");
    running
        .by(Role::User, "POST", &format!("{path}/check-in"), &json!({}))
        .await;
    let longer = json!({ "endTime": time(23) });
    let problem = running.by(Role::User, "PATCH", &path, &longer).await;
    assert_eq!(problem.problem(409)["rule"], "needs-approval");
    assert_eq!(status(Role::Staff, longer).await, "checked_in");
}

#[tokio::test]
async fn what_was_booked_under_other_rules_can_be_shortened_and_stay_longer() {
    let running = Running::new().await;
    let id = running.book(&until(11)).await;
    running
        .rule(&json!({ "minLeadMinutes": 120, "bufferMinutes": 0 }))
        .await;
    running.clock.forward(TO_MIDNIGHT + 8 * HOUR);
    for end in [10, 12] {
        let answer = running
            .patch(&id, "*", &json!({ "endTime": time(end) }))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let sooner = json!({ "startTime": "2026-08-20T08:30:00Z", "endTime": time(12) });
    let problem = running.patch(&id, "*", &sooner).await.problem(409);
    assert_eq!(problem["rule"], "too-soon");
}

#[tokio::test]
async fn a_new_title_takes_no_more_time_though_the_buffer_has_grown() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.book(&wish(10)).await;
    running.rule(&json!({ "bufferMinutes": 30 })).await;
    let title = json!({ "title": "Another" });
    let answer = running.patch(&id, "*", &title).await;
    assert_eq!(answer.json()["blockedUntil"], time(10), "{}", answer.text);
    let same = running.patch(&id, "*", &title).await.json();
    assert_eq!(same["version"], 2, "nothing is different");
    // Nor does it take time to give some back; another time needs what the rules of today say.
    let sooner = json!({ "endTime": "2026-08-20T09:45:00Z" });
    let answer = running.patch(&id, "*", &sooner).await;
    assert_eq!(answer.json()["blockedUntil"], time(10), "{}", answer.text);
    let elsewhere = json!({ "startTime": time(8), "endTime": "2026-08-20T09:45:00Z" });
    running.patch(&id, "*", &elsewhere).await.problem(409);
}

#[tokio::test]
async fn a_change_that_meets_another_booking_names_the_resource_and_no_conflict_to_send_along() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.book(&wish(10)).await;
    let longer = json!({ "endTime": time(11) });
    let problem = running.patch(&id, "*", &longer).await.problem(409);
    assert_eq!(problem["resourceId"], "room-1");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("Choose one of the alternatives."),
        "{detail}"
    );
}

#[tokio::test]
async fn nothing_is_moved_on_a_resource_that_is_gone() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.clock.forward(TO_MIDNIGHT + 11 * HOUR);
    let request = axum::http::Request::delete("/resources/room-1")
        .header("if-match", "*")
        .body(axum::body::Body::empty())
        .unwrap();
    let removed = running.send(request).await;
    assert!(removed.status.is_success(), "{}", removed.text);
    let later = json!({ "startTime": time(33), "endTime": time(34) });
    let problem = running.patch(&id, "*", &later).await.problem(422);
    assert_eq!(problem["type"], "urn:carillon:problem:unknown-resource");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no resource \"room-1\""), "{detail}");
}

#[tokio::test]
async fn who_leaves_early_leaves_the_time_in_which_the_resource_is_made_ready() {
    let running = Running::new().await;
    running.rule(&json!({ "bufferMinutes": 30 })).await;
    let id = running.book(&until(12)).await;
    assert_eq!(
        running.of(&id, "blockedUntil").await,
        "2026-08-20T12:30:00Z"
    );
    running.step(&id, "check-in").await;
    let early = running.join(&wait(2, 10)).await;
    let ready = running.join(&wait(3, 11)).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 45 * MINUTE);
    running.step(&id, "check-out").await;
    assert_eq!(
        running.of(&id, "blockedUntil").await,
        "2026-08-20T10:15:00Z"
    );
    // From ten on is too soon for whoever comes next, eleven is not.
    assert_eq!(running.stands(&early).await.0, "waiting");
    assert_eq!(running.stands(&ready).await.0, "promoted");
    running.post("/bookings", &wish(10)).await.problem(409);
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn rules_that_allow_more_ask_those_who_wait() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entry = running.join(&wait(2, 9)).await;
    running.rule(&json!({ "minDurationMinutes": 90 })).await;
    running.step(&standing, "cancel").await;
    assert_eq!(running.stands(&entry).await.0, "waiting");
    let request = axum::http::Request::patch("/resources/room-1")
        .header("content-type", "application/json")
        .header("if-match", "*")
        .body(axum::body::Body::from(json!({ "rules": {} }).to_string()))
        .unwrap();
    let answer = running.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(running.stands(&entry).await.0, "promoted");
}

#[tokio::test]
async fn events_give_times_as_the_clocks_at_the_resource_show_them() {
    let running = Running::new().await;
    let request = axum::http::Request::patch("/resources/room-1")
        .header("content-type", "application/json")
        .header("if-match", "*")
        .body(axum::body::Body::from(
            json!({ "timeZone": "Europe/Berlin" }).to_string(),
        ))
        .unwrap();
    assert_eq!(running.send(request).await.status, 200);
    let booked = running.book(&wish(9)).await;
    running.join(&wait(2, 9)).await;
    running.step(&booked, "cancel").await;
    running.book(&wish(12)).await;
    running.post("/bookings", &wish(12)).await.problem(409);
    let events = running.events().await;
    let told = |kind: &str, field: &str| -> Value {
        let event = events.iter().rfind(|event| event.kind.as_str() == kind);
        let data: Value = serde_json::from_str(event.unwrap().data.get()).unwrap();
        data[field].clone()
    };
    for (kind, field, time) in [
        (
            "booking.cancelled",
            "startTime",
            "2026-08-20T11:00:00+02:00",
        ),
        (
            "waitlist.promoted",
            "desiredEndTime",
            "2026-08-20T12:00:00+02:00",
        ),
        (
            "waitlist.promoted",
            "holdUntil",
            "2026-08-19T12:15:00+02:00",
        ),
        ("conflict.detected", "endTime", "2026-08-20T15:00:00+02:00"),
    ] {
        assert_eq!(told(kind, field), time, "{kind}");
    }
    // The API speaks UTC to everybody.
    assert_eq!(running.of(&booked, "startTime").await, time(9));
}
