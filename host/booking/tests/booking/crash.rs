//! kill -9 while bookings are made.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use carillon_booking::{Booking, Surroundings};
use sqlx::Row;

use crate::running::{HandClock, Running, connect, events_in, quiet, wish};

/// Names the folder in which the child of the test below books.
const CHILD: &str = "CARILLON_BOOKING_TEST_CHILD";

/// Not a test by itself: the child process of the next one, which makes bookings, prints the id of each
/// one that was answered with 201, and goes on until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_without_end_where_it_is_asked_to() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let clock = HandClock::new();
    let booking = Booking::open_at(&folder, quiet(), clock.clock())
        .await
        .unwrap();
    booking.seed_demo().await.unwrap();
    let running = Running {
        router: booking.router(Surroundings::default()).unwrap(),
        booking,
        clock,
        folder: tempfile::tempdir().unwrap().into(),
    };
    loop {
        let hours: Vec<_> = (0..24_u32).map(wish).collect();
        let answers = hours.iter().map(|wanted| running.post("/bookings", wanted));
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            println!("made {id}");
            std::io::stdout().flush().unwrap();
            // Frees the hour for the next round.
            assert_eq!(running.step(&id, "cancel").await.status, StatusCode::OK);
            println!("freed {id}");
        }
    }
}

#[tokio::test]
async fn a_killed_service_has_every_answered_booking_and_one_event_for_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered: HashSet<String> = HashSet::new();
    for lines in [3, 40, 111] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::books_without_end_where_it_is_asked_to",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut told = output
            .lines()
            .map(Result::unwrap)
            .filter(|line| line.contains("made ") || line.starts_with("freed "));
        answered.extend(
            told.by_ref()
                .take(lines)
                .filter_map(|line| answered_change(&line)),
        );
        child.kill().unwrap();
        child.wait().unwrap();
        // What was printed before the kill and not read yet was answered too.
        answered.extend(told.filter_map(|line| answered_change(&line)));
        // A killed round leaves bookings that were not freed; the next round needs their hours.
        free_everything(folder.path()).await;
    }

    let mut connection = connect(folder.path()).await;
    let rows = sqlx::query("SELECT id, status, version FROM bookings")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut changes = HashSet::new();
    for row in &rows {
        let (id, version): (String, i64) = (row.get("id"), row.get("version"));
        changes.insert(format!("made {id}"));
        if version > 1 {
            changes.insert(format!("freed {id}"));
        }
    }
    assert!(answered.is_subset(&changes), "an answered change is gone");
    assert!(answered.len() >= 3 + 40 + 111);
    let events = events_in(folder.path()).await;
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| {
            let id = event.subject_id.as_deref()?;
            match event.kind.as_str() {
                "booking.created" => Some(format!("made {id}")),
                "booking.cancelled" => Some(format!("freed {id}")),
                _ => None,
            }
        })
        .collect();
    assert_eq!(told.len(), changes.len(), "each change has one event");
    assert_eq!(told.into_iter().collect::<HashSet<_>>(), changes);
}

/// A whole line of the child; the last one may have been cut off by the kill. The test harness prints
/// its own text before the first one.
fn answered_change(line: &str) -> Option<String> {
    let start = line.find("made ").or_else(|| line.find("freed "))?;
    let change = line[start..].to_owned();
    let (_, id) = change.split_once(' ')?;
    (id.len() == 36).then_some(change)
}

async fn free_everything(folder: &std::path::Path) {
    let clock = HandClock::new();
    let booking = Booking::open_at(folder, quiet(), clock.clock())
        .await
        .unwrap();
    let running = Running {
        router: booking.router(Surroundings::default()).unwrap(),
        booking,
        clock,
        folder: tempfile::tempdir().unwrap().into(),
    };
    loop {
        let standing: Vec<String> =
            sqlx::query_scalar("SELECT id FROM bookings WHERE status = 'confirmed'")
                .fetch_all(&mut connect(folder).await)
                .await
                .unwrap();
        if standing.is_empty() {
            return;
        }
        for id in standing {
            assert_eq!(running.step(&id, "cancel").await.status, StatusCode::OK);
        }
    }
}
