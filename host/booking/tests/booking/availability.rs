//! When resources are free.

use serde_json::{Value, json};

use crate::running::{Running, connect, time, wish};

impl Running {
    async fn availability(&self, query: &str) -> Value {
        let answer = self.get(&format!("/availability?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(&mut connect(self.folder.path()).await)
            .await
            .unwrap();
    }
}

/// Stretches of 2026-08-20, by hours and minutes.
fn stretches(pairs: &[(&str, &str)]) -> Value {
    let at = |time: &str| format!("2026-08-20T{time}:00Z");
    pairs
        .iter()
        .map(|(start, end)| json!({ "startTime": at(start), "endTime": at(end) }))
        .collect()
}

const DAY: &str = "from=2026-08-20T00:00:00Z&to=2026-08-21T00:00:00Z";

#[tokio::test]
async fn free_is_what_is_open_and_neither_booked_nor_closed_nor_needed_after_a_booking() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    running.book(&wish(13)).await;
    let cancelled = running.book(&wish(16)).await;
    running.step(&cancelled, "cancel").await;
    running
        .sql(
            "UPDATE resources SET rules = '{\"openingHours\": {\"thursday\":
                [{\"from\": \"08:00\", \"to\": \"12:00\"}, {\"from\": \"13:00\", \"to\": \"18:00\"}]},
              \"bufferMinutes\": 15}' WHERE id = 'room-1'",
        )
        .await;
    // 15:30 to 16:30, and a booking that was there before the buffer.
    running
        .sql(
            "INSERT INTO unavailabilities VALUES
                ('u', 'room-1', 1787239800000, 1787243400000, 'painting', 0)",
        )
        .await;
    let late = running.book(&wish(17)).await;
    let page = running
        .availability(&format!("{DAY}&resource=room-1"))
        .await;
    let room = &page["items"][0];
    assert_eq!(room["resourceName"], "Aurora");
    assert_eq!(
        room["busy"],
        stretches(&[("09:00", "10:00"), ("13:00", "14:00"), ("17:00", "18:00")])
    );
    assert_eq!(room["unavailable"], stretches(&[("15:30", "16:30")]));
    assert_eq!(
        room["free"],
        stretches(&[
            ("08:00", "08:45"),
            ("10:00", "12:00"),
            ("14:00", "15:30"),
            ("16:30", "16:45")
        ])
    );
    assert!(!page.to_string().contains("user-1") && !page.to_string().contains(&late));
    // What is said to be free can be booked to its last minute, and not for a minute more.
    let mut whole = wish(14);
    for (end, status) in [("15:31", 409), ("15:30", 201)] {
        whole["endTime"] = json!(format!("2026-08-20T{end}:00Z"));
        assert_eq!(running.post("/bookings", &whole).await.status, status);
    }
    let mut early = wish(8);
    for (end, status) in [("08:46", 409), ("08:45", 201)] {
        early["endTime"] = json!(format!("2026-08-20T{end}:00Z"));
        assert_eq!(running.post("/bookings", &early).await.status, status);
    }
    let long = format!("{DAY}&resource=room-1&duration=60");
    let page = running.availability(&long).await;
    assert_eq!(page["items"][0]["free"], stretches(&[("10:00", "12:00")]));
}

#[tokio::test]
async fn bookings_that_reach_over_an_end_count_within_it() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!("2026-09-10T09:00:00Z");
    running.book(&long).await;
    let page = running
        .availability(&format!("{DAY}&resource=room-1"))
        .await;
    assert_eq!(page["items"][0]["free"], stretches(&[("00:00", "09:00")]));
    let inside = "from=2026-08-25T00:00:00Z&to=2026-08-26T00:00:00Z&resource=room-1";
    let page = running.availability(inside).await;
    assert_eq!(page["items"][0]["free"], json!([]));
    assert_eq!(
        page["items"][0]["busy"][0]["startTime"],
        "2026-08-25T00:00:00Z"
    );
}

#[tokio::test]
async fn resources_are_chosen_by_kind_place_and_capacity_and_paged() {
    let running = Running::new().await;
    running
        .sql("UPDATE resources SET kind = 'hall', place = 'Annex' WHERE id = 'room-4'")
        .await;
    let chosen = async |query: &str| -> Vec<String> {
        let page = running.availability(&format!("{DAY}&{query}")).await;
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["resourceId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(chosen("kind=room").await, ["room-1", "room-2", "room-3"]);
    assert_eq!(chosen("capacity=12").await, ["room-2", "room-3", "room-4"]);
    assert_eq!(chosen("place=Annex").await, ["room-4"]);
    assert_eq!(chosen("resource=room-2&kind=room").await, ["room-2"]);
    assert!(chosen("resource=room-2&kind=hall").await.is_empty());
    assert!(chosen("resource=room-9").await.is_empty());
    let first = running.availability(&format!("{DAY}&limit=3")).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let next = first["next"].as_str().unwrap();
    assert_eq!(chosen(&format!("limit=3&cursor={next}")).await, ["room-4"]);
}

#[tokio::test]
async fn a_year_is_answered_whole_and_no_more_than_a_year_is_asked_for() {
    let running = Running::new().await;
    // From 2026-08-20 an hour in three, for 366 days.
    running
        .sql(
            "WITH RECURSIVE hours (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM hours WHERE n < 2927)
             INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                                   blocked_until_ms, attendees_count, created_ms, updated_ms)
             SELECT 'b' || n, 'room-1', 'user-1', 't', 'confirmed', 1787184000000 + n * 10800000,
                    1787184000000 + n * 10800000 + 3600000, 1787184000000 + n * 10800000 + 3600000,
                    1, 0, 0
             FROM hours",
        )
        .await;
    let year = "from=2026-08-20T00:00:00Z&to=2027-08-21T00:00:00Z&resource=room-1";
    let page = running.availability(year).await;
    let count = |member: &str| page["items"][0][member].as_array().unwrap().len();
    assert_eq!((count("busy"), count("free")), (2928, 2928));
    let answer = running
        .get("/availability?from=2026-08-20T00:00:00Z&to=2027-08-21T00:00:01Z")
        .await;
    assert_eq!(answer.problem(422)["field"], "to");
    let answer = running
        .get("/availability?from=2026-08-20T00:00:00Z&to=2026-08-20T00:00:00Z")
        .await;
    assert_eq!(answer.problem(422)["field"], "to");
    let answer = running
        .get(&format!("/availability?{DAY}&duration=44641"))
        .await;
    assert_eq!(answer.problem(400)["field"], "duration");
    running.get("/availability").await.problem(400);
    assert_eq!(time(0), "2026-08-20T00:00:00Z", "where the year begins");
}
