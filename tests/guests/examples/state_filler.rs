//! Writes a value of `eventData.bytes` bytes under a key of its own for every event, and tells
//! what came of it.

use carillon_guests::field;
use carillon_plugin::prelude::*;

#[plugin(
    name = "state-filler",
    summary = "Writes a value for every event, until its space is full, and tells what came of it.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let bytes = field(&event, "bytes").as_u64().unwrap_or_default();
    let value = vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let said = match state::set(&format!("event:{}", event.id), value) {
        Ok(()) => "written".to_owned(),
        Err(error) => Failure::from(error).reason().to_owned(),
    };
    let notification = Notification::to_user(event.require_user()?)
        .category("test")
        .title(said)
        .body(event.subject_id.as_deref().unwrap_or_default());
    Ok(vec![notification.into()])
}
