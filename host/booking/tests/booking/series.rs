//! Series: by the wall clock, all or none or what has a place.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;

use crate::running::{Answer, Running, connect};
use crate::tokens;

/// Four Mondays at nine, by the clocks of a zone.
pub(crate) fn mondays(first: &str, zone: &str, conflicts: &str) -> Value {
    json!({
        "resourceId": "room-1", "userId": "user-1", "title": "Stand-up", "attendeesCount": 3,
        "startTime": format!("{first}T09:00:00"), "endTime": format!("{first}T10:00:00"),
        "timeZone": zone, "rule": "FREQ=WEEKLY;BYDAY=MO;COUNT=4", "conflicts": conflicts,
    })
}

/// Somebody else's booking.
fn in_the_way(start: &str, end: &str) -> Value {
    json!({
        "resourceId": "room-1", "userId": "user-2", "title": "Secret plans",
        "startTime": start, "endTime": end,
    })
}

/// One member of each occurrence.
pub(crate) fn column<'a>(report: &'a Value, member: &str) -> Vec<&'a Value> {
    let occurrences = report["occurrences"].as_array().unwrap();
    occurrences.iter().map(|one| &one[member]).collect()
}

async fn rows(running: &Running, table: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let mut database = connect(running.folder.path()).await;
    sqlx::query(query)
        .fetch_one(&mut database)
        .await
        .unwrap()
        .get(0)
}

/// Both modes, with the third Monday taken in part.
async fn one_monday_is_taken(first: &str, zone: &str, starts: [&str; 4], taken: (&str, &str)) {
    let running = Running::new().await;
    running.book(&in_the_way(taken.0, taken.1)).await;

    let answer = running
        .post("/series", &mondays(first, zone, "refuse"))
        .await;
    let problem = answer.problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:series-conflict");
    assert_eq!(column(&problem, "startTime"), starts);
    assert_eq!(
        column(&problem, "outcome"),
        ["possible", "possible", "refused", "possible"]
    );
    let third = &problem["occurrences"][2];
    assert_eq!(third["code"], "overlap");
    assert_eq!(
        third["conflicts"],
        json!([{ "startTime": taken.0, "endTime": taken.1 }])
    );
    assert!(!answer.text.contains("user-2") && !answer.text.contains("Secret"));
    assert!(!problem["alternatives"].as_array().unwrap().is_empty());
    assert_eq!(rows(&running, "series").await, 0);
    assert_eq!(rows(&running, "bookings").await, 1);
    assert_eq!(
        running.kinds().await,
        ["booking.created", "conflict.detected"]
    );

    let answer = running.post("/series", &mondays(first, zone, "skip")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let report = answer.json();
    assert_eq!(column(&report, "startTime"), starts);
    assert_eq!(
        column(&report, "outcome"),
        ["booked", "booked", "skipped", "booked"]
    );
    let skipped = &report["occurrences"][2];
    assert_eq!(
        skipped["conflicts"],
        json!([{ "startTime": taken.0, "endTime": taken.1 }])
    );
    assert_eq!(skipped["bookingId"], Value::Null);
    assert_eq!(report["leftOut"], json!([]));
    let events = running.events().await;
    let new = &events[events.len() - 4..];
    let kinds: Vec<String> = new.iter().map(|event| event.kind.to_string()).collect();
    assert_eq!(
        kinds,
        [
            "booking.created",
            "booking.created",
            "booking.created",
            "conflict.detected"
        ]
    );
    let told: Vec<Value> = new
        .iter()
        .map(|event| serde_json::from_str(event.data.get()).unwrap())
        .collect();
    assert_eq!(told[2]["startTime"], starts[3]);
    assert_eq!(told[2]["seriesId"], report["series"]["id"]);
    assert_eq!(told[3]["conflictId"], skipped["conflictId"]);
    assert_eq!(told[3]["startTime"], starts[2]);

    let id = report["series"]["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/series/{id}"));
    let page = running.get(&format!("/series/{id}?limit=2")).await.json();
    assert_eq!(page["series"], report["series"]);
    assert_eq!(page["items"][0]["occurrenceTime"], starts[0]);
    let next = page["next"].as_str().unwrap();
    let rest = running
        .get(&format!("/series/{id}?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(rest["items"][0]["startTime"], starts[3]);
    assert_eq!(rest["items"][0]["seriesId"], id);
    assert_eq!(
        (&rest["items"][1], &rest["next"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn nine_in_berlin_stays_nine_in_both_modes_around_a_conflict() {
    let starts = [
        "2026-10-12T07:00:00Z",
        "2026-10-19T07:00:00Z",
        "2026-10-26T08:00:00Z",
        "2026-11-02T08:00:00Z",
    ];
    let taken = ("2026-10-26T08:30:00Z", "2026-10-26T09:30:00Z");
    one_monday_is_taken("2026-10-12", "Europe/Berlin", starts, taken).await;
}

#[tokio::test]
async fn nine_in_new_york_stays_nine_in_both_modes_around_a_conflict() {
    let starts = [
        "2026-10-19T13:00:00Z",
        "2026-10-26T13:00:00Z",
        "2026-11-02T14:00:00Z",
        "2026-11-09T14:00:00Z",
    ];
    let taken = ("2026-11-02T13:30:00Z", "2026-11-02T14:30:00Z");
    one_monday_is_taken("2026-10-19", "America/New_York", starts, taken).await;
}

#[tokio::test]
async fn a_time_that_the_clocks_leave_out_is_left_out_and_one_that_comes_twice_is_the_earlier() {
    let running = Running::new().await;
    let nights = |first: &str| {
        json!({
            "resourceId": "room-1", "userId": "user-1", "title": "Backup",
            "startTime": format!("{first}T02:30:00"), "endTime": format!("{first}T02:45:00"),
            "timeZone": "Europe/Berlin", "rule": "FREQ=DAILY;COUNT=3",
        })
    };
    let answer = keyed(&running, "n-1", &nights("2027-03-27")).await;
    let report = answer.json();
    assert_eq!(
        column(&report, "startTime"),
        [
            "2027-03-27T01:30:00Z",
            "2027-03-29T00:30:00Z",
            "2027-03-30T00:30:00Z"
        ]
    );
    assert_eq!(report["leftOut"], json!(["2027-03-28T02:30:00"]));
    // It is kept with the answer, and not reckoned again for each that repeats it.
    running
        .execute("UPDATE idempotency SET outcome = replace(outcome, '2027-03-28T02:30', '2027-03-28T02:31')")
        .await;
    let again = keyed(&running, "n-1", &nights("2027-03-27")).await;
    assert_eq!(again.json()["leftOut"], json!(["2027-03-28T02:31:00"]));
    let problem = running
        .post("/series", &nights("2027-03-28"))
        .await
        .problem(422);
    assert_eq!(problem["field"], "startTime");
    let report = running.post("/series", &nights("2026-10-24")).await.json();
    assert_eq!(
        column(&report, "startTime"),
        [
            "2026-10-24T00:30:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z"
        ]
    );
}

#[tokio::test]
async fn what_breaks_a_rule_of_the_resource_is_in_the_report_and_is_no_conflict() {
    let running = Running::new().await;
    let rules = json!({ "maxLeadDays": 65 }).to_string();
    sqlx::query("UPDATE resources SET rules = ? WHERE id = 'room-1'")
        .bind(rules)
        .execute(&mut connect(running.folder.path()).await)
        .await
        .unwrap();
    let mut wanted = mondays("2026-10-12", "Europe/Berlin", "refuse");
    let problem = running.post("/series", &wanted).await.problem(409);
    assert_eq!(problem["occurrences"][2]["code"], "too-early");
    assert_eq!(problem["conflictId"], Value::Null);
    assert!(running.kinds().await.is_empty());
    wanted["conflicts"] = json!("skip");
    let report = running.post("/series", &wanted).await.json();
    assert_eq!(
        column(&report, "outcome"),
        ["booked", "booked", "skipped", "skipped"]
    );
    assert_eq!(
        running.kinds().await,
        ["booking.created", "booking.created"]
    );
}

#[tokio::test]
async fn a_series_of_which_nothing_has_a_place_is_not_made_in_either_mode() {
    let running = Running::new().await;
    let mut wanted = mondays("2026-10-12", "UTC", "skip");
    wanted["rule"] = json!("FREQ=DAILY;COUNT=2");
    running
        .book(&in_the_way("2026-10-12T00:00:00Z", "2026-10-14T00:00:00Z"))
        .await;
    let problem = running.post("/series", &wanted).await.problem(409);
    assert_eq!(column(&problem, "outcome"), ["refused", "refused"]);
    assert_eq!(rows(&running, "series").await, 0);
    // The first obstacle is told, and no more.
    assert_eq!(
        running.kinds().await,
        ["booking.created", "conflict.detected"]
    );
}

async fn keyed(running: &Running, key: &str, body: &Value) -> Answer {
    let request = Request::post("/series")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .unwrap();
    running.send(request).await
}

#[tokio::test]
async fn the_same_request_twice_is_one_series() {
    let running = Running::new().await;
    let wanted = mondays("2026-10-12", "Europe/Berlin", "skip");
    running
        .book(&in_the_way("2026-10-19T07:00:00Z", "2026-10-19T08:00:00Z"))
        .await;
    let first = keyed(&running, "s-1", &wanted).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    assert_eq!(keyed(&running, "s-1", &wanted).await.text, first.text);
    let refused = keyed(
        &running,
        "s-2",
        &mondays("2026-10-12", "Europe/Berlin", "refuse"),
    )
    .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let again = keyed(
        &running,
        "s-2",
        &mondays("2026-10-12", "Europe/Berlin", "refuse"),
    )
    .await;
    assert_eq!(again.text, refused.text);
    let other = mondays("2026-10-12", "Europe/Madrid", "skip");
    keyed(&running, "s-1", &other).await.problem(422);
    assert_eq!(rows(&running, "series").await, 1);
    assert_eq!(rows(&running, "conflicts").await, 2);
}

#[tokio::test]
async fn a_series_that_cannot_be_is_refused_by_field() {
    let running = Running::new().await;
    for (field, value, code, expected) in [
        (
            "rule",
            json!("FREQ=WEEKLY;BYDAY=MO"),
            "impossible-values",
            "add COUNT",
        ),
        (
            "rule",
            json!("FREQ=DAILY;COUNT=400"),
            "impossible-values",
            "366",
        ),
        ("rule", json!(""), "invalid-body", "empty"),
        (
            "startTime",
            json!("2026-10-12T09:00:00Z"),
            "invalid-body",
            "without an offset",
        ),
        (
            "endTime",
            json!("2026-10-12T09:00:00"),
            "impossible-values",
            "later than startTime",
        ),
        (
            "endTime",
            json!("2026-12-12T09:00:00"),
            "impossible-values",
            "31 days",
        ),
        (
            "endTime",
            json!("2026-11-31T09:00:00"),
            "impossible-values",
            "no such day",
        ),
        (
            "timeZone",
            json!("Mars/Olympus"),
            "impossible-values",
            "IANA",
        ),
        ("attendeesCount", json!(9), "over-capacity", "8"),
        ("resourceId", json!("room-9"), "unknown-resource", "room-9"),
        ("userId", json!("user-9"), "unknown-user", "user-9"),
        ("conflicts", json!("maybe"), "invalid-body", "skip"),
    ] {
        let mut body = mondays("2026-10-12", "Europe/Berlin", "refuse");
        body[field] = value;
        let status = if code == "invalid-body" { 400 } else { 422 };
        let problem = running.post("/series", &body).await.problem(status);
        assert_eq!(problem["type"], format!("urn:carillon:problem:{code}"));
        assert_eq!(problem["field"], field);
        assert!(
            problem["detail"].to_string().contains(expected),
            "{problem}"
        );
    }
    let mut long = mondays("2026-10-12", "Europe/Berlin", "skip");
    long["endTime"] = json!("2026-10-20T10:00:00");
    let problem = running.post("/series", &long).await.problem(422);
    assert!(
        problem["detail"]
            .to_string()
            .contains("before another is over")
    );
    assert!(running.kinds().await.is_empty());
}

#[tokio::test]
async fn a_series_is_shown_to_whose_it_is_and_to_nobody_else() {
    let running = tokens::running().await;
    let mut wanted = mondays("2026-10-12", "Europe/Berlin", "refuse");
    let strange = tokens::call(&running, "user-2", "POST", "/series", &wanted).await;
    strange.problem(403);
    wanted.as_object_mut().unwrap().remove("userId");
    let made = tokens::call(&running, "user-2", "POST", "/series", &wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = made.headers["location"].to_str().unwrap().to_owned();
    let own = tokens::call(&running, "user-2", "GET", &path, &json!({})).await;
    assert_eq!(own.json()["items"].as_array().unwrap().len(), 4);
    tokens::call(&running, "user-1", "GET", &path, &json!({}))
        .await
        .problem(404);
    let id = own.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let cancel = format!("/bookings/{id}/cancel?scope=all");
    tokens::call(&running, "user-1", "POST", &cancel, &json!({}))
        .await
        .problem(404);
}
