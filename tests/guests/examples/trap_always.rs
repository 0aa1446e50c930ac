//! Panics.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;

#[plugin(
    name = "trap-always",
    summary = "Panics.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    assert!(!misbehaves(&event), "this guest panics on {}", event.id);
    Ok(echo(&event))
}
