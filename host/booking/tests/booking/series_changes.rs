//! Changes of one occurrence, of it and the following, of all: all of them, or none.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::Row;

use crate::running::{Answer, Running, connect};
use crate::series::{column, mondays};

impl Running {
    /// Makes a series: the ids of its occurrences.
    pub(crate) async fn series(&self, wanted: &Value) -> Vec<String> {
        let answer = self.post("/series", wanted).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let report = answer.json();
        let ids = column(&report, "bookingId").into_iter();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn patch_scope(
        &self,
        id: &str,
        scope: &str,
        if_match: &str,
        patch: &Value,
    ) -> Answer {
        let id = format!("{id}?scope={scope}");
        self.patch(&id, if_match, patch).await
    }

    /// One member of each booking.
    async fn each(&self, ids: &[String], member: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for id in ids {
            let booking = self.get(&format!("/bookings/{id}")).await.json();
            found.push(booking[member].clone());
        }
        found
    }
}

/// A service with four Mondays at nine in Berlin, over the change of 2026-10-25; their ids.
async fn four_mondays() -> (Running, Vec<String>) {
    let running = Running::new().await;
    let wanted = mondays("2026-10-12", "Europe/Berlin", "refuse");
    let ids = running.series(&wanted).await;
    (running, ids)
}

/// A service with days in a row from 2026-10-12 on, at nine; their ids.
async fn days(count: usize) -> (Running, Vec<String>) {
    let running = Running::new().await;
    let mut wanted = mondays("2026-10-12", "UTC", "refuse");
    wanted["rule"] = json!(format!("FREQ=DAILY;COUNT={count}"));
    let ids = running.series(&wanted).await;
    (running, ids)
}

#[tokio::test]
async fn another_time_of_day_for_the_following_is_that_time_after_the_clocks_have_changed() {
    let (running, ids) = four_mondays().await;
    // From nine to half past ten, and half an hour longer.
    let patch = json!({ "startTime": "2026-10-19T08:30:00Z", "endTime": "2026-10-19T10:00:00Z" });
    let answer = running
        .patch_scope(&ids[1], "following", "\"1\"", &patch)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let page = answer.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert_eq!(page["items"][0]["id"], ids[1]);
    assert_eq!(
        running.each(&ids, "startTime").await,
        [
            "2026-10-12T07:00:00Z",
            "2026-10-19T08:30:00Z",
            "2026-10-26T09:30:00Z",
            "2026-11-02T09:30:00Z"
        ]
    );
    assert_eq!(
        running.each(&ids, "endTime").await,
        [
            "2026-10-12T08:00:00Z",
            "2026-10-19T10:00:00Z",
            "2026-10-26T11:00:00Z",
            "2026-11-02T11:00:00Z"
        ]
    );
    // By the rule they would begin when they would.
    assert_eq!(
        running.each(&ids[2..], "occurrenceTime").await,
        ["2026-10-26T08:00:00Z", "2026-11-02T08:00:00Z"]
    );
    // One event and one entry of the record each, in the order of time.
    let events = running.events().await;
    let told = &events[events.len() - 3..];
    let subjects: Vec<&str> = told
        .iter()
        .map(|event| event.subject_id.as_deref().unwrap())
        .collect();
    assert_eq!(subjects, ids[1..]);
    assert!(told.iter().all(|event| event.kind == "booking.updated"));
    let audit =
        sqlx::query("SELECT subject_id FROM audit WHERE action = 'booking.updated' ORDER BY seq")
            .fetch_all(&mut connect(running.folder.path()).await)
            .await
            .unwrap();
    let audited: Vec<String> = audit.iter().map(|row| row.get(0)).collect();
    assert_eq!(audited, ids[1..]);
}

#[tokio::test]
async fn one_occurrence_without_place_keeps_all_of_them_as_they_were() {
    let (running, ids) = four_mondays().await;
    let in_the_way = json!({
        "resourceId": "room-1", "userId": "user-2", "title": "Secret plans",
        "startTime": "2026-10-26T09:30:00Z", "endTime": "2026-10-26T10:30:00Z",
    });
    running.book(&in_the_way).await;
    let patch = json!({ "startTime": "2026-10-12T08:00:00Z", "title": "Later" });
    let answer = running.patch_scope(&ids[0], "all", "*", &patch).await;
    let problem = answer.problem(409);
    assert_eq!(
        column(&problem, "outcome"),
        ["possible", "possible", "refused", "possible"]
    );
    let third = &problem["occurrences"][2];
    assert_eq!(third["bookingId"], ids[2]);
    assert_eq!(third["startTime"], "2026-10-26T09:00:00Z");
    assert_eq!(third["conflicts"][0]["startTime"], "2026-10-26T09:30:00Z");
    assert!(!answer.text.contains("user-2"));
    assert_eq!(running.each(&ids, "version").await, [1, 1, 1, 1]);
    assert_eq!(running.each(&ids, "title").await, ["Stand-up"; 4]);
    let kinds = running.kinds().await;
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert_eq!(kinds[5], "conflict.detected");
    // In another room there is a place for all.
    let patch = json!({ "resourceId": "room-2", "startTime": "2026-10-12T08:00:00Z" });
    let moved = running.patch_scope(&ids[0], "all", "*", &patch).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
    assert_eq!(running.each(&ids, "resourceId").await, ["room-2"; 4]);
    // That was the way out of the conflict.
    let kinds = running.kinds().await;
    assert_eq!(kinds[10], "conflict.resolved", "{kinds:?}");
}

#[tokio::test]
async fn occurrences_move_into_each_others_time_in_both_directions() {
    let (running, ids) = days(4).await;
    for (start, last) in [
        ("2026-10-13T09:00:00Z", "2026-10-16T09:00:00Z"),
        ("2026-10-12T09:00:00Z", "2026-10-15T09:00:00Z"),
    ] {
        let patch = json!({ "startTime": start });
        let moved = running.patch_scope(&ids[0], "all", "*", &patch).await;
        assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
        assert_eq!(running.each(&ids[3..], "startTime").await, [last]);
    }
}

#[tokio::test]
async fn where_others_are_in_the_way_no_occurrence_is_said_to_be_in_the_way_of_another() {
    let (running, ids) = days(3).await;
    let mut in_the_way = crate::running::wish(9);
    for (hour, day) in [
        ("startTime", "2026-10-15T09:30:00Z"),
        ("endTime", "2026-10-15T11:00:00Z"),
    ] {
        in_the_way[hour] = json!(day);
    }
    running.book(&in_the_way).await;
    // Each to the day of the next one, and the last to one that is taken.
    let patch = json!({ "startTime": "2026-10-13T09:00:00Z" });
    let refused = running.patch_scope(&ids[0], "all", "*", &patch).await;
    let problem = refused.problem(409);
    assert_eq!(
        column(&problem, "outcome"),
        ["possible", "possible", "refused"]
    );
    assert_eq!(running.each(&ids, "status").await, ["confirmed"; 3]);
    assert_eq!(running.each(&ids, "version").await, [1, 1, 1]);
    // One that stays as it is keeps its place while the others are changed.
    let own = json!({ "title": "Retrospective" });
    running.patch(&ids[1], "*", &own).await;
    let all = running.patch_scope(&ids[0], "all", "*", &own).await;
    assert_eq!(all.status, StatusCode::OK, "{}", all.text);
    assert_eq!(running.each(&ids, "version").await, [2, 2, 2]);
    assert_eq!(running.each(&ids, "status").await, ["confirmed"; 3]);
    assert_eq!(
        running.each(&ids, "blockedUntil").await,
        [
            "2026-10-12T10:00:00Z",
            "2026-10-13T10:00:00Z",
            "2026-10-14T10:00:00Z"
        ]
    );
}

#[tokio::test]
async fn what_is_over_or_called_off_stays_as_it_is() {
    let (running, ids) = four_mondays().await;
    running.step(&ids[2], "cancel").await;
    // To 2026-10-14: the first is over.
    running
        .clock
        .forward(Duration::from_secs(56 * 24 * 60 * 60));
    let patch = json!({ "title": "Retrospective" });
    let answer = running.patch_scope(&ids[3], "all", "*", &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        running.each(&ids, "title").await,
        ["Stand-up", "Retrospective", "Stand-up", "Retrospective"]
    );
    running
        .patch_scope(&ids[2], "all", "*", &patch)
        .await
        .problem(409);
    // What changes nothing is no change.
    running.patch_scope(&ids[3], "all", "*", &patch).await;
    assert_eq!(running.each(&ids, "version").await, [1, 2, 2, 2]);
}

#[tokio::test]
async fn the_following_are_called_off_together_and_the_others_stand() {
    let (running, ids) = four_mondays().await;
    let answer = running.step(&ids[2], "cancel?scope=following").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        running.each(&ids, "status").await,
        ["confirmed", "confirmed", "cancelled", "cancelled"]
    );
    running.step(&ids[2], "cancel?scope=all").await.problem(409);
    assert_eq!(
        running.step(&ids[1], "cancel?scope=this").await.status,
        StatusCode::OK
    );
    assert_eq!(
        running.step(&ids[0], "cancel?scope=all").await.status,
        StatusCode::OK
    );
    let kinds = running.kinds().await;
    assert_eq!(kinds[4..], ["booking.cancelled"; 4]);
    let series = running.each(&ids[..1], "seriesId").await;
    let path = format!("/series/{}", series[0].as_str().unwrap());
    assert_eq!(running.get(&path).await.json()["series"]["version"], 3);
}

#[tokio::test]
async fn a_scope_needs_a_series_a_version_and_a_change_that_can_be_for_several() {
    let (running, ids) = four_mondays().await;
    let title = json!({ "title": "x" });
    running
        .patch_scope(&ids[0], "all", "\"7\"", &title)
        .await
        .problem(412);
    running
        .patch_scope(&ids[0], "some", "*", &title)
        .await
        .problem(400);
    running
        .patch_scope("nothing", "all", "*", &title)
        .await
        .problem(404);
    for (patch, status) in [
        (json!({ "resourceId": "room-9" }), 422),
        (json!({ "attendeesCount": 9 }), 422),
        (json!({ "endTime": "2026-10-12T06:00:00Z" }), 422),
    ] {
        running
            .patch_scope(&ids[0], "all", "*", &patch)
            .await
            .problem(status);
    }
    let problem = running
        .step(&ids[0], "check-in?scope=all")
        .await
        .problem(400);
    assert!(problem["detail"].to_string().contains("only `cancel`"));
    let alone = running.book(&crate::running::wish(9)).await;
    let problem = running
        .patch_scope(&alone, "all", "*", &title)
        .await
        .problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:no-series");
    running
        .step(&alone, "cancel?scope=following")
        .await
        .problem(409);
    assert_eq!(running.each(&ids, "version").await, [1, 1, 1, 1]);
    // Alone it is as ever.
    let this = running.patch_scope(&ids[0], "this", "\"1\"", &title).await;
    assert_eq!(this.headers["etag"], "\"2\"");
}

#[tokio::test]
async fn a_whole_form_sent_back_with_another_title_changes_the_title_of_all_and_no_time() {
    let (running, ids) = four_mondays().await;
    let starts = running.each(&ids, "startTime").await;
    let named = running.get(&format!("/bookings/{}", ids[0])).await.json();
    let form = json!({
        "title": "Renamed", "startTime": named["startTime"], "endTime": named["endTime"],
    });
    let answer = running.patch_scope(&ids[0], "all", "*", &form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(running.each(&ids, "title").await, ["Renamed"; 4]);
    assert_eq!(running.each(&ids, "startTime").await, starts);
}
