//! One change that gives up several times: those who wait are asked once, after the last of them, so
//! that nobody is passed over who waits for more than one.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::history;
use crate::running::{Running, time, wish};
use crate::series::mondays;
use crate::waitlist::wait;

/// A wish to wait for room-1.
fn long_wait(user: u32, priority: u32, start: &str, end: &str) -> Value {
    let mut wish = wait(user, 9);
    wish["priority"] = json!(priority);
    wish["startTime"] = json!(start);
    wish["endTime"] = json!(end);
    wish
}

/// A series of two days, and the paths of those who wait: for both with all between them, for the
/// first, for the second.
async fn two_days_are_waited_for(running: &Running) -> (Vec<String>, [String; 3]) {
    let mut wanted = mondays("2026-10-12", "UTC", "refuse");
    wanted["rule"] = json!("FREQ=DAILY;COUNT=2");
    let ids = running.series(&wanted).await;
    let waits = [
        long_wait(2, 10, "2026-10-12T09:00:00Z", "2026-10-13T10:00:00Z"),
        long_wait(3, 0, "2026-10-12T09:00:00Z", "2026-10-12T10:00:00Z"),
        long_wait(4, 0, "2026-10-13T09:00:00Z", "2026-10-13T10:00:00Z"),
    ];
    let [both, first, second] = waits;
    let paths = [
        running.join(&both).await,
        running.join(&first).await,
        running.join(&second).await,
    ];
    (ids, paths)
}

impl Running {
    /// The first of these entries was asked, and the others still wait.
    async fn only_the_first_was_asked(&self, paths: &[String]) {
        assert_eq!(self.stands(&paths[0]).await.0, "promoted");
        for path in &paths[1..] {
            assert_eq!(self.stands(path).await.0, "waiting");
        }
        history::check(self.folder.path()).await;
    }
}

#[tokio::test]
async fn a_series_that_is_called_off_goes_to_who_waits_for_more_than_one_of_its_days() {
    let running = Running::new().await;
    let (ids, paths) = two_days_are_waited_for(&running).await;
    let off = running.step(&ids[0], "cancel?scope=all").await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text);
    running.only_the_first_was_asked(&paths).await;
}

#[tokio::test]
async fn a_series_that_moves_away_leaves_its_days_to_who_is_first_to_be_asked_for_any_of_them() {
    let running = Running::new().await;
    let (ids, _) = two_days_are_waited_for(&running).await;
    // The first waits for the second day only; the other one for the first, and both for the evening.
    let evening = long_wait(5, 20, "2026-10-12T17:00:00Z", "2026-10-13T10:00:00Z");
    let day = long_wait(6, 15, "2026-10-12T09:00:00Z", "2026-10-12T18:00:00Z");
    let paths = [running.join(&evening).await, running.join(&day).await];
    let elsewhere = json!({ "resourceId": "room-2" });
    let moved = running.patch_scope(&ids[0], "all", "*", &elsewhere).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
    running.only_the_first_was_asked(&paths).await;
}

#[tokio::test]
async fn what_a_removed_user_had_booked_goes_to_who_waits_for_more_than_one_of_it() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    running.book(&wish(10)).await;
    let paths = [
        running.join(&long_wait(2, 10, &time(9), &time(11))).await,
        running.join(&wait(3, 9)).await,
        running.join(&wait(4, 10)).await,
    ];
    let gone = running.delete("/users/user-1?bookings=cancel", "*").await;
    assert_eq!(gone.json()["cancelledBookings"], 2, "{}", gone.text);
    running.only_the_first_was_asked(&paths).await;
}

#[tokio::test]
async fn what_was_held_for_a_removed_user_goes_with_what_they_had_booked() {
    let running = Running::new().await;
    let mut others = wish(9);
    others["userId"] = json!("user-5");
    let others = running.book(&others).await;
    running.book(&wish(10)).await;
    let own = running.join(&long_wait(1, 20, &time(9), &time(10))).await;
    let paths = [
        running.join(&long_wait(2, 10, &time(9), &time(11))).await,
        running.join(&wait(3, 9)).await,
    ];
    running.step(&others, "cancel").await;
    assert_eq!(running.stands(&own).await.0, "promoted");
    running.delete("/users/user-1?bookings=cancel", "*").await;
    running.only_the_first_was_asked(&paths).await;
}

#[tokio::test]
async fn who_leaves_altogether_leaves_all_that_was_held_at_once() {
    let running = Running::new().await;
    let (nine, ten) = (running.book(&wish(9)).await, running.book(&wish(10)).await);
    for hour in [9, 10] {
        let entry = running
            .join(&long_wait(2, 20, &time(hour), &time(hour + 1)))
            .await;
        let id = [&nine, &ten][usize::from(hour == 10)];
        running.step(id, "cancel").await;
        assert_eq!(running.stands(&entry).await.0, "promoted");
    }
    let paths = [
        running.join(&long_wait(3, 10, &time(9), &time(11))).await,
        running.join(&wait(4, 9)).await,
        running.join(&wait(5, 10)).await,
    ];
    let left = running.leave("/waitlist/room-1?userId=user-2").await;
    assert_eq!(left.json(), json!({ "removed": 2 }));
    running.only_the_first_was_asked(&paths).await;
}
