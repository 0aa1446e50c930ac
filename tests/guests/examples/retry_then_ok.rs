//! Asks for another attempt until `eventData.attempts`, else the setting `attempts`, is reached.

use carillon_guests::{echo, field};
use carillon_plugin::prelude::*;

#[plugin(
    name = "retry-then-ok",
    summary = "Asks for another attempt until `eventData.attempts`, else the setting `attempts`, is reached.",
    subscriptions = ["*"],
    settings = [setting(
        key = "attempts",
        summary = "The attempt that succeeds, from 1.",
        default = "3"
    )]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let wanted = match field(&event, "attempts").as_u64() {
        Some(wanted) => wanted,
        None => settings::parse("attempts")?,
    };
    // Gone with the failed attempt, so it never exceeds 1 for an event.
    let written = state::increment(&format!("event:{}", event.id), 1)?;
    if u64::from(event.attempt) < wanted {
        return Err(Failure::retry(format!(
            "attempt {} of {wanted}",
            event.attempt
        )));
    }
    let mut actions = echo(&event);
    if let Some(Action::Notify(notification)) = actions.first_mut() {
        notification.body = format!("attempt {}, written {written}", event.attempt);
    }
    Ok(actions)
}
