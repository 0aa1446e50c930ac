//! A version of the greeter that panics on every event.

use carillon_plugin::prelude::*;

#[plugin(
    name = "greeter",
    version = "3.0.0",
    summary = "Panics on every event.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    panic!("this greeter panics on {}", event.id)
}
