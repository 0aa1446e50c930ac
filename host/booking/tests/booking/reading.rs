//! What those who run the place read: the audit record, and how the place is used.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use carillon_booking::{BookingConfig, Surroundings};
use serde_json::{Value, json};

use crate::running::{Running, time, until, wish};
use crate::waitlist::wait;

/// A day of bookings: two that were held, one that was called off, one that nobody came to. It
/// ends at noon.
async fn a_day(running: &Running) -> Vec<String> {
    let mut ids = Vec::new();
    for (hour, steps) in [
        (9, &["check-in", "check-out"][..]),
        (10, &["check-in"]),
        (11, &["cancel"]),
        (12, &[]),
    ] {
        let id = running.book(&wish(hour)).await;
        for step in steps {
            assert_eq!(running.step(&id, step).await.status, StatusCode::OK);
        }
        ids.push(id);
    }
    running.post("/bookings", &wish(10)).await.problem(409);
    running.clock.forward(Duration::from_secs(26 * 3600));
    let missed = running.step(&ids[3], "no-show").await;
    assert_eq!(missed.status, StatusCode::OK, "{}", missed.text);
    ids
}

#[tokio::test]
async fn the_audit_record_is_read_by_subject_by_actor_and_by_request() {
    let running = Running::new().await;
    let ids = a_day(&running).await;
    let of = |items: &Value| -> Vec<String> {
        let items = items["items"].as_array().unwrap().iter();
        items
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let path = format!("/audit?booking={}", ids[0]);
    let entries = running.get(&path).await.json();
    assert_eq!(
        of(&entries),
        [
            "booking.created",
            "booking.checked_in",
            "booking.checked_out"
        ]
    );
    let first = &entries["items"][0];
    assert_eq!(first["actor"], "anybody");
    assert_eq!(first["before"], Value::Null);
    assert_eq!(first["after"]["status"], "confirmed");
    // The event has the same correlation id as the entry.
    let correlation = first["correlationId"].as_str().unwrap();
    let events = running.events().await;
    let told = events
        .iter()
        .filter(|event| event.correlation_id.as_deref() == Some(correlation));
    let told: Vec<String> = told.map(|event| event.kind.to_string()).collect();
    assert_eq!(told, ["booking.created"]);
    let of_request = running
        .get(&format!("/audit?correlation={correlation}"))
        .await;
    assert_eq!(of(&of_request.json()), ["booking.created"]);

    let page = running
        .get("/audit?action=booking.created&limit=3")
        .await
        .json();
    assert_eq!(of(&page).len(), 3);
    let next = page["next"].as_str().unwrap();
    let path = format!("/audit?action=booking.created&limit=3&cursor={next}");
    let rest = running.get(&path).await.json();
    assert_eq!((of(&rest).len(), &rest["next"]), (1, &Value::Null));
    let service = running.get("/audit?actor=service&limit=200").await.json();
    assert_eq!(of(&service).len(), 11, "rooms and users of the demo");
    let nothing = running.get("/audit?from=2026-08-20T12:00:01Z").await.json();
    assert_eq!(of(&nothing), Vec::<String>::new());
    let problem = running.get("/audit?resource=a&user=b").await.problem(422);
    assert_eq!(problem["field"], "user");
    running.get("/audit?format=csv").await.problem(400);
    running.get("/audit?who=a").await.problem(400);
}

#[tokio::test]
async fn the_audit_record_is_read_by_every_kind_of_subject() {
    let running = Running::new().await;
    let booking = running.book(&wish(9)).await;
    let refused = running.post("/bookings", &wish(9)).await.problem(409);
    let entry = running.join(&wait(2, 9)).await;
    let entry = entry.rsplit('/').next().unwrap();
    let series = json!({
        "resourceId": "room-2", "userId": "user-1", "title": "Stand-up", "timeZone": "UTC",
        "startTime": "2026-08-20T09:00:00", "endTime": "2026-08-20T10:00:00",
        "rule": "FREQ=DAILY;COUNT=2",
    });
    let series = running.post("/series", &series).await.json();
    let calendar = running.post("/users/user-1/calendar", &json!({})).await;
    let closure = json!({ "startTime": time(90), "endTime": time(91), "reason": "Cleaning" });
    let closure = running
        .post("/resources/room-1/unavailability", &closure)
        .await
        .json();
    for (kind, id, action) in [
        ("booking", json!(booking), "booking.created"),
        ("resource", json!("room-1"), "resource.created"),
        ("user", json!("user-1"), "user.created"),
        (
            "conflict",
            refused["conflictId"].clone(),
            "conflict.detected",
        ),
        ("waitlist", json!(entry), "waitlist.joined"),
        ("series", series["series"]["id"].clone(), "series.created"),
        ("feed", calendar.json()["id"].clone(), "feed.added"),
        (
            "unavailability",
            closure["id"].clone(),
            "resource.unavailable",
        ),
    ] {
        let id = id.as_str().unwrap();
        let query = format!("subjectKind={kind}&subjectId={id}");
        let page = running.get(&format!("/audit?{query}")).await.json();
        let [found] = &page["items"].as_array().unwrap()[..] else {
            panic!("{query}: {page}");
        };
        assert_eq!(
            (&found["subjectKind"], &found["subjectId"], &found["action"]),
            (&json!(kind), &json!(id), &json!(action))
        );
        let lines = running.get(&format!("/audit/export?{query}")).await.text;
        let exported: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(&exported, found);
    }
    for (odd, field) in [
        ("subjectKind=series", "subjectKind"),
        ("subjectId=a", "subjectId"),
        ("subjectKind=series&subjectId=a&booking=b", "booking"),
    ] {
        for path in ["/audit", "/audit/export"] {
            let problem = running.get(&format!("{path}?{odd}")).await.problem(422);
            assert_eq!(problem["field"], field, "{odd}");
        }
    }
    let unknown = "/audit?subjectKind=secret&subjectId=a";
    running.get(unknown).await.problem(400);
}

#[tokio::test]
async fn a_stretch_of_the_audit_record_holds_its_beginning_and_not_its_end() {
    let running = Running::new().await;
    let day = Duration::from_secs(24 * 3600);
    running.clock.forward(2 * day);
    // A clock that was ahead for a while: its entries are the later ones, and no others are lost.
    for (hour, back) in [(190, 0), (191, 2), (192, 0)] {
        running.clock.forward(Duration::from_secs(3600));
        running.clock.back(back * day);
        running.book(&wish(hour)).await;
    }
    let made_at = async |query: &str| -> Vec<Value> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/audit?action=booking.created&limit=1{query}{cursor}");
            let page = running.get(&path).await.json();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|entry| entry["time"].clone()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    let [first, second, ahead] = [
        "2026-08-19T12:00:00Z",
        "2026-08-19T13:00:00Z",
        "2026-08-21T11:00:00Z",
    ];
    assert_eq!(made_at("").await, [first, second, ahead]);
    assert_eq!(made_at(&format!("&from={second}")).await, [second, ahead]);
    assert_eq!(made_at(&format!("&to={second}")).await, [first]);
    assert_eq!(made_at(&format!("&to={ahead}")).await, [first, second]);
    assert_eq!(
        made_at(&format!("&from={first}&to={second}")).await,
        [first]
    );
    for path in ["/audit", "/audit/export"] {
        let empty = format!("{path}?from={second}&to={second}");
        assert_eq!(running.get(&empty).await.problem(422)["field"], "to");
    }
}

#[tokio::test]
async fn the_audit_record_is_exported_whole_as_lines_of_json_or_csv() {
    let running = Running::new().await;
    let mut odd = wish(9);
    odd["title"] = json!("=SUM(1,2), \"quoted\"");
    running.book(&odd).await;
    // More than are read at once.
    for _ in 0..300 {
        let id = running.book(&wish(10)).await;
        running.step(&id, "cancel").await;
    }
    let lines = running.get("/audit/export").await;
    assert_eq!(lines.headers["content-type"], "application/jsonl");
    let entries: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(entries.len(), 11 + 1 + 600);
    let rising = entries
        .windows(2)
        .all(|pair| pair[0]["seq"].as_i64() < pair[1]["seq"].as_i64());
    assert!(rising);
    let table = running.get("/audit/export?format=csv").await;
    assert!(
        table.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    let mut reader = csv::Reader::from_reader(table.text.as_bytes());
    let headers = reader.headers().unwrap().clone();
    assert_eq!(headers.get(0), Some("seq"));
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), entries.len());
    let column = headers.iter().position(|name| name == "after").unwrap();
    let made = rows.iter().find(|row| row[column].contains("SUM")).unwrap();
    let after: Value = serde_json::from_str(&made[column]).unwrap();
    assert_eq!(after["title"], odd["title"]);
}

#[tokio::test]
async fn figures_say_how_the_place_was_used() {
    let running = Running::new().await;
    a_day(&running).await;
    running.clock.forward(Duration::from_secs(24 * 3600));
    let stretch = format!("from={}&to={}", time(0), time(24));
    let usage = running
        .get(&format!("/analytics/usage?{stretch}"))
        .await
        .json();
    let of = |room: &str| {
        let resources = usage["resources"].as_array().unwrap().iter();
        let mut of_room = resources.filter(|usage| usage["resourceId"] == room);
        of_room.next().unwrap().clone()
    };
    // What was called off is not used; what nobody came to was kept from others.
    assert_eq!(of("room-1")["bookings"], 3);
    // Whoever had left before it began has used nothing of it.
    assert_eq!(of("room-1")["bookedMinutes"], 120);
    let hours = of("room-1")["bookedMinutesByHour"].clone();
    assert_eq!(hours.as_array().unwrap()[8..14], [0, 0, 60, 0, 60, 0]);
    assert_eq!(of("room-2")["bookings"], 0);
    let summary = running
        .get(&format!("/analytics/summary?{stretch}"))
        .await
        .json();
    assert_eq!(
        summary["bookingsByStatus"],
        json!({ "cancelled": 1, "checked_in": 1, "checked_out": 1, "no_show": 1 })
    );
    let rate = summary["noShowRate"].as_f64().unwrap();
    assert!((rate - 1.0 / 3.0).abs() < 1e-9, "{rate}");
    // Made at ten the day before, for nine to twelve.
    assert_eq!(summary["leadTimeMinutes"]["p50"], 24 * 60);
    assert_eq!(summary["waitlist"]["conversion"], Value::Null);
    let all = "from=2026-08-19T00:00:00Z&to=2026-08-21T00:00:00Z";
    let summary = running
        .get(&format!("/analytics/summary?{all}"))
        .await
        .json();
    assert_eq!(
        summary["conflicts"],
        json!({ "detected": 1, "resolved": 0 })
    );
    for (odd, status) in [
        ("from=2026-08-20T00:00:00Z", 400),
        ("from=2026-08-20T00:00:00Z&to=2026-08-20T00:00:00Z", 422),
        ("from=2026-08-20T00:00:00Z&to=2028-08-20T00:00:00Z", 422),
    ] {
        for figures in ["usage", "summary"] {
            let path = format!("/analytics/{figures}?{odd}");
            running.get(&path).await.problem(status);
        }
    }
    let odd = format!("/analytics/summary?{all}&kind=room");
    running.get(&odd).await.problem(400);
}

#[tokio::test]
async fn what_is_asked_is_told_to_analytics_with_the_request_it_came_from() {
    let running = Running::with(BookingConfig::default(), Surroundings::default()).await;
    running.book(&wish(9)).await;
    let request = Request::post("/bookings")
        .header("content-type", "application/json")
        .header("x-correlation-id", "req-9")
        .body(Body::from(wish(9).to_string()))
        .unwrap();
    running.send(request).await.problem(409);
    running.get("/healthz").await;
    let told = until("two requests to be told of", async || {
        let events = running.events().await;
        let told: Vec<_> = events
            .into_iter()
            .filter(|event| event.kind.as_str() == "analytics.recorded")
            .collect();
        (told.len() >= 2).then_some(told)
    })
    .await;
    assert_eq!(
        told.len(),
        2,
        "nobody asks how often it was asked for its health"
    );
    assert_eq!(told[1].correlation_id.as_deref(), Some("req-9"));
    let data: Value = serde_json::from_str(told[1].data.get()).unwrap();
    assert_eq!(data["name"], "bookings.created");
    assert_eq!(data["outcome"], "refused");
    assert_eq!(data["status"], 409);
}
