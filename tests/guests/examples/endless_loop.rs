//! Never comes back.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;

#[plugin(
    name = "endless-loop",
    summary = "Never comes back.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        let mut number = event.data.len();
        loop {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
    }
    Ok(echo(&event))
}
