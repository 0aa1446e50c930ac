//! The counter with another shape of state: `count` becomes `total`, and goes on from there.

use carillon_plugin::prelude::*;

#[plugin(
    name = "counter",
    version = "2.0.0",
    summary = "Counts all events under `total`, and tells nobody.",
    subscriptions = ["*"],
    state_version = 2
)]
fn handle(_event: Event) -> Result<Vec<Action>, Failure> {
    if let Some(before) = state::get_json::<i64>("count")? {
        state::increment("total", before)?;
        state::delete("count");
    }
    state::increment("total", 1)?;
    Ok(Vec::new())
}
