//! Places in the queue, against a count that is plain to see.
#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;

use sqlx::{Connection, Row, SqliteConnection};

use super::*;
use crate::rules::Rules;

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::migrate!().run(&mut connection).await.unwrap();
    for (sql, ids) in [
        (
            "INSERT INTO resources (id, name, kind, capacity, requires_approval, created_ms)
             VALUES (?, '', '', 8, 0, 0)",
            ["a", "b"],
        ),
        (
            "INSERT INTO users (id, display_name, email, time_zone, locale, created_ms)
             VALUES (?, '', '', '', '', 0)",
            ["u", "v"],
        ),
    ] {
        for id in ids {
            let query = sqlx::query(sql).bind(id);
            query.execute(&mut connection).await.unwrap();
        }
    }
    connection
}

#[tokio::test]
async fn a_page_of_entries_is_a_walk_from_the_newest_and_sorts_nothing() {
    let mut database = database().await;
    let of_resource = |only_user: Option<&str>| Listed::OfResource {
        id: "a".to_owned(),
        only_user: only_user.map(str::to_owned),
    };
    for (listed, index) in [
        (
            of_resource(None),
            "waitlist_by_resource (resource_id=? AND ",
        ),
        (
            of_resource(Some("u")),
            "waitlist_by_user (user_id=? AND resource_id=? AND ",
        ),
        // It holds nothing that has ended: nobody reads past all that they ever waited for.
        (
            Listed::AwaitedBy("u".to_owned()),
            "waitlist_of_user (user_id=? AND ",
        ),
    ] {
        let before = (1, "e".to_owned());
        let query = listed.query(Some(&before), 51);
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", query.sql().as_str()));
        let rows = sqlx::query(explain).fetch_all(&mut database).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan[0].starts_with("SEARCH entry USING INDEX"), "{plan:?}");
        assert!(plan[0].contains(index), "{plan:?}");
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorts, "{plan:?}");
    }
}

async fn add(connection: &mut SqliteConnection, entry: &Entry) {
    sqlx::query(
        "INSERT INTO waitlist (id, resource_id, user_id, title, attendees_count, start_ms, end_ms,
                               priority, status, joined_ms, updated_ms)
         VALUES (?, ?, ?, '', 1, ?, ?, ?, ?, ?, 0)",
    )
    .bind(&entry.id)
    .bind(&entry.resource_id)
    .bind(&entry.user_id)
    .bind(entry.start_ms)
    .bind(entry.end_ms)
    .bind(entry.priority)
    .bind(entry.status)
    .bind(entry.joined_ms)
    .execute(connection)
    .await
    .unwrap();
}

fn waits(id: &str, times: (i64, i64), priority: i64, joined_ms: i64) -> Entry {
    Entry {
        id: id.into(),
        resource_id: "a".into(),
        user_id: "u".into(),
        title: String::new(),
        status: EntryStatus::Waiting,
        start_ms: times.0,
        end_ms: times.1,
        attendees_count: 1,
        priority,
        booking_id: None,
        version: 1,
        joined_ms,
        updated_ms: 0,
    }
}

fn room(buffer_minutes: u32) -> Resource {
    Resource {
        id: "a".into(),
        name: String::new(),
        kind: String::new(),
        capacity: 8,
        requires_approval: false,
        place: String::new(),
        time_zone: "UTC".into(),
        rules: Rules {
            buffer_minutes,
            ..Rules::default()
        },
        version: 1,
    }
}

/// The order in which entries are asked.
fn rank(entry: &Entry) -> (Reverse<i64>, i64, &str) {
    (Reverse(entry.priority), entry.joined_ms, &entry.id)
}

#[tokio::test]
async fn a_position_is_one_more_than_the_number_of_those_who_are_asked_before_for_the_same_time() {
    let mut database = database().await;
    let mut entries = Vec::new();
    for number in 0..300_i64 {
        let start_ms = rand::random_range(0..20_i64);
        let times = (start_ms, start_ms + rand::random_range(1..6_i64));
        let joined_ms = rand::random_range(0..40_i64);
        let mut entry = waits(
            &format!("{number:04}"),
            times,
            rand::random_range(0..4),
            joined_ms,
        );
        entry.resource_id = if rand::random() { "a" } else { "b" }.into();
        if rand::random_range(0..4) == 0 {
            entry.status = EntryStatus::Expired;
        }
        // Nobody waits twice for the same; such a row is no entry.
        let is_double = |other: &Entry| {
            other.interval() == entry.interval() && other.resource_id == entry.resource_id
        };
        if !entries.iter().any(is_double) {
            add(&mut database, &entry).await;
            entries.push(entry);
        }
    }
    assert!(entries.len() > 50);
    for entry in &entries {
        let before = entries.iter().filter(|other| {
            other.status == EntryStatus::Waiting
                && other.resource_id == entry.resource_id
                && other.interval().overlaps(entry.interval())
                && rank(other) < rank(entry)
        });
        let expected = i64::try_from(before.count()).unwrap() + 1;
        let found = standing(&mut database, &entry.id).await.unwrap().unwrap();
        let waits = entry.status == EntryStatus::Waiting;
        assert_eq!(found.position, waits.then_some(expected), "{entry:?}");
    }
}

#[tokio::test]
async fn those_who_fit_are_asked_by_priority_then_by_when_they_came() {
    let mut database = database().await;
    for entry in [
        waits("late", (10, 20), 5, 3),
        waits("early", (10, 21), 5, 1),
        waits("same-a", (10, 22), 5, 2),
        waits("same-b", (10, 23), 5, 2),
        waits("urgent", (15, 30), 9, 9),
        waits("elsewhen", (40, 50), 9, 0),
        waits("begun", (5, 20), 9, 0),
    ] {
        add(&mut database, &entry).await;
    }
    let freed = Interval::new(10, 40);
    let fitting = fitting(&mut database, &room(0), freed, 5).await.unwrap();
    let ids: Vec<_> = fitting.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["urgent", "early", "same-a", "same-b", "late"]);
}

#[tokio::test]
async fn only_those_fit_whose_whole_time_is_free_with_what_the_resource_needs_after_it() {
    const MINUTE: i64 = 60_000;
    let mut database = database().await;
    for (id, times) in [("touches", (10, 20)), ("overlaps", (10, 21))] {
        let times = (times.0 * MINUTE, times.1 * MINUTE);
        add(&mut database, &waits(id, times, 0, 0)).await;
    }
    sqlx::query(
        "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               blocked_until_ms, attendees_count, created_ms, updated_ms)
         VALUES ('x', 'a', 'v', '', 'confirmed', ?1, ?2, ?2, 1, 0, 0)",
    )
    .bind(20 * MINUTE)
    .bind(30 * MINUTE)
    .execute(&mut database)
    .await
    .unwrap();
    let freed = Interval::new(0, 40 * MINUTE);
    let found = fitting(&mut database, &room(0), freed, 0).await.unwrap();
    let ids: Vec<_> = found.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["touches"]);
    let found = fitting(&mut database, &room(1), freed, 0).await.unwrap();
    assert_eq!(found, []);
}
