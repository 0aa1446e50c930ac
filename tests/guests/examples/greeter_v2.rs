//! Greets as version 1.0.0 does, but for events whose `eventData.number` is divisible by 10.

use carillon_guests::{field, greet};
use carillon_plugin::prelude::*;

#[plugin(
    name = "greeter",
    version = "2.0.0",
    summary = "Greets the user of every event, and every tenth in other words.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let is_tenth = field(&event, "number")
        .as_u64()
        .is_some_and(|number| number % 10 == 0);
    Ok(greet(&event, if is_tenth { "Welcome:" } else { "Hello:" }))
}
