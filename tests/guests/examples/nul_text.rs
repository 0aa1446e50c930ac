//! Answers a title with U+0000, which the host refuses.

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;

#[plugin(
    name = "nul-text",
    summary = "Answers a title with U+0000, which the host refuses.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let mut actions = echo(&event);
    if let (true, Some(Action::Notify(notification))) = (misbehaves(&event), actions.first_mut()) {
        notification.title = "before\0after".to_owned();
    }
    Ok(actions)
}
