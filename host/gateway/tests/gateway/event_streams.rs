//! `GET /connection/sse`.

use std::time::Duration;

use carillon_gateway::{CloseCode, GatewayConfig};
use carillon_store::StoreConfig;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::host::{Host, PATIENCE};

struct Events {
    response: reqwest::Response,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(host: &Host, user: &str, groups: &[&str], last_event_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new()
            .get(host.url("/connection/sse"))
            .header(
                "authorization",
                format!("Bearer {}", host.token(user, groups)),
            );
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk())
                .await
                .expect("the server says something")
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.next_named())
            .await
            .expect("an event, not only heartbeats")
    }

    async fn next_named(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let mut event = Event::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event.name),
                    Some(("id", id)) => id.clone_into(&mut event.id),
                    Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                    _ => assert!(line == ":" || line == "retry: 1000", "{line}"),
                }
            }
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }
}

#[tokio::test]
async fn an_event_source_that_comes_back_gets_what_it_missed() {
    let host = Host::start().await;
    let mut events = Events::open(&host, "ada", &["staff"], None).await;
    let opening = events.next().await.unwrap();
    assert_eq!(opening.name, "connected");
    assert_eq!(opening.data["wasRecovering"], false);
    host.notify("user:ada", 2).await;
    host.notify_keyed("group:staff", "k").await;
    host.withdraw("group:staff", "k").await;
    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.data["offset"]),
        ("notification", &json!(1))
    );
    assert_eq!(
        first.id,
        format!("user:ada@1@{},group:staff@0", host.store.epoch())
    );
    drop(events);
    host.connections(0).await;
    host.notify("user:ada", 100).await;
    let mut again = Events::open(&host, "ada", &["staff"], Some(&first.id)).await;
    let opening = again.next().await.unwrap();
    assert_eq!(
        (opening.name.as_str(), &opening.data["recovered"]),
        ("recovered", &json!(true))
    );
    // Cut off after this, the client must not skip what it has not got: the id is the old one.
    assert_eq!(opening.id, first.id);
    let (mut own, mut group, mut last_id) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..103 {
        let event = again.next().await.unwrap();
        match event.data["stream"].as_str() {
            Some("user:ada") => own.push(event.data["offset"].as_u64().unwrap()),
            _ => group.push(event.name),
        }
        last_id = event.id;
    }
    assert_eq!(own, (2..=102).collect::<Vec<_>>());
    assert_eq!(group, ["notification", "withdrawal"]);
    assert_eq!(
        last_id,
        format!("user:ada@102@{},group:staff@2", host.store.epoch())
    );
}

#[tokio::test]
async fn an_event_source_is_told_when_something_is_lost() {
    let store = StoreConfig {
        history_per_stream: 10,
        ..StoreConfig::default()
    };
    let host = Host::with(GatewayConfig::default(), store).await;
    host.notify("user:ada", 50).await;
    host.store.trim_streams().await.unwrap();
    let trimmed = format!("user:ada@3@{}", host.store.epoch());
    for (id, recovery) in [
        (trimmed.as_str(), "trimmed"),
        ("user:ada@45@old", "epoch-changed"),
        ("???", "epoch-changed"),
    ] {
        let mut events = Events::open(&host, "ada", &[], Some(id)).await;
        let opening = events.next().await.unwrap();
        assert_eq!(
            (opening.name.as_str(), &opening.data["recovered"]),
            ("recovered", &json!(false))
        );
        assert_eq!(opening.data["streams"]["user:ada"]["recovery"], recovery);
        assert_eq!(opening.id, format!("user:ada@50@{}", host.store.epoch()));
    }
}

#[tokio::test]
async fn the_token_and_the_position_may_come_in_the_query() {
    let host = Host::start().await;
    host.notify("user:ada", 3).await;
    let id = format!("user:ada@2@{}", host.store.epoch());
    let url = host.url(&format!(
        "/connection/sse?token={}&lastEventId={id}",
        host.token("ada", &[])
    ));
    let mut events = Events {
        response: reqwest::get(url).await.unwrap(),
        text: String::new(),
    };
    assert_eq!(events.next().await.unwrap().data["recovered"], true);
    assert_eq!(events.next().await.unwrap().data["offset"], 3);
}

#[tokio::test]
async fn a_bad_token_is_a_problem_document() {
    let host = Host::start().await;
    for url in ["/connection/sse", "/connection/sse?token=nonsense"] {
        let response = reqwest::get(host.url(url)).await.unwrap();
        assert_eq!(response.status(), 401, "{url}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}

#[tokio::test]
async fn a_silent_event_stream_is_kept_alive_and_a_shutdown_says_so() {
    let config = GatewayConfig {
        sse_heartbeat_ms: 20,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let mut events = Events::open(&host, "ada", &[], None).await;
    events.next().await.unwrap();
    for _ in 0..3 {
        assert_eq!(events.block().await.unwrap(), ":");
    }
    let (closing, ()) = tokio::join!(events.next(), host.stop());
    let closing = closing.unwrap();
    assert_eq!(closing.name, "closing");
    assert_eq!(closing.data["code"], CloseCode::Shutdown.number());
    assert_eq!(closing.data["reconnect"], true);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn an_event_stream_ends_with_its_token() {
    let host = Host::start().await;
    let url = host.url(&format!(
        "/connection/sse?token={}",
        host.token_for("ada", &[], Duration::from_secs(1))
    ));
    let mut events = Events {
        response: reqwest::get(url).await.unwrap(),
        text: String::new(),
    };
    assert_eq!(events.next().await.unwrap().name, "connected");
    assert_eq!(
        events.next().await.unwrap().data["code"],
        CloseCode::Expired.number()
    );
}
