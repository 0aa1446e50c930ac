//! A clock that is not always right.

use std::time::Duration;

use serde_json::{Value, json};

use crate::relay::told_again;
use crate::running::{Running, connect, wish};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

async fn make_a_user(running: &Running, id: &str) {
    let user = json!({
        "id": id, "email": "hana@example.com", "displayName": "Hana Novak",
        "timeZone": "Europe/Prague", "locale": "cs",
    });
    assert_eq!(running.post("/users", &user).await.status, 201);
}

/// When a booking of that hour is made, by the service.
async fn made_at(running: &Running, hour: u32) -> String {
    let booked = running.post("/bookings", &wish(hour)).await;
    assert_eq!(booked.status, 201, "{}", booked.text);
    booked.json()["createdAt"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_for_a_moment_is_forgotten_once_it_is_right() {
    let running = Running::new().await;
    running.clock.forward(YEAR);
    make_a_user(&running, "hana").await;
    running.clock.back(YEAR);
    assert_eq!(made_at(&running, 9).await, "2026-08-19T10:00:00Z");
    // Nor does it come back with the next start.
    running.clock.forward(YEAR);
    make_a_user(&running, "jan").await;
    running.clock.back(YEAR);
    let running = running.again().await;
    assert_eq!(made_at(&running, 10).await, "2026-08-19T10:00:00Z");
    // What was dated then is not in the window for a year.
    sqlx::query("UPDATE outbox SET sent_ms = 1")
        .execute(&mut connect(running.folder.path()).await)
        .await
        .unwrap();
    assert_eq!(running.events().await.len(), 11 + 4);
    assert_eq!(told_again(&running.booking).await, 11 + 2);
    // Entries of the record are found by what the clock said.
    let audit = running.get("/audit?from=2027-01-01T00:00:00Z").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 2, "{audit}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_a_little_waits_so_that_changes_keep_their_order() {
    let running = Running::new().await;
    running.clock.forward(Duration::from_secs(30));
    assert_eq!(made_at(&running, 9).await, "2026-08-19T10:00:30Z");
    running.clock.back(Duration::from_secs(30));
    assert_eq!(made_at(&running, 10).await, "2026-08-19T10:00:30Z");
}

#[tokio::test]
async fn whoever_follows_the_audit_record_misses_nothing_after_a_clock_was_ahead() {
    let running = Running::new().await;
    let read = async |query: &str| running.get(&format!("/audit?{query}")).await.json();
    let subjects = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|entry| entry["subjectId"].as_str().unwrap().to_owned())
            .collect()
    };
    running.clock.forward(YEAR);
    make_a_user(&running, "ahead").await;
    make_a_user(&running, "ahead-too").await;
    // The demo's entries, and the first of a year ahead.
    let page = read("limit=12").await;
    assert_eq!(subjects(&page).last().unwrap(), "ahead");
    let cursor = page["next"].as_str().unwrap().to_owned();
    running.clock.back(YEAR);
    make_a_user(&running, "right").await;
    let rest = read(&format!("cursor={cursor}")).await;
    assert_eq!(subjects(&rest), ["ahead-too", "right"]);

    // Whoever asks for times gets them in their order.
    for query in ["action=user.created", "from=2026-01-01T00:00:00Z"] {
        let found = subjects(&read(query).await);
        assert!(found.ends_with(&["right", "ahead", "ahead-too"].map(str::to_owned)));
    }
    // An export is in the same orders.
    for (query, last) in [("", "right"), ("?action=user.created", "ahead-too")] {
        let lines = running.get(&format!("/audit/export{query}")).await.text;
        let line: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(line["subjectId"], last, "{query}");
    }
}
