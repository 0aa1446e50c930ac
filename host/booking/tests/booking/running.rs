//! A service on a folder of its own, and what tests ask of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use carillon_booking::{Booking, BookingConfig, Clock, Surroundings};
use carillon_events::Event;
use serde_json::{Map, Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tempfile::TempDir;
use tower::ServiceExt;

/// 2026-08-19T10:00:00Z, when the clock of tests starts.
pub(crate) const NOON_MS: i64 = 1_787_133_600_000;

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOON_MS)))
    }

    pub(crate) fn forward(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Somebody sets it back.
    pub(crate) fn back(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.0.fetch_sub(by_ms, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::from_fn(move || now.load(Ordering::SeqCst))
    }
}

/// The default configuration, without an event for each request, since tests look at the others; and
/// who has booked can check in at once, a week ahead, so that the clock need not be moved for it.
pub(crate) fn quiet() -> BookingConfig {
    BookingConfig {
        analytics: false,
        check_in_early_minutes: 7 * 24 * 60,
        ..BookingConfig::default()
    }
}

pub(crate) struct Running {
    pub(crate) booking: Booking,
    pub(crate) router: Router,
    pub(crate) clock: HandClock,
    pub(crate) folder: Arc<TempDir>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The body, which has to be a problem document of this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let document = self.json();
        assert_eq!(document["status"], status);
        document
    }
}

impl Running {
    /// A service with the demo's rows.
    pub(crate) async fn new() -> Self {
        Self::with(quiet(), Surroundings::default()).await
    }

    pub(crate) async fn with(config: BookingConfig, surroundings: Surroundings) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let running = Self::on(folder, HandClock::new(), config, surroundings).await;
        assert!(running.booking.seed_demo().await.unwrap());
        running
    }

    /// A service on this folder, with what is in it.
    pub(crate) async fn on(
        folder: Arc<TempDir>,
        clock: HandClock,
        config: BookingConfig,
        surroundings: Surroundings,
    ) -> Self {
        let booking = Booking::open_at(folder.path(), config, clock.clock())
            .await
            .unwrap();
        let router = booking.router(surroundings).unwrap();
        Self {
            booking,
            router,
            clock,
            folder,
        }
    }

    /// Another service on the same folder, as after a restart.
    pub(crate) async fn again(self) -> Self {
        let Self {
            folder,
            clock,
            booking,
            router,
        } = self;
        drop((booking, router));
        Self::on(folder, clock, quiet(), Surroundings::default()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(text.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// Books and answers the id.
    pub(crate) async fn book(&self, wish: &Value) -> String {
        let answer = self.post("/bookings", wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn step(&self, id: &str, step: &str) -> Answer {
        let path = format!("/bookings/{id}/{step}");
        self.send(Request::post(path).body(Body::empty()).unwrap())
            .await
    }

    /// Everything in the outbox, in order, decoded as a reader would.
    pub(crate) async fn events(&self) -> Vec<Event> {
        events_in(self.folder.path()).await
    }

    /// The kinds in the outbox after the demo's own.
    pub(crate) async fn kinds(&self) -> Vec<String> {
        let events = self.events().await;
        let kinds = events.iter().map(|event| event.kind.to_string());
        kinds
            .filter(|kind| kind != "resource.created" && kind != "user.created")
            .collect()
    }
}

/// A connection of its own to the database, past the service.
pub(crate) async fn connect(folder: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(folder.join("booking.db"))
        .foreign_keys(true)
        .connect()
        .await
        .unwrap()
}

/// Everything that was told. Each field of it has to be in the catalogue.
pub(crate) async fn events_in(folder: &Path) -> Vec<Event> {
    let rows = sqlx::query("SELECT value FROM outbox ORDER BY seq")
        .fetch_all(&mut connect(folder).await)
        .await
        .unwrap();
    let events = rows
        .iter()
        .map(|row| carillon_events::decode(row.get::<&[u8], _>(0)).unwrap());
    let events: Vec<Event> = events.collect();
    for event in &events {
        let entry = carillon_events::catalogue::find(event.kind.as_str()).unwrap();
        let data: Map<String, Value> = serde_json::from_str(event.data.get()).unwrap();
        for name in data.keys() {
            let is_known = entry.data.iter().any(|field| field.name == name);
            assert!(is_known, "{name} of {} is not in the catalogue", event.kind);
        }
    }
    events
}

/// A wish for room-1 for an hour that begins this many hours after 2026-08-20T00:00:00Z.
pub(crate) fn wish(hour: u32) -> Value {
    json!({
        "resourceId": "room-1", "userId": "user-1", "title": "Team Meeting",
        "startTime": time(hour), "endTime": time(hour + 1), "attendeesCount": 5,
    })
}

pub(crate) fn time(hour: u32) -> String {
    let (day, hour) = (20 + hour / 24, hour % 24);
    format!("2026-08-{day:02}T{hour:02}:00:00Z")
}

/// Waits until the condition holds, at most ten seconds.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}
