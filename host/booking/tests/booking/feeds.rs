//! What stands in a feed when there is little, much, or something odd to show.

use std::time::Duration;

use carillon_booking::{BookingConfig, Surroundings};
use serde_json::{Value, json};

use crate::calendars::{lines, values};
use crate::running::{NOON_MS, Running, connect, quiet, time, wish};
use crate::waitlist::wait;

const DAY_MS: i64 = 86_400_000;

/// Inserts as many bookings of room-1 and user-1 with this status, one minute each from this day on.
async fn insert(running: &Running, status: &str, bookings: i64, from_ms: i64, updated_ms: i64) {
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
         INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               attendees_count, created_ms, updated_ms)
         SELECT ?2 || n || '-' || ?3, 'room-1', 'user-1', 't', ?2, ?3 + 60000 * n,
                ?3 + 60000 * (n + 1), 1, ?4, ?4
         FROM number",
    )
    .bind(bookings)
    .bind(status)
    .bind(from_ms)
    .bind(updated_ms)
    .execute(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
}

#[tokio::test]
async fn however_much_was_cancelled_what_stands_is_shown() {
    let running = Running::new().await;
    insert(&running, "cancelled", 6_000, NOON_MS, NOON_MS).await;
    // Who was told a month ago need not be told again.
    insert(
        &running,
        "cancelled",
        1,
        NOON_MS + 100 * DAY_MS,
        NOON_MS - 31 * DAY_MS,
    )
    .await;
    let id = running.book(&wish(9)).await;
    for of in ["resources/room-1", "users/user-1"] {
        let (_, url) = running.calendar(of).await;
        let feed = running.get(&url).await.text;
        let uids = values(&feed, "UID");
        assert!(uids.contains(&format!("{id}@carillon")), "{of}");
        assert_eq!(uids.len(), 501, "{of}");
    }
}

#[tokio::test]
async fn a_feed_without_bookings_is_a_calendar_all_the_same() {
    let running = Running::new().await;
    let (_, url) = running.calendar("users/user-1").await;
    let feed = running.get(&url).await;
    let begun: Vec<String> = lines(&feed.text)
        .into_iter()
        .filter(|line| line.starts_with("BEGIN:"))
        .collect();
    assert_eq!(
        begun,
        ["BEGIN:VCALENDAR", "BEGIN:VTIMEZONE", "BEGIN:STANDARD"]
    );
    running.book(&wish(9)).await;
    assert!(!running.get(&url).await.text.contains("VTIMEZONE"));
}

#[tokio::test]
async fn a_booking_of_a_month_is_shown_for_as_long_as_it_lasts() {
    let running = Running::new().await;
    sqlx::query(
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               blocked_until_ms, attendees_count, created_ms, updated_ms)
         VALUES ('long', 'room-1', 'user-1', 't', 'checked_in', ?1, ?2, ?2, 1, 0, 0)",
    )
    .bind(NOON_MS - 30 * DAY_MS - 3_600_000)
    .bind(NOON_MS + 3_600_000)
    .execute(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
    let (_, url) = running.calendar("resources/room-1").await;
    assert_eq!(
        values(&running.get(&url).await.text, "UID"),
        ["long@carillon"]
    );
}

#[tokio::test]
async fn whoever_leaves_early_is_shown_and_counted_until_then() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.clock.forward(Duration::from_secs(23 * 3600));
    running.step(&id, "check-in").await;
    running.clock.forward(Duration::from_secs(15 * 60));
    assert_eq!(running.step(&id, "check-out").await.status, 200);
    let mut next = wish(9);
    next["startTime"] = json!("2026-08-20T09:30:00Z");
    let next = running.book(&next).await;
    let (_, url) = running.calendar("resources/room-1").await;
    let feed = running.get(&url).await.text;
    assert_eq!(
        values(&feed, "DTEND"),
        ["20260820T091500Z", "20260820T100000Z"]
    );
    let usage = format!("/analytics/usage?from={}&to={}", time(0), time(24));
    let usage = running.get(&usage).await.json();
    assert_eq!(usage["resources"][0]["bookedMinutes"], 15 + 30);
    // A booking that was released after its end has its planned time, and no more.
    running.clock.forward(Duration::from_secs(30 * 60));
    running.step(&next, "check-in").await;
    running.clock.forward(Duration::from_secs(3600));
    running.step(&next, "check-out").await;
    let feed = running.get(&url).await.text;
    assert_eq!(values(&feed, "DTEND")[1], "20260820T100000Z");
}

#[tokio::test]
async fn what_was_held_and_given_back_is_in_no_calendar_and_was_not_cancelled() {
    let running = Running::new().await;
    let standing = running.book(&wish(9)).await;
    let entry = running.join(&wait(2, 9)).await;
    running.step(&standing, "cancel").await;
    let held = running.get(&entry).await.json()["bookingId"].clone();
    assert_eq!(running.leave(&entry).await.status, 204);
    let booking = running
        .get(&format!("/bookings/{}", held.as_str().unwrap()))
        .await;
    assert_eq!(booking.json()["status"], "expired", "{}", booking.text);
    let (_, url) = running.calendar("users/user-2").await;
    assert!(values(&running.get(&url).await.text, "UID").is_empty());
}

#[tokio::test]
async fn an_invitation_names_the_address_that_is_configured_for_answers() {
    let config = BookingConfig {
        calendar_organizer: Some("rooms@example.org".into()),
        ..quiet()
    };
    let running = Running::with(config, Surroundings::default()).await;
    running.book(&wish(9)).await;
    let events = running.events().await;
    let data: Value = serde_json::from_str(events.last().unwrap().data.get()).unwrap();
    assert_eq!(
        data["invitation"]["organizer"],
        json!({ "name": "Aurora", "email": "rooms@example.org" })
    );
}
