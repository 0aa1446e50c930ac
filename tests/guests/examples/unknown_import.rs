//! Imports `carillon:plugin/teleport@0.1.2`, which no host offers.

use carillon_plugin::prelude::*;

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
mod newer {
    wit_bindgen::generate!({
        inline: "
            package guests:unknown-import;
            world newer {
                import carillon:plugin/teleport@0.1.2;
            }
        ",
        path: "newer-host",
        generate_all,
    });
}

#[plugin(
    name = "unknown-import",
    summary = "Takes people where they booked.",
    subscriptions = ["booking.checked_in"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    newer::carillon::plugin::teleport::go(event.resource_id.as_deref().unwrap_or_default());
    Ok(Vec::new())
}
