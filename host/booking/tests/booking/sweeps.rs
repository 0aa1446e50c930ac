//! What is due without anybody asking for it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use carillon_booking::{Booking, BookingConfig, Surroundings, Swept};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::history;
use crate::running::{Running, connect, time, until, wish};
use crate::waitlist::{HOLD, wait};

impl Running {
    pub(crate) async fn sweep(&self) -> Swept {
        self.booking.sweep_once().await.unwrap()
    }

    pub(crate) async fn status(&self, id: &str) -> Value {
        self.get(&format!("/bookings/{id}")).await.json()["status"].clone()
    }

    /// `eventData.reason` of the newest event.
    async fn last_reason(&self) -> String {
        let events = self.events().await;
        let data: Value = serde_json::from_str(events.last().unwrap().data.get()).unwrap();
        data["reason"].as_str().unwrap_or_default().to_owned()
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// From the start of the clock to 2026-08-20T00:00:00Z.
const TO_MIDNIGHT: Duration = Duration::from_secs(14 * 3600);

#[tokio::test]
async fn a_hold_that_is_not_accepted_expires_and_the_next_is_asked() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entries = [
        running.join(&wait(2, 9)).await,
        running.join(&wait(3, 9)).await,
    ];
    running.step(&standing, "cancel").await;
    running.clock.forward(HOLD - Duration::from_millis(1));
    assert_eq!(running.sweep().await, Swept::default());
    running.clock.forward(Duration::from_millis(1));
    let swept = running.sweep().await;
    assert_eq!(
        swept,
        Swept {
            holds: 1,
            ..Swept::default()
        }
    );
    assert_eq!(running.stands(&entries[0]).await.0, "expired");
    assert_eq!(running.stands(&entries[1]).await.0, "promoted");
    running.accept(&entries[0]).await.problem(409);
    // No event tells of a booking that never was.
    assert_eq!(
        running.kinds().await,
        [
            "booking.created",
            "waitlist.joined",
            "waitlist.joined",
            "booking.cancelled",
            "waitlist.promoted",
            "waitlist.expired",
            "waitlist.promoted",
        ]
    );
    // The last hold ends and leaves the time free.
    running.clock.forward(HOLD);
    running.sweep().await;
    running.book(&wish(9)).await;
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn who_accepts_too_late_is_refused_even_before_the_sweep_and_the_next_is_asked() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entries = [
        running.join(&wait(2, 9)).await,
        running.join(&wait(3, 9)).await,
    ];
    running.step(&standing, "cancel").await;
    running.clock.forward(HOLD);
    let problem = running.accept(&entries[0]).await.problem(409);
    assert_eq!(problem["entryStatus"], "expired");
    assert_eq!(running.stands(&entries[0]).await.0, "expired");
    assert_eq!(running.stands(&entries[1]).await.0, "promoted");
    assert_eq!(running.sweep().await, Swept::default());
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn a_hold_ends_at_the_latest_when_what_it_holds_begins() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entry = running.join(&wait(2, 9)).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR - MINUTE);
    running.step(&standing, "cancel").await;
    assert_eq!(running.get(&entry).await.json()["holdUntil"], time(9));
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.holds, 1);
    assert_eq!(running.stands(&entry).await.0, "expired");
    assert_eq!(running.last_reason().await, "it was not accepted in time");
}

#[tokio::test]
async fn whoever_waits_in_vain_is_told_when_their_time_comes() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    running.step(&standing, "check-in").await;
    let entry = running.join(&wait(2, 9)).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR - MINUTE);
    assert_eq!(running.sweep().await, Swept::default());
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.waits, 1);
    assert_eq!(running.stands(&entry).await.0, "expired");
    assert!(running.last_reason().await.contains("did not become free"));
    assert_eq!(running.sweep().await, Swept::default());
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn a_booking_to_which_nobody_comes_is_missed_after_its_grace_and_the_rest_is_given_away() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(11));
    let missed = running.book(&long).await;
    let come = running.book(&wish(8)).await;
    running.step(&come, "check-in").await;
    let entry = running.join(&wait(2, 10)).await;
    running
        .clock
        .forward(TO_MIDNIGHT + 9 * HOUR + 15 * MINUTE - Duration::from_millis(1));
    assert_eq!(running.sweep().await.missed, 0);
    running.clock.forward(Duration::from_millis(1));
    assert_eq!(running.sweep().await.missed, 1);
    assert_eq!(running.status(&missed).await, "no_show");
    assert_eq!(running.stands(&entry).await.0, "promoted");
    let events = running.events().await;
    let told = events
        .iter()
        .find(|event| event.kind.as_str() == "booking.no_show")
        .unwrap();
    assert!(
        told.data
            .get()
            .contains("nobody checked in within 15 minutes"),
        "{}",
        told.data.get()
    );
    history::check(running.folder.path()).await;
}

#[tokio::test]
async fn the_grace_is_that_of_the_resource_and_nought_means_never() {
    let config = BookingConfig {
        no_show_after_minutes: 0,
        ..BookingConfig::default()
    };
    let running = Running::with(config, Surroundings::default()).await;
    let mut elsewhere = wish(9);
    elsewhere["resourceId"] = json!("room-2");
    let never = running.book(&elsewhere).await;
    running.rule(&json!({ "noShowAfterMinutes": 5 })).await;
    let missed = running.book(&wish(9)).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 5 * MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
    assert_eq!(running.status(&missed).await, "no_show");
    running.clock.forward(24 * HOUR);
    assert_eq!(running.sweep().await.missed, 0);
    assert_eq!(running.status(&never).await, "confirmed");
}

#[tokio::test]
async fn a_booking_that_nobody_leaves_is_released_after_its_end() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.step(&id, "check-in").await;
    running.clock.forward(TO_MIDNIGHT + 10 * HOUR + 14 * MINUTE);
    assert_eq!(running.sweep().await, Swept::default());
    running.clock.forward(MINUTE);
    assert_eq!(running.sweep().await.overstayed, 1);
    assert_eq!(running.status(&id).await, "checked_out");
    assert!(running.last_reason().await.contains("nobody checked out"));
    assert_eq!(running.sweep().await, Swept::default());
}

#[tokio::test]
async fn answers_are_forgotten_when_they_were_kept_long_enough() {
    let running = Running::new().await;
    let keyed = async |hour: u32| {
        let request = Request::post("/bookings")
            .header("content-type", "application/json")
            .header("idempotency-key", "k-1")
            .body(Body::from(wish(hour).to_string()))
            .unwrap();
        running.send(request).await
    };
    keyed(9).await;
    let kept = Duration::from_secs(BookingConfig::default().idempotency_s);
    running.clock.forward(kept - Duration::from_millis(1));
    assert_eq!(running.sweep().await.answers, 0);
    keyed(40).await.problem(422);
    running.clock.forward(Duration::from_millis(1));
    assert_eq!(running.sweep().await.answers, 1);
    assert_eq!(keyed(40).await.status, 201);
}

#[tokio::test]
async fn a_backlog_of_any_length_is_done_in_one_sweep() {
    let running = Running::new().await;
    for hour in 0..100 {
        running.book(&wish(hour)).await;
    }
    running.clock.forward(5 * 24 * HOUR);
    assert_eq!(running.sweep().await.missed, 100);
    let kinds = running.kinds().await;
    let told = kinds.iter().filter(|kind| *kind == "booking.no_show");
    assert_eq!(told.count(), 100);
}

#[tokio::test]
async fn one_node_sweeps_at_a_time_and_a_dead_one_is_followed_when_its_lease_runs_out() {
    let running = Running::new().await;
    let other = Booking::open_at(
        running.folder.path(),
        BookingConfig::default(),
        running.clock.clock(),
    )
    .await
    .unwrap();
    running.book(&wish(9)).await;
    let mut later = wish(9);
    later["resourceId"] = json!("room-2");
    later["startTime"] = json!("2026-08-20T09:00:05Z");
    let later = running.book(&later).await;
    running.clock.forward(TO_MIDNIGHT + 9 * HOUR + 15 * MINUTE);
    assert_eq!(running.sweep().await.missed, 1);
    // The lease of the first one lasts when something else is due.
    running.clock.forward(Duration::from_secs(5));
    let left = other.sweep_once().await.unwrap();
    assert_eq!((left.missed, left.left_to_another), (0, true));
    assert_eq!(running.status(&later).await, "confirmed");
    // It is dead: ten seconds after its last work its lease has run out.
    running.clock.forward(Duration::from_secs(5));
    let done = other.sweep_once().await.unwrap();
    assert_eq!((done.missed, done.left_to_another), (1, false));
    assert_eq!(running.status(&later).await, "no_show");
}

#[tokio::test]
async fn a_service_with_nothing_to_do_writes_nothing() {
    let running = Running::new().await;
    let leases = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM leases")
            .fetch_one(&mut connect(running.folder.path()).await)
            .await
            .unwrap()
    };
    running.book(&wish(9)).await;
    running.sweep().await;
    assert_eq!(leases().await, 0);
    running.clock.forward(2 * 24 * HOUR);
    running.sweep().await;
    assert_eq!(leases().await, 1);
}

#[tokio::test]
async fn the_sweeper_sweeps_by_itself_and_lets_go_of_its_lease_when_it_stops() {
    let config = BookingConfig {
        sweep_every_ms: 10,
        ..BookingConfig::default()
    };
    let running = Running::with(config, Surroundings::default()).await;
    let id = running.book(&wish(9)).await;
    let (stop, stopped) = watch::channel(false);
    let sweeper = tokio::spawn(running.booking.sweeper(stopped));
    running.clock.forward(TO_MIDNIGHT + 10 * HOUR);
    until("a missed booking", async || {
        (running.status(&id).await == "no_show").then_some(())
    })
    .await;
    stop.send(true).unwrap();
    sweeper.await.unwrap();
    let leases: i64 = sqlx::query_scalar("SELECT count(*) FROM leases")
        .fetch_one(&mut connect(running.folder.path()).await)
        .await
        .unwrap();
    assert_eq!(leases, 0);
}

#[tokio::test]
async fn what_cannot_be_done_does_not_keep_the_rest_from_being_done() {
    let running = Running::new().await;
    let mut bad = wish(9);
    bad["title"] = json!("unspeakable");
    let bad = running.book(&bad).await;
    let good = running.book(&wish(10)).await;
    sqlx::query(
        "CREATE TRIGGER broken BEFORE INSERT ON outbox WHEN instr(CAST(NEW.value AS TEXT), 'unspeakable') > 0
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .execute(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
    running.clock.forward(TO_MIDNIGHT + 11 * HOUR);
    running.booking.sweep_once().await.unwrap_err();
    assert_eq!(running.status(&bad).await, "confirmed");
    assert_eq!(running.status(&good).await, "no_show");
}
