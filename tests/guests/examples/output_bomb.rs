//! Answers far too much: many actions, or by `eventData.bomb` = `body` one huge text.

use carillon_guests::{echo, field, misbehaves};
use carillon_plugin::prelude::*;
const MANY_ACTIONS: usize = 20_000;
/// More than any limit on an answer, less than the limit of the guest's memory.
const HUGE_TEXT_BYTES: usize = 8 << 20;

#[plugin(
    name = "output-bomb",
    summary = "Answers far too much: many actions, or by `eventData.bomb` = `body` one huge text.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if !misbehaves(&event) {
        return Ok(echo(&event));
    }
    let small = Notification::to_user("user-1")
        .category("test")
        .title("boom");
    if field(&event, "bomb") == "body" {
        return Ok(vec![small.body("x".repeat(HUGE_TEXT_BYTES)).into()]);
    }
    Ok(vec![small.into(); MANY_ACTIONS])
}
