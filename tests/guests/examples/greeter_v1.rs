//! Greets the user of every event.

use carillon_guests::greet;
use carillon_plugin::prelude::*;

#[plugin(
    name = "greeter",
    version = "1.0.0",
    summary = "Greets the user of every event.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    Ok(greet(&event, "Hello:"))
}
