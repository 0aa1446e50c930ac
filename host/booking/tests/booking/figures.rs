//! Figures: how they are told, paged, and shown to Prometheus.

use axum::body::Body;
use axum::http::Request;
use carillon_booking::{BookingConfig, RelaySettings, Surroundings};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use sqlx::Row;
use tokio::sync::watch;

use crate::log::{Fate, FaultyLog};
use crate::relay::{all_sent, told_again};
use crate::roles::{token, with_tokens};
use crate::running::{Running, connect, time, until, wish};
use crate::waitlist::wait;

impl Running {
    /// The keys and statuses of the requests that are told of and not sent yet.
    async fn recorded(&self) -> Vec<(String, i64)> {
        sqlx::query(
            "SELECT key, json_extract(CAST(value AS TEXT), '$.eventData.status') AS status
             FROM outbox WHERE topic = 'analytics-events' ORDER BY seq",
        )
        .fetch_all(&mut connect(self.folder.path()).await)
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get("key"), row.get("status")))
        .collect()
    }
}

#[tokio::test]
async fn requests_under_one_correlation_id_do_not_wait_for_each_other_and_are_not_kept() {
    let running = Running::with(BookingConfig::default(), Surroundings::default()).await;
    for _ in 0..3 {
        let request = Request::get("/bookings").header("x-correlation-id", "always-the-same");
        running.send(request.body(Body::empty()).unwrap()).await;
    }
    let recorded = until("three requests to be told of", async || {
        let recorded = running.recorded().await;
        (recorded.len() == 3).then_some(recorded)
    })
    .await;
    let mut keys: Vec<&String> = recorded.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "{recorded:?}");
    let log = FaultyLog::new(|_| Fate::Taken);
    let (stop, stopped) = watch::channel(false);
    let sending = running
        .booking
        .relay(log.clone(), RelaySettings::default(), stopped);
    let relay = tokio::spawn(sending);
    all_sent(&running.booking).await;
    stop.send(true).unwrap();
    relay.await.unwrap();
    assert_eq!(log.len(), 11 + 3);
    assert!(running.recorded().await.is_empty());
    // What tells of bookings, resources and users stays for the window.
    assert_eq!(told_again(&running.booking).await, 11);
}

#[tokio::test]
async fn who_has_no_token_writes_nothing_to_the_disk() {
    let running = with_tokens(BookingConfig::default()).await;
    for _ in 0..5 {
        running.get("/bookings").await.problem(401);
    }
    let bearer = format!("Bearer {}", token("user-1", &[]));
    let request = Request::get("/bookings").header("authorization", bearer);
    running.send(request.body(Body::empty()).unwrap()).await;
    let recorded = until("a request to be told of", async || {
        let recorded = running.recorded().await;
        (!recorded.is_empty()).then_some(recorded)
    })
    .await;
    let statuses: Vec<i64> = recorded.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, [200]);
}

#[tokio::test]
async fn usage_comes_in_pages_of_resources_of_the_kind_that_is_asked_for() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    let stretch = format!("from={}&to={}", time(0), time(24));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/analytics/usage?{stretch}&limit=3{cursor}");
        let page = running.get(&path).await.json();
        let resources = page["resources"].as_array().unwrap();
        assert!(resources.len() <= 3, "{page}");
        seen.extend(resources.iter().map(|usage| usage["resourceId"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["room-1", "room-2", "room-3", "room-4"]);
    let none = running
        .get(&format!("/analytics/usage?{stretch}&kind=submarine"))
        .await
        .json();
    assert_eq!(none["resources"], json!([]));
    assert!(none["next"].is_null());
}

/// Gives each of two rooms so many bookings, of a length and from start to start in milliseconds.
async fn full(running: &Running, rooms: [&str; 2], count: i64, length_ms: i64, every_ms: i64) {
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < ?3 - 1)
         INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                               blocked_until_ms, attendees_count, created_ms, updated_ms)
         SELECT room || '-' || n, room, 'user-1', 't', 'confirmed', ?6 + ?5 * n,
                ?6 + ?5 * n + ?4, ?6 + ?5 * n + ?4, 1, 0, 0
         FROM number CROSS JOIN (SELECT ?1 AS room UNION SELECT ?2)",
    )
    .bind(rooms[0])
    .bind(rooms[1])
    .bind(count)
    .bind(length_ms)
    .bind(every_ms)
    .bind(crate::running::NOON_MS)
    .execute(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_page_of_usage_ends_where_its_resources_have_as_many_bookings_as_one_answer_counts() {
    let running = Running::new().await;
    // Five of every ten minutes, so that a year has room for them.
    full(&running, ["room-1", "room-2"], 24_999, 300_000, 600_000).await;
    let pages = async || -> Vec<Vec<String>> {
        let year = "from=2026-08-19T00:00:00Z&to=2027-08-19T00:00:00Z";
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/analytics/usage?{year}{cursor}");
            let page = running.get(&path).await.json();
            let resources = page["resources"].as_array().unwrap().iter();
            let ids = resources.map(|usage| usage["resourceId"].as_str().unwrap().to_owned());
            pages.push(ids.collect());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    };
    // 49,998 and one more are counted in one answer, since what is not counted yet may be none.
    let before = ["room-1", "room-2", "room-3", "room-4"];
    running.book(&in_the_gap(0)).await;
    assert_eq!(pages().await, [before]);
    running.book(&in_the_gap(1)).await;
    assert_eq!(pages().await, [&before[..2], &before[2..]]);
}

/// A booking of room-1 between two of those.
fn in_the_gap(number: u32) -> serde_json::Value {
    let mut wish = wish(9);
    wish["startTime"] = json!(format!("2026-08-20T09:{number}5:00Z"));
    wish["endTime"] = json!(format!("2026-08-20T09:{}0:00Z", number + 1));
    wish
}

#[tokio::test]
async fn a_page_of_availability_ends_where_its_resources_have_more_than_one_answer_holds() {
    let running = Running::new().await;
    // Ten of every fifteen minutes, so that each booking has a free stretch behind it.
    full(&running, ["room-1", "room-3"], 11_000, 600_000, 900_000).await;
    let year = "from=2026-08-19T00:00:00Z&to=2027-08-19T00:00:00Z";
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = Request::get(format!("/availability?{year}{cursor}"));
        let response = tower::ServiceExt::oneshot(
            running.router.clone(),
            request.body(Body::empty()).unwrap(),
        );
        let body = axum::body::to_bytes(response.await.unwrap().into_body(), 8 << 20);
        let page: serde_json::Value = serde_json::from_slice(&body.await.unwrap()).unwrap();
        let items = page["items"].as_array().unwrap().iter();
        pages.push(
            items
                .map(|item| item["resourceId"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        pages,
        [vec!["room-1"], vec!["room-2", "room-3"], vec!["room-4"]]
    );
}

#[tokio::test]
async fn prometheus_sees_how_the_place_was_used_of_late() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // The sweeper runs on this thread.
    let _local = metrics::set_default_local_recorder(&recorder);
    let running = Running::new().await;
    let missed = running.book(&wish(9)).await;
    let kept = running.book(&wish(10)).await;
    let waited = running.join(&wait(2, 10)).await;
    running
        .clock
        .forward(std::time::Duration::from_secs(24 * 3600 + 1800));
    running.step(&missed, "no-show").await;
    running.step(&kept, "check-in").await;
    let (stop, stopped) = watch::channel(false);
    let sweeper = tokio::spawn(running.booking.sweeper(stopped));
    let shown = until("the figures", async || {
        let shown = metrics.render();
        shown
            .contains("carillon_recent_waitlist_conversion_ratio 0")
            .then_some(shown)
    })
    .await;
    stop.send(true).unwrap();
    sweeper.await.unwrap();
    for line in [
        "carillon_recent_bookings{status=\"no_show\"} 1",
        "carillon_recent_bookings{status=\"checked_in\"} 1",
        "carillon_recent_bookings{status=\"cancelled\"} 0",
        "carillon_recent_lead_time_minutes{quantile=\"0.5\"} 1380",
        "carillon_recent_no_show_ratio 0.5",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert_eq!(running.stands(&waited).await.0, "expired");
}
