//! Tells people what became of their bookings.
//!
//! Every kind of `booking.*` reaches the user of the booking. All notifications about one booking
//! share a collapse key, so that the inbox shows where it stands and not how it got there.

mod wording;

use carillon_plugin::prelude::*;
use serde::Serialize;

/// What clients get beside the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    kind: &'a str,
    booking_id: Option<&'a str>,
    resource_id: Option<&'a str>,
    status: Option<&'a str>,
    start_time: Option<&'a str>,
    end_time: Option<&'a str>,
}

#[plugin(
    name = "booking-updates",
    summary = "Tells people what became of their bookings.",
    subscriptions = ["booking.*"],
    settings = [setting(
        key = "link_base",
        summary = "The address of the booking site, https://book.example.org: notifications link to bookings/ID below it. Empty: no links.",
        default = ""
    )]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let booking = event.booking()?;
    let text = wording::text(&event, &booking);
    let booking_id = event.subject_id.as_deref().or(booking.id.as_deref());

    let mut notification = Notification::to_user(user)
        .category("booking")
        .title(text.title)
        .body(text.body)
        .priority(text.priority)
        .data(&Details {
            kind: &event.kind,
            booking_id,
            resource_id: event.resource_id.as_deref(),
            status: booking.status.as_deref(),
            start_time: booking.start_time.as_deref(),
            end_time: booking.end_time.as_deref(),
        })?;
    if let Some(id) = booking_id {
        let base = settings::get("link_base").unwrap_or_default();
        notification = notification
            .collapse_key(format!("booking:{id}"))
            .link_below(&base, &["bookings", id]);
    }
    Ok(vec![notification.into()])
}

#[cfg(test)]
mod tests;
