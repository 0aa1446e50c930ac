//! Conflicts from when they are told until they are over, and what the record keeps of them.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::resources::data;
use crate::running::{Running, connect, time, wish};
use crate::series::mondays;
use crate::waitlist::wait;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Running {
    /// The conflict that was told last.
    async fn last_conflict(&self) -> String {
        let events = self.events().await;
        let told = events
            .iter()
            .rev()
            .find(|event| event.kind.as_str() == "conflict.detected");
        data(told.unwrap())["conflictId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn open_conflicts(&self) -> i64 {
        self.look("SELECT count(*) FROM conflicts WHERE resolved_ms IS NULL")
            .await
    }
}

/// user-2 asks for what user-1 has.
fn wish_of_another(hour: u32) -> Value {
    let mut wanted = wish(hour);
    wanted["userId"] = json!("user-2");
    wanted
}

#[tokio::test]
async fn whoever_books_instead_gives_up_the_booking_that_was_in_conflict() {
    let running = Running::new().await;
    let mut long = wish(8);
    long["endTime"] = json!(time(10));
    let closed = running.book(&long).await;
    let waiting = running.join(&wait(3, 8)).await;
    running.close(9, 14).await;
    running.close(9, 10).await;
    let conflict = running.last_conflict().await;

    // Where there is no place everything is as it was.
    let mut taken = wish_of_another(9);
    taken["resourceId"] = json!("room-2");
    running.book(&taken).await;
    let told = running.events().await.len();
    let mut instead = wish(9);
    instead["resourceId"] = json!("room-2");
    instead["conflictId"] = json!(conflict);
    let refused = running.post("/bookings", &instead).await.problem(409);
    assert_eq!(running.status(&closed).await, "confirmed");
    assert_eq!(running.stands(&waiting).await.0, "waiting");
    assert_eq!(running.events().await.len(), told + 1);
    assert_eq!(running.open_conflicts().await, 3);

    // What was refused is about the same booking, whichever of its conflicts is named.
    instead["conflictId"] = refused["conflictId"].clone();
    instead["resourceId"] = json!("room-3");
    let id = running.book(&instead).await;
    assert_eq!(running.status(&closed).await, "cancelled");
    assert_eq!(
        running.last_kinds(6).await,
        [
            "booking.cancelled",
            "booking.created",
            "conflict.resolved",
            "conflict.resolved",
            "conflict.resolved",
            "waitlist.promoted"
        ]
    );
    let events = running.events().await;
    for resolved in &events[events.len() - 4..events.len() - 1] {
        assert_eq!(resolved.subject_id.as_deref(), Some(closed.as_str()));
        assert_eq!(data(resolved)["resolvedBy"], id);
    }
    assert_eq!(running.stands(&waiting).await.0, "promoted");
}

#[tokio::test]
async fn who_books_instead_may_stay_within_the_time_that_they_had() {
    let running = Running::new().await;
    let mut long = wish(8);
    long["endTime"] = json!(time(10));
    let closed = running.book(&long).await;
    running.close(9, 14).await;
    let mut instead = wish(8);
    instead["conflictId"] = json!(running.last_conflict().await);
    let id = running.book(&instead).await;
    assert_eq!(running.status(&closed).await, "cancelled");
    assert_eq!(running.status(&id).await, "confirmed");
    assert_eq!(running.open_conflicts().await, 0);
}

#[tokio::test]
async fn whose_people_are_inside_checks_them_out_by_booking_instead() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.step(&id, "check-in").await;
    running.close(9, 14).await;
    let mut instead = wish(9);
    instead["resourceId"] = json!("room-2");
    instead["conflictId"] = json!(running.last_conflict().await);
    running.book(&instead).await;
    assert_eq!(running.status(&id).await, "checked_out");
    assert_eq!(running.open_conflicts().await, 0);
}

#[tokio::test]
async fn what_is_held_for_somebody_ends_with_the_closing_and_is_no_conflict() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(11));
    let standing = running.book(&long).await;
    let mut wanted = wait(2, 9);
    wanted["endTime"] = json!(time(11));
    wanted["priority"] = json!(10);
    let held = running.join(&wanted).await;
    let rest = running.join(&wait(3, 10)).await;
    running.step(&standing, "cancel").await;
    assert_eq!(running.stands(&held).await.0, "promoted");

    let (_, affected) = running.close(9, 10).await;
    assert_eq!(affected, Vec::<String>::new());
    assert_eq!(
        running.last_kinds(3).await,
        [
            "resource.unavailable",
            "waitlist.expired",
            "waitlist.promoted"
        ]
    );
    let events = running.events().await;
    let reason = data(&events[events.len() - 2])["reason"].clone();
    assert!(reason.to_string().contains("heating"), "{reason}");
    assert_eq!(running.stands(&held).await.0, "expired");
    assert_eq!(running.stands(&rest).await.0, "promoted");
    running.accept(&held).await.problem(409);
}

#[tokio::test]
async fn a_booking_in_two_closed_times_leaves_the_conflict_with_each_of_them_by_itself() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(12));
    let id = running.book(&long).await;
    running.close(8, 10).await;
    running.close(11, 13).await;
    let later = running.last_conflict().await;
    let shorter = json!({ "endTime": time(11) });
    assert_eq!(running.patch(&id, "*", &shorter).await.status, 200);
    let events = running.events().await;
    let resolved = events.last().unwrap();
    assert_eq!(resolved.kind.as_str(), "conflict.resolved");
    assert_eq!(data(resolved)["conflictId"], later);
    assert_eq!(running.open_conflicts().await, 1);
    let away = json!({ "startTime": time(10), "endTime": time(11) });
    assert_eq!(running.patch(&id, "*", &away).await.status, 200);
    assert_eq!(running.open_conflicts().await, 0);
}

#[tokio::test]
async fn a_conflict_is_over_when_its_very_time_is_booked_or_accepted_after_all() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    running
        .post("/bookings", &wish_of_another(9))
        .await
        .problem(409);
    let mut third = wish(9);
    third["userId"] = json!("user-3");
    running.post("/bookings", &third).await.problem(409);
    let waiting = running.join(&wait(3, 9)).await;
    // Others' bookings, and other times, are not what was wanted.
    running.book(&wish_of_another(10)).await;
    assert_eq!(running.open_conflicts().await, 2);
    running.step(&standing, "cancel").await;
    assert_eq!(running.open_conflicts().await, 2);
    assert_eq!(running.accept(&waiting).await.status, 200);
    assert_eq!(
        running.last_kinds(2).await,
        ["booking.created", "conflict.resolved"]
    );
    assert_eq!(running.open_conflicts().await, 1);
    let entry = running.get(&waiting).await.json();
    let accepted = entry["bookingId"].as_str().unwrap();
    running.step(accepted, "cancel").await;
    let id = running.book(&wish_of_another(9)).await;
    assert_eq!(running.open_conflicts().await, 0);
    let events = running.events().await;
    assert_eq!(data(events.last().unwrap())["resolvedBy"], id);
}

#[tokio::test]
async fn a_series_resolves_the_conflict_that_it_names_and_those_of_its_times() {
    let running = Running::new().await;
    let mut taken = wish(9);
    taken["startTime"] = json!("2026-10-19T09:00:00Z");
    taken["endTime"] = json!("2026-10-19T10:00:00Z");
    taken["userId"] = json!("user-2");
    let taken = running.book(&taken).await;
    let mut wanted = mondays("2026-10-12", "UTC", "refuse");
    let conflict = running.post("/series", &wanted).await.problem(409)["conflictId"].clone();
    // The same rule an hour later.
    wanted["startTime"] = json!("2026-10-12T10:00:00");
    wanted["endTime"] = json!("2026-10-12T11:00:00");
    wanted["conflictId"] = conflict;
    let mut stranger = wanted.clone();
    stranger["userId"] = json!("user-3");
    let unknown = running.post("/series", &stranger).await.problem(422);
    assert_eq!(unknown["type"], "urn:carillon:problem:unknown-conflict");
    let ids = running.series(&wanted).await;
    let events = running.events().await;
    let resolved = events.last().unwrap();
    assert_eq!(resolved.kind.as_str(), "conflict.resolved");
    assert_eq!(data(resolved)["resolvedBy"], ids[0]);
    assert_eq!(running.open_conflicts().await, 0);

    let again = mondays("2026-10-12", "UTC", "refuse");
    running.post("/series", &again).await.problem(409);
    assert_eq!(running.open_conflicts().await, 1);
    running.step(&taken, "cancel").await;
    running.series(&again).await;
    assert_eq!(running.open_conflicts().await, 0);
}

#[tokio::test]
async fn conflicts_are_forgotten_a_month_after_the_time_that_was_wanted() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    running
        .post("/bookings", &wish_of_another(9))
        .await
        .problem(409);
    let all = "SELECT count(*) FROM conflicts";
    // From 2026-08-19T10:00Z on: the time that was wanted ends a day later at the same hour.
    running
        .clock
        .forward(30 * DAY + DAY - Duration::from_millis(1));
    running.booking.sweep_once().await.unwrap();
    assert_eq!(running.look(all).await, 1);
    running.clock.forward(Duration::from_millis(1));
    running.booking.sweep_once().await.unwrap();
    assert_eq!(running.look(all).await, 0);
}

#[tokio::test]
async fn the_record_says_who_met_a_conflict_and_what_ended_it() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let refused = running.post("/bookings", &wish_of_another(9)).await;
    let conflict = refused.problem(409)["conflictId"].clone();
    running.close(9, 10).await;
    running.step(&standing, "cancel").await;
    let mut instead = wish_of_another(9);
    instead["resourceId"] = json!("room-2");
    instead["conflictId"] = conflict.clone();
    let id = running.book(&instead).await;
    let rows =
        sqlx::query("SELECT action, before, after FROM audit WHERE subject_id = ? ORDER BY seq")
            .bind(conflict.as_str().unwrap())
            .fetch_all(&mut connect(running.folder.path()).await)
            .await
            .unwrap();
    let [detected, resolved] = &rows[..] else {
        panic!("{} entries", rows.len())
    };
    let state = |row: &SqliteRow, column: &str| -> Value {
        let text: Option<&str> = row.get(column);
        text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    };
    assert_eq!(detected.get::<&str, _>("action"), "conflict.detected");
    assert_eq!(state(detected, "before"), Value::Null);
    assert_eq!(state(detected, "after")["startTime"], time(9));
    assert_eq!(resolved.get::<&str, _>("action"), "conflict.resolved");
    assert_eq!(state(resolved, "before")["resolvedBy"], Value::Null);
    assert_eq!(state(resolved, "after")["resolvedBy"], id);
    let by_closing = "SELECT count(*) FROM audit WHERE subject_kind = 'conflict'
                      AND after ->> 'unavailabilityId' IS NOT NULL";
    assert_eq!(running.look(by_closing).await, 2);
}
