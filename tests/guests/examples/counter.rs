//! Counts all events under `count`, and those of each resource, and tells nobody.

use carillon_plugin::prelude::*;

#[plugin(
    name = "counter",
    summary = "Counts all events under `count`, and those of each resource, and tells nobody.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    state::increment("count", 1)?;
    if let Some(resource) = &event.resource_id {
        state::increment(&format!("resource:{resource}"), 1)?;
    }
    Ok(Vec::new())
}
