//! No two bookings hold one resource at one time, whoever tries.

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::json;

use crate::running::{Running, connect, wish};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_requests_for_one_slot_exactly_one_gets_it() {
    let running = Running::new().await;
    let wanted = wish(9);
    let answers = join_all((0..32).map(|_| running.post("/bookings", &wanted))).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(count(StatusCode::CREATED), 1);
    assert_eq!(count(StatusCode::CONFLICT), 31);
    let kinds = running.kinds().await;
    let told = |kind: &str| kinds.iter().filter(|told| *told == kind).count();
    assert_eq!(told("booking.created"), 1);
    assert_eq!(told("conflict.detected"), 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_random_wishes_the_granted_ones_never_overlap() {
    let running = Running::new().await;
    let wishes: Vec<_> = (0..300)
        .map(|_| {
            let start = rand::random_range(0..48_u32);
            let length = rand::random_range(1..6_u32);
            let mut wanted = wish(start);
            wanted["endTime"] = json!(crate::running::time(start + length));
            wanted["resourceId"] = json!(format!("room-{}", rand::random_range(1..=2)));
            wanted
        })
        .collect();
    let answers = join_all(
        wishes
            .iter()
            .map(|wanted| running.post("/bookings", wanted)),
    )
    .await;
    let granted = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    assert!(granted > 4);
    let overlaps: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM bookings AS a JOIN bookings AS b
         ON a.resource_id = b.resource_id AND a.id < b.id
         AND a.start_ms < b.end_ms AND b.start_ms < a.end_ms",
    )
    .fetch_one(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
    assert_eq!(overlaps, 0);
    // A wish is refused only for a booking that is really in its way.
    for (wanted, answer) in wishes.iter().zip(&answers) {
        if answer.status == StatusCode::CONFLICT {
            let problem = answer.json();
            let held = &problem["conflicts"][0];
            assert!(
                held["startTime"].as_str() < wanted["endTime"].as_str(),
                "{problem}"
            );
            assert!(
                held["endTime"].as_str() > wanted["startTime"].as_str(),
                "{problem}"
            );
        }
    }
}

#[tokio::test]
async fn the_database_itself_refuses_an_overlap_by_insert_or_update() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let free = running.book(&wish(12)).await;
    let ended = running.book(&wish(14)).await;
    running.step(&ended, "cancel").await;
    running.book(&wish(14)).await;
    let mut connection = connect(running.folder.path()).await;
    for past_the_service in [
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
             attendees_count, created_ms, updated_ms)
         SELECT 'x', resource_id, user_id, title, 'pending', start_ms + 1, end_ms + 1, end_ms + 1, 1, 0, 0
         FROM bookings ORDER BY start_ms LIMIT 1",
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
             attendees_count, created_ms, updated_ms)
         SELECT 'x', resource_id, user_id, title, 'confirmed', start_ms - 1, end_ms + 1, end_ms + 1, 1, 0, 0
         FROM bookings ORDER BY start_ms LIMIT 1",
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
             attendees_count, created_ms, updated_ms)
         SELECT 'x', resource_id, user_id, title, 'confirmed', start_ms + 1, end_ms - 1, end_ms - 1, 1, 0, 0
         FROM bookings ORDER BY start_ms LIMIT 1",
        "UPDATE bookings SET status = 'confirmed', blocked_until_ms = end_ms WHERE status = 'cancelled'",
        "UPDATE bookings SET start_ms = start_ms - 3 * 3600000 WHERE start_ms = (SELECT start_ms FROM bookings ORDER BY start_ms LIMIT 1 OFFSET 1)",
    ] {
        let error = sqlx::query(past_the_service)
            .execute(&mut connection)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("booking-overlap"), "{error}");
    }
    let moved =
        sqlx::query("UPDATE bookings SET blocked_until_ms = blocked_until_ms + 60000 WHERE id = ?")
            .bind(free)
            .execute(&mut connection)
            .await;
    assert_eq!(
        moved.unwrap().rows_affected(),
        1,
        "a booking is not in its own way"
    );
}
