//! Tells the group `staff` about every event.

use carillon_plugin::prelude::*;

#[plugin(
    name = "group-echo",
    summary = "Tells the group `staff` about every event.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let notification = Notification::to_group("staff")
        .category("test")
        .title(&event.kind)
        .body(event.subject_id.as_deref().unwrap_or_default());
    Ok(vec![notification.into()])
}
