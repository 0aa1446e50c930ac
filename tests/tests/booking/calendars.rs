//! iCalendar feeds, read back by PyPI's `icalendar` and compared with what the API says.

use std::collections::BTreeMap;

use carillon_tests::api::{Api, Call};
use carillon_tests::moment::{HOUR_MS, rfc3339, this_hour_ms};
use carillon_tests::python;
use serde_json::{Value, json};

use crate::stage::{Stage, booked, kafka};

/// What has a meaning in RFC 5545 or is longer than its lines, and must come back as it went.
const TITLES: [&str; 4] = [
    "Größe, Maß; und \\Backslash: \"Anführung\"",
    "設計レビュー 🚀 und noch viel mehr Text, der über die 75 Oktette einer Zeile reicht, auch mitten in Ümläuten",
    "\\n ist kein Umbruch, \\, kein Komma",
    "BEGIN:VEVENT",
];

/// The events of a feed by their UID.
type Feed = BTreeMap<String, Value>;

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_says_what_the_api_says_and_how_it_has_changed() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "calendars").await;
    let host = stage.booking(kafka, "").start().await.unwrap();
    let api = Api::of(&host).unwrap();
    let mut ids = Vec::new();
    for (number, title) in (0..).zip(TITLES) {
        let body = json!({
            "resourceId": "room-1", "userId": "user-4", "title": title,
            "startTime": hour(number * 2), "endTime": hour(number * 2 + 1),
        });
        ids.push(booked(&api, &Call::post("/bookings", body)).await);
    }
    let room = address(&api, "/resources/room-1/calendar").await;
    let user = address(&api, "/users/user-4/calendar").await;
    let first = read(&api, &room).await;
    assert_eq!(first.len(), TITLES.len());
    assert_eq!(read(&api, &user).await, first, "the same bookings in both");

    let path = format!("/bookings/{}", ids[0]);
    let seen = api.done(&Call::get(&path)).await.unwrap();
    let moved = json!({"title": "Verlegt, später", "startTime": hour(40)});
    let moved = Call::patch(&path, seen.version().unwrap(), moved);
    api.done(&moved).await.unwrap();
    let cancel = Call::step(format!("/bookings/{}/cancel", ids[1]));
    api.done(&cancel).await.unwrap();
    let second = read(&api, &room).await;

    assert!(first.keys().eq(second.keys()), "a UID is for ever");
    for id in &ids {
        let booking = api
            .done(&Call::get(format!("/bookings/{id}")))
            .await
            .unwrap();
        let (before, after) = (of(&first, id), of(&second, id));
        for (ours, theirs) in [
            ("title", "summary"),
            ("startTime", "start"),
            ("endTime", "end"),
        ] {
            assert_eq!(after[theirs], booking.body[ours], "{ours} of {id}");
        }
        let rises = after["sequence"].as_i64() > before["sequence"].as_i64();
        let is_changed = [&ids[0], &ids[1]].contains(&id);
        assert_eq!(rises, is_changed, "SEQUENCE: {before} {after}");
        let status = if *id == ids[1] {
            "CANCELLED"
        } else {
            "CONFIRMED"
        };
        assert_eq!(after["status"], status);
        assert!(
            after["location"].as_str().unwrap().contains("Aurora"),
            "{after}"
        );
    }
    let unknown = Call::get("/calendars/00000000000000000000000000000000.ics");
    assert_eq!(api.send(&unknown).await.unwrap().status, 404);
    println!(
        "calendars: {} events read back by icalendar from two feeds, 1 moved and 1 cancelled",
        second.len()
    );
}

/// An hour from tomorrow on: a feed shows what is near.
fn hour(number: i64) -> String {
    rfc3339(this_hour_ms() + (24 + number) * HOUR_MS)
}

/// The address of a new feed.
async fn address(api: &Api, path: &str) -> String {
    let made = api.done(&Call::step(path)).await.unwrap();
    made.field("url").unwrap().to_owned()
}

async fn read(api: &Api, url: &str) -> Feed {
    let text = api.done(&Call::get(url)).await.unwrap().text;
    let calendar = python::script("read_calendar.py", &text).unwrap();
    assert_eq!(calendar["version"], "2.0");
    assert!(calendar["product"].is_string(), "{calendar:#}");
    assert_eq!(calendar["bare_newlines"], 0, "lines end with CRLF");
    assert!(calendar["longest_line"].as_u64().unwrap() <= 75);
    let events = calendar["events"].as_array().unwrap();
    let by_uid = |event: &Value| (event["uid"].as_str().unwrap().to_owned(), event.clone());
    let feed: Feed = events.iter().map(by_uid).collect();
    assert_eq!(feed.len(), events.len(), "a UID for each");
    feed
}

/// The event of a booking, whose id is in its UID.
fn of<'a>(feed: &'a Feed, id: &str) -> &'a Value {
    let mut found = feed.iter().filter(|(uid, _)| uid.contains(id));
    let (_, event) = found.next().unwrap_or_else(|| panic!("{id} is in no UID"));
    event
}
