//! Rejects.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;

#[plugin(
    name = "rejecter",
    summary = "Rejects.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        return Err(Failure::reject(format!("this guest rejects {}", event.id)));
    }
    Ok(echo(&event))
}
