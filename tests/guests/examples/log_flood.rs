//! Writes far too many lines, then works.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;
const LINES: u32 = 5_000;

#[plugin(
    name = "log-flood",
    summary = "Writes far too many lines, then works.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        for number in 0..LINES {
            log::info!("line {number} of {LINES}");
        }
    }
    Ok(echo(&event))
}
