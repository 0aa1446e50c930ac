//! Tells the user of every event about it.

use carillon_guests::echo;
use carillon_plugin::prelude::*;

#[plugin(
    name = "echo",
    summary = "Tells the user of every event about it.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    Ok(echo(&event))
}
