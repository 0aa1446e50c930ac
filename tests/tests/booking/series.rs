//! A series over the end of summer time, with one occurrence that has no place, in both modes.

use carillon_tests::api::{Api, Call};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stage::{Stage, booked, kafka, settled};

/// Four Mondays at nine in Berlin: two before the clocks go back on 26 October 2031, two after.
const STARTS: [&str; 4] = [
    "2031-10-13T07:00:00Z",
    "2031-10-20T07:00:00Z",
    "2031-10-27T08:00:00Z",
    "2031-11-03T08:00:00Z",
];

fn series(conflicts: &str) -> Call {
    let body = json!({
        "resourceId": "room-1", "userId": "user-4", "title": "Jour fixe",
        "startTime": "2031-10-13T09:00:00", "endTime": "2031-10-13T10:00:00",
        "timeZone": "Europe/Berlin", "rule": "FREQ=WEEKLY;COUNT=4", "conflicts": conflicts,
    });
    Call::post("/series", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_keeps_its_time_of_day_and_deals_with_a_conflict_as_its_maker_chose() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "series").await;
    let host = stage.booking(kafka, "").start().await.unwrap();
    let api = Api::of(&host).unwrap();
    let in_the_way = json!({
        "resourceId": "room-1", "userId": "user-1", "title": "Im Weg",
        "startTime": "2031-10-27T08:30:00Z", "endTime": "2031-10-27T09:30:00Z",
    });
    let in_the_way = booked(&api, &Call::post("/bookings", in_the_way)).await;

    let refused = api.send(&series("refuse")).await.unwrap();
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    assert_eq!(starts_of(&api, &in_the_way).await, Vec::<String>::new());

    let made = api.done(&series("skip")).await.unwrap();
    let occurrences = made.body["occurrences"].as_array().unwrap();
    let outcomes: Vec<(&str, &str)> = occurrences.iter().map(outcome).collect();
    let expected: Vec<(&str, &str)> = STARTS
        .into_iter()
        .zip(["booked", "booked", "skipped", "booked"])
        .collect();
    assert_eq!(outcomes, expected, "{}", made.text);
    assert_eq!(
        starts_of(&api, &in_the_way).await,
        [STARTS[0], STARTS[1], STARTS[3]]
    );

    let ledger = settled(&host).await;
    assert_eq!(ledger.double_bookings, 0);
    let events = stage.read(kafka, "booking-events").await;
    let created: Vec<&Value> = events
        .of_kind("booking.created")
        .map(|event| &event.data)
        .filter(|data| data["title"] == "Jour fixe")
        .collect();
    assert_eq!(created.len(), 3, "one event an occurrence: {created:?}");
    let conflicts = stage.read(kafka, "conflict-events").await;
    let detected = conflicts.of_kind("conflict.detected").count();
    println!(
        "series: 4 occurrences over a change of the clocks, 1 in conflict: refused as a whole, then 3 booked \
         and 1 skipped; {} events of bookings, {detected} of conflicts",
        events.events.len()
    );
    assert_eq!(detected, 2, "each refusal is told");
}

fn outcome(occurrence: &Value) -> (&str, &str) {
    let text = |field: &str| occurrence[field].as_str().unwrap_or_default();
    (text("startTime"), text("outcome"))
}

/// When the room is booked, the one in the way aside.
async fn starts_of(api: &Api, in_the_way: &str) -> Vec<String> {
    let listed =
        Call::get("/bookings?resource=room-1&from=2031-10-01T00:00:00Z&to=2031-12-01T00:00:00Z");
    let listed = api.done(&listed).await.unwrap();
    let items = listed.body["items"].as_array().unwrap();
    items
        .iter()
        .filter(|booking| booking["id"] != in_the_way)
        .map(|booking| booking["startTime"].as_str().unwrap().to_owned())
        .collect()
}
