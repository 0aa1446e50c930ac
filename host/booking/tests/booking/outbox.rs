//! Every committed change is told once, and nothing else is.

use std::collections::HashSet;

use axum::http::StatusCode;
use futures_util::future::join_all;
use sqlx::Connection;

use crate::running::{Running, connect, wish};

#[tokio::test]
async fn seeding_fills_an_empty_database_once_and_tells_of_each_row() {
    let running = Running::new().await;
    assert!(!running.booking.seed_demo().await.unwrap());
    let events = running.events().await;
    let subjects: Vec<_> = events
        .iter()
        .map(|event| (event.kind.to_string(), event.subject_id.clone().unwrap()))
        .collect();
    let expected: Vec<_> = (1..=4)
        .map(|number| ("resource.created".to_owned(), format!("room-{number}")))
        .chain((1..=7).map(|number| ("user.created".to_owned(), format!("user-{number}"))))
        .collect();
    assert_eq!(subjects, expected);
    assert!(events[0].user_id.is_none());
    assert!(
        events[10]
            .data
            .get()
            .contains("\"email\":\"user-7@example.com\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_change_made_at_the_same_time_has_exactly_one_event() {
    let running = Running::new().await;
    let wishes: Vec<_> = (0..100).map(wish).collect();
    let ids = join_all(wishes.iter().map(|wanted| running.book(wanted))).await;
    let cancels = join_all(ids.iter().map(|id| running.step(id, "cancel"))).await;
    assert!(cancels.iter().all(|answer| answer.status.is_success()));
    let events = running.events().await;
    for kind in ["booking.created", "booking.cancelled"] {
        let told: HashSet<_> = events
            .iter()
            .filter(|event| event.kind.as_str() == kind)
            .map(|event| event.subject_id.clone().unwrap())
            .collect();
        assert_eq!(told, ids.iter().cloned().collect(), "{kind}");
    }
    assert_eq!(events.len(), 11 + 200);
    let event_ids: HashSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(event_ids.len(), events.len());
}

#[tokio::test]
async fn a_change_whose_event_cannot_be_written_is_not_made_and_harms_no_other() {
    let running = Running::new().await;
    let mut connection = connect(running.folder.path()).await;
    sqlx::query(
        "CREATE TRIGGER broken BEFORE INSERT ON outbox WHEN instr(CAST(NEW.value AS TEXT), 'unspeakable') > 0
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let mut unspeakable = wish(9);
    unspeakable["title"] = "unspeakable".into();
    let (good, other) = (wish(10), wish(11));
    // By itself, before another and after another: what is committed together stands alone.
    let alone = running.post("/bookings", &unspeakable).await;
    let (before, good) = tokio::join!(
        running.post("/bookings", &unspeakable),
        running.post("/bookings", &good)
    );
    let (other, after) = tokio::join!(
        running.post("/bookings", &other),
        running.post("/bookings", &unspeakable)
    );
    for bad in [alone, before, after] {
        let problem = bad.problem(500);
        assert!(
            !problem.to_string().contains("no room"),
            "the cause is for the log"
        );
    }
    assert_eq!([good.status, other.status], [StatusCode::CREATED; 2]);
    let page = running.get("/bookings").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(running.kinds().await, ["booking.created"; 2]);
    let noted = "SELECT count(*) FROM audit WHERE action = 'booking.created'";
    assert_eq!(running.look(noted).await, 2);
    running.book(&wish(9)).await;
}
