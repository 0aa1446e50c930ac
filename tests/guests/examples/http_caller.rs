//! Imports `carillon:plugin/http`.

use carillon_plugin::bindings::carillon::plugin::http;
use carillon_plugin::prelude::*;

#[plugin(
    name = "http-caller",
    summary = "Sends a request for every event.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let request = http::Request {
        method: "GET".to_owned(),
        url: format!("https://example.org/{}", event.id),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: None,
    };
    match http::send(&request) {
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(Failure::retry(format!("no answer: {error:?}"))),
    }
}
