//! Calls itself without end.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;
/// No tail call, nothing that could become a loop, and nothing on the stack in the guest's own
/// memory: what runs out is the stack of the host's thread.
#[allow(unconditional_recursion, reason = "that is what this guest is for")]
fn descend(number: u64) -> u64 {
    descend(number.wrapping_add(1))
        .rotate_left(7)
        .wrapping_sub(number)
}

#[plugin(
    name = "recursion",
    summary = "Calls itself without end.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        let answer = descend(event.position.offset);
        log::info!("came back with {answer}");
    }
    Ok(echo(&event))
}
