//! What plugins log, as it is written.

use carillon_gateway::GatewayConfig;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::host::PATIENCE;
use crate::operator::{Operator, answer};

struct Followed {
    response: Response,
    text: String,
}

impl Followed {
    async fn open(operator: &Operator, path: &str) -> Self {
        let response = operator.open(path).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next block; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("the server says something").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that is no heartbeat.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            let Some((name, data)) = block.split_once('\n') else {
                assert_eq!(block, ":");
                continue;
            };
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            let data = data.strip_prefix("data: ").unwrap();
            return Some((name, serde_json::from_str(data).unwrap()));
        }
    }

    async fn line(&mut self) -> Value {
        let (name, line) = self.event().await.expect("a line");
        assert_eq!(name, "line");
        line
    }
}

#[tokio::test]
async fn a_log_is_read_from_its_tail_and_followed_until_the_host_stops() {
    let operator = Operator::start().await;
    operator.load("greeter-v1").await;
    operator.post("plugins/greeter/pause", &json!({})).await;
    let (_, whole) = operator.get("plugins/greeter/logs").await;
    let lines = whole["items"].as_array().unwrap();
    assert_eq!(lines.last().unwrap()["text"], "it is paused", "{whole}");

    let (_, tail) = operator.get("plugins/greeter/logs?tail=1").await;
    assert_eq!(tail["items"].as_array().unwrap().len(), 1);

    let mut followed = Followed::open(&operator, "plugins/greeter/logs?tail=1&follow=true").await;
    assert_eq!(followed.line().await["text"], "it is paused");
    operator.post("plugins/greeter/resume", &json!({})).await;
    let next = followed.line().await;
    assert_eq!(next["text"], "it goes on");
    let number = |line: &Value| line["number"].as_u64().unwrap();
    assert_eq!(number(&next), number(&tail["items"][0]) + 1);

    let (ended, ()) = tokio::join!(followed.event(), operator.host.stop());
    let (name, why) = ended.expect("last words");
    assert_eq!(name, "closing");
    assert!(
        why["reason"].as_str().unwrap().contains("shutting down"),
        "{why}"
    );
    assert_eq!(followed.block().await, None);
}

#[tokio::test]
async fn a_silent_log_sends_heartbeats() {
    let operator = Operator::with(GatewayConfig {
        sse_heartbeat_ms: 20,
        ..GatewayConfig::default()
    })
    .await;
    operator.load("greeter-v1").await;
    let mut followed = Followed::open(&operator, "plugins/greeter/logs?tail=1&follow=true").await;
    followed.line().await;
    for _ in 0..3 {
        assert_eq!(followed.block().await.as_deref(), Some(":"));
    }
    operator.host.stop().await;
}

#[tokio::test]
async fn only_so_many_follow_at_a_time_and_a_place_is_free_once_one_leaves() {
    let operator = Operator::start().await;
    operator.load("greeter-v1").await;
    let path = "plugins/greeter/logs?follow=true";
    let mut followers = Vec::new();
    for _ in 0..64 {
        followers.push(operator.open(path).await);
    }
    let (status, problem) = answer(operator.request(Method::GET, path)).await;
    assert_eq!(status, 503, "{problem}");
    followers.clear();
    operator.host.connections(0).await;
    operator.open(path).await;
    operator.host.stop().await;
}
