//! Tells people what became of their bookings.

use carillon_plugin::prelude::*;

#[plugin(
    name = "booking-updates",
    summary = "Tells people what became of their bookings.",
    subscriptions = ["booking.*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let booking = event.booking()?;
    Ok(vec![
        Notification::to_user(event.require_user()?)
            .category("booking")
            .title(booking.title.as_deref().unwrap_or("your booking"))
            .into(),
    ])
}
