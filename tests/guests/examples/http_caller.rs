//! Requests `eventData.url` and tells what came of it: the status, or the error.
//!
//! `eventData` may have `method`, `headers` (an object), `body`, `timeoutMs`, and `times`, for a
//! number of requests. Without a URL it only tells of the event.

use std::time::Duration;

use carillon_guests::{echo, field};
use carillon_plugin::prelude::*;
use serde_json::Value;

#[plugin(
    name = "http-caller",
    summary = "Requests eventData.url and tells what came of it.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let Value::String(url) = field(&event, "url") else {
        return Ok(echo(&event));
    };
    let request = request(&event, url);
    let times = field(&event, "times").as_u64().unwrap_or(1);
    let mut outcomes = Vec::new();
    let mut body = String::new();
    for _ in 0..times {
        match request.send() {
            Ok(response) => {
                body = String::from_utf8_lossy(&response.body).into_owned();
                outcomes.push(response.status.to_string());
            }
            Err(error) => outcomes.push(words(error)),
        }
    }
    let title = outcomes.last().map_or("nothing", String::as_str);
    let notification = Notification::to_user(event.require_user()?)
        .category("test")
        .title(title.chars().take(200).collect::<String>())
        .body(body.chars().take(1_000).collect::<String>())
        .data(&outcomes)?;
    Ok(vec![notification.into()])
}

fn request(event: &Event, url: String) -> http::Request {
    let text = |key: &str| field(event, key).as_str().map(str::to_owned);
    let method = text("method").unwrap_or_else(|| "GET".to_owned());
    let mut request =
        http::Request::new(method, url).body(text("body").unwrap_or_default().into_bytes());
    if let Value::Object(headers) = field(event, "headers") {
        for (name, value) in headers {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
    }
    match field(event, "timeoutMs").as_u64() {
        Some(timeout_ms) => request.timeout(Duration::from_millis(timeout_ms)),
        None => request,
    }
}

fn words(error: http::Error) -> String {
    match error {
        http::Error::NotGranted(reason) => format!("not-granted: {reason}"),
        http::Error::Timeout => "timeout".to_owned(),
        http::Error::TooLarge => "too-large".to_owned(),
        http::Error::Failed(reason) => format!("failed: {reason}"),
    }
}
