//! Many people at once who book, cancel, wait, accept and leave as chance will have it, and what the
//! record says of it afterwards; also when the service is killed among them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::http::StatusCode;
use carillon_booking::{Booking, BookingConfig, Surroundings};
use futures_util::future::join_all;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::history;
use crate::running::{Answer, HandClock, NOON_MS, Running, connect, time};

/// Names the folder in which the child of the test below works.
const CHILD: &str = "CARILLON_BOOKING_TEST_CROWD";

/// How many people act at once.
const PEOPLE: usize = 24;

/// The hours that are fought over, after the first that is bookable.
const HOURS: u32 = 10;

/// Some item of a list that the API answers, of those with this status.
async fn any(running: &Running, list: &str, statuses: &[&str]) -> Option<Value> {
    let page = running.get(list).await.json();
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let fitting: Vec<&Value> = items
        .iter()
        .filter(|item| statuses.contains(&item["status"].as_str().unwrap()))
        .collect();
    fitting.choose(&mut rand::rng()).map(|item| (*item).clone())
}

/// Something that somebody does.
async fn act(running: &Running, first_hour: u32) {
    let start = first_hour + rand::random_range(0..HOURS);
    // Some want it until the next day, when the second occurrence of a series is over.
    let next_day = if rand::random_bool(0.1) { 24 } else { 0 };
    let wish = json!({
        "userId": format!("user-{}", rand::random_range(1..=7)), "title": "x",
        "startTime": time(start), "endTime": time(start + rand::random_range(1..=3) + next_day),
    });
    let room = format!("room-{}", [1, 4].choose(&mut rand::rng()).unwrap());
    let bookings = format!(
        "/bookings?resource={room}&limit=200&from={}",
        time(first_hour)
    );
    let waitlist = format!("/waitlist/{room}?limit=200");
    let entry_path = |entry: &Value| format!("/waitlist/{room}/{}", entry["id"].as_str().unwrap());
    let answer: Option<Answer> = match rand::random_range(0..29) {
        0..6 => {
            let mut booking = wish;
            booking["resourceId"] = json!(room);
            Some(running.post("/bookings", &booking).await)
        }
        6..14 => {
            let mut entry = wish;
            entry["priority"] = json!(rand::random_range(0..4) * 10);
            Some(running.post(&format!("/waitlist/{room}"), &entry).await)
        }
        14..19 => match any(running, &bookings, &["pending", "confirmed"]).await {
            Some(booking) => Some(
                running
                    .step(booking["id"].as_str().unwrap(), "cancel")
                    .await,
            ),
            None => None,
        },
        19..21 => match any(running, &bookings, &["confirmed"]).await {
            Some(booking) => {
                let shorter =
                    json!({ "startTime": time(first_hour + rand::random_range(0..HOURS)) });
                Some(
                    running
                        .patch(booking["id"].as_str().unwrap(), "*", &shorter)
                        .await,
                )
            }
            None => None,
        },
        24 => Some(series(running, room.as_str(), start).await),
        25..27 => match any(running, &bookings, &["confirmed"]).await {
            Some(booking) if booking["seriesId"].is_string() => {
                Some(several(running, booking["id"].as_str().unwrap()).await)
            }
            _ => None,
        },
        27 => Some(guest(running, &room, start).await),
        28 => {
            let user = rand::random_range(1..=7);
            let all = format!("/waitlist/{room}?userId=user-{user}");
            Some(running.leave(&all).await)
        }
        21 => match any(running, &waitlist, &["promoted"]).await {
            Some(entry) => Some(running.accept(&entry_path(&entry)).await),
            None => None,
        },
        _ => match any(running, &waitlist, &["waiting", "promoted"]).await {
            Some(entry) => Some(running.leave(&entry_path(&entry)).await),
            None => None,
        },
    };
    let status = answer
        .as_ref()
        .map_or(StatusCode::OK, |answer| answer.status);
    assert!(
        !status.is_server_error() && status != StatusCode::BAD_REQUEST,
        "{}",
        answer.map_or_else(String::new, |answer| answer.text)
    );
}

/// Books the same time of two days.
async fn series(running: &Running, room: &str, start: u32) -> Answer {
    let local = |hour| time(hour).trim_end_matches('Z').to_owned();
    let wanted = json!({
        "resourceId": room, "userId": "user-1", "title": "x", "timeZone": "UTC",
        "startTime": local(start), "endTime": local(start + 2),
        "rule": "FREQ=DAILY;COUNT=2", "conflicts": "skip",
    });
    running.post("/series", &wanted).await
}

/// Calls both days of a series off, or moves them to where they may be in each other's way.
async fn several(running: &Running, id: &str) -> Answer {
    if rand::random_bool(0.5) {
        return running.step(id, "cancel?scope=all").await;
    }
    let room = ["room-1", "room-4"].choose(&mut rand::rng());
    let other = json!({ "resourceId": room });
    running.patch_scope(id, "all", "*", &other).await
}

/// Somebody comes, books what they can, waits for what they cannot have, and goes for good.
async fn guest(running: &Running, room: &str, start: u32) -> Answer {
    let id = format!("guest-{}", rand::random::<u64>());
    let user = json!({
        "id": id, "email": "guest@example.org", "displayName": "Guest", "timeZone": "UTC",
        "locale": "en",
    });
    let come = running.post("/users", &user).await;
    assert_eq!(come.status, StatusCode::CREATED, "{}", come.text);
    for hour in start..start + 3 {
        let mut wish = json!({
            "userId": id, "title": "x", "startTime": time(hour), "endTime": time(hour + 1),
            "priority": 50,
        });
        running.post(&format!("/waitlist/{room}"), &wish).await;
        wish.as_object_mut().unwrap().remove("priority");
        wish["resourceId"] = json!(room);
        running.post("/bookings", &wish).await;
        tokio::task::yield_now().await;
    }
    running
        .delete(&format!("/users/{id}?bookings=cancel"), "*")
        .await
}

/// The crowd acts while time goes on by up to a hold and what is due is done.
async fn round(running: &Running, acts: usize, first_hour: u32) {
    let people = (0..PEOPLE).map(|_| async {
        for _ in 0..acts {
            act(running, first_hour).await;
        }
    });
    let sweep = async {
        running
            .clock
            .forward(Duration::from_secs(rand::random_range(0..900)));
        running.booking.sweep_once().await.unwrap();
    };
    tokio::join!(join_all(people), sweep);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_crowd_no_time_is_given_twice_and_nobody_is_passed_over() {
    let running = Running::new().await;
    // A second node sweeps, too.
    let other = Running {
        booking: Booking::open_at(
            running.folder.path(),
            BookingConfig::default(),
            running.clock.clock(),
        )
        .await
        .unwrap(),
        router: running.router.clone(),
        clock: running.clock.clone(),
        folder: running.folder.clone(),
    };
    for number in 0..20 {
        let swept = async {
            if number % 4 == 0 {
                other.booking.sweep_once().await.unwrap();
            }
        };
        tokio::join!(round(&running, 4, 24), swept);
    }
    let seen = history::check(running.folder.path()).await;
    assert!(
        seen.holds > 20 && seen.accepted > 2 && seen.expired > 2 && seen.removed > 2,
        "too little happened: {seen:?}"
    );
}

/// Not a test by itself: the child process of the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_without_end_where_it_is_asked_to() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let clock = HandClock::new();
    let booking = Booking::open_at(&folder, BookingConfig::default(), clock.clock())
        .await
        .unwrap();
    booking.seed_demo().await.unwrap();
    // Where the one before was killed.
    let latest_ms: i64 = sqlx::query_scalar("SELECT max(created_ms) FROM outbox")
        .fetch_one(&mut connect(folder.as_ref()).await)
        .await
        .unwrap();
    clock.forward(Duration::from_millis((latest_ms - NOON_MS).unsigned_abs()));
    let running = Running {
        router: booking.router(Surroundings::default()).unwrap(),
        booking,
        clock,
        folder: tempfile::tempdir().unwrap().into(),
    };
    for number in 0_u64.. {
        round(&running, 1, 48).await;
        println!("round {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_service_has_given_no_time_twice_and_passed_over_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut holds = 0;
    for rounds in [4, 25, 40, 7] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crowd::acts_without_end_where_it_is_asked_to",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map_while(Result::ok)
            .filter(|line| line.contains("round "))
            .take(rounds)
            .count();
        // In the middle of the next one.
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told, rounds, "the child ended by itself");
        holds = history::check(folder.path()).await.holds;
    }
    assert!(holds > 20, "too little happened: {holds}");
}
