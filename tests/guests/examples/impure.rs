//! Keeps a count in its memory and tells it, which no plugin may rely on.

use carillon_guests::echo;
use carillon_plugin::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};
static SEEN: AtomicU32 = AtomicU32::new(0);

#[plugin(
    name = "impure",
    summary = "Keeps a count in its memory and tells it, which no plugin may rely on.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    let mut actions = echo(&event);
    if let Some(Action::Notify(notification)) = actions.first_mut() {
        notification.body = format!("this instance has seen {seen}");
    }
    Ok(actions)
}
