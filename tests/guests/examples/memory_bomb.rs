//! Takes memory until there is none.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;
const MEBIBYTE: usize = 1 << 20;

#[plugin(
    name = "memory-bomb",
    summary = "Takes memory until there is none.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        let mut hoard: Vec<Vec<u8>> = Vec::new();
        loop {
            hoard.push(std::hint::black_box(vec![1; MEBIBYTE]));
        }
    }
    Ok(echo(&event))
}
