//! An operator at a host whose pipeline runs, with guests to load.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use carillon_bus::{Producer, ProducerConfig, Record};
use carillon_events::{Draft, Kind};
use carillon_gateway::GatewayConfig;
use carillon_store::StoreConfig;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::host::{ADMIN_TOKEN, Host, PATIENCE};

/// When the events happened, milliseconds since 1970.
pub(crate) const EVENTS_MS: i64 = 1_755_600_000_000;

pub(crate) struct Operator {
    pub(crate) host: Host,
    http: reqwest::Client,
    producer: Producer,
}

impl Operator {
    /// A host whose pipeline runs, without plugins.
    pub(crate) async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub(crate) async fn with(config: GatewayConfig) -> Self {
        let mut host = Host::with(config, StoreConfig::default()).await;
        host.pipeline.start().await.unwrap();
        let quick = ProducerConfig {
            linger_ms: 0,
            ..ProducerConfig::default()
        };
        Self {
            producer: Producer::new(&host.cluster, &quick).unwrap(),
            http: reqwest::Client::new(),
            host,
        }
    }

    /// A request to `/admin/…` with the operator's token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.host.url(&format!("/admin/{path}")))
            .bearer_auth(ADMIN_TOKEN)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Puts a guest in under a name, or under its own with `_`.
    pub(crate) async fn put(&self, path: &str, guest: &str) -> (u16, Value) {
        let request = self.request(Method::PUT, &format!("plugins/{path}"));
        answer(request.body(binary(guest))).await
    }

    /// Loads a guest that must be accepted.
    pub(crate) async fn load(&self, guest: &str) -> Value {
        let (status, outcome) = self.put("_", guest).await;
        assert!(status == 200 || status == 201, "{outcome}");
        outcome
    }

    pub(crate) async fn open(&self, path: &str) -> Response {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    /// Produces an event of `user`; its id is `id`.
    pub(crate) async fn send(&self, id: &str, user: &str) {
        let event = Draft::new(Kind::parse("booking.created").unwrap(), EVENTS_MS)
            .id(id)
            .user(user)
            .resource("room-1")
            .subject("booking-1")
            .data(json!({ "title": "Retrospective" }))
            .unwrap()
            .to_json();
        let record = Record {
            topic: "booking-events".to_owned(),
            key: Some(b"booking-1".to_vec()),
            value: event,
            timestamp_ms: Some(EVENTS_MS),
            headers: Vec::new(),
        };
        self.producer.send(record).await.unwrap();
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn eventually(&self, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (_, answer) = self.get(path).await;
            if enough(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{path} still answers {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends a request whose answer is JSON.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// A guest of `tests/guests`.
pub(crate) fn binary(guest: &str) -> Vec<u8> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/guests/{guest}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `bash plugins/build.sh --guests`",
            path.display()
        )
    })
}
