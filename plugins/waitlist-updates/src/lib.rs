//! Tells people how they stand on a waitlist.
//!
//! All notifications about one entry share a collapse key: the inbox shows the newest.

mod wording;

use carillon_plugin::prelude::*;
use serde::Serialize;

/// What clients get beside the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    kind: &'a str,
    waitlist_id: Option<&'a str>,
    resource_id: Option<&'a str>,
    booking_id: Option<&'a str>,
    position: Option<u32>,
    desired_start_time: Option<&'a str>,
    desired_end_time: Option<&'a str>,
    hold_until: Option<&'a str>,
}

#[plugin(
    name = "waitlist-updates",
    summary = "Tells people how they stand on a waitlist.",
    subscriptions = ["waitlist.*"],
    settings = [setting(
        key = "link_base",
        summary = "The address of the booking site, https://book.example.org: notifications link to waitlist/RESOURCE or bookings/ID below it. Empty: no links.",
        default = ""
    )]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let entry = event.waitlist()?;
    let text = wording::text(&event, &entry);

    let mut notification = Notification::to_user(user)
        .category("waitlist")
        .title(text.title)
        .body(text.body)
        .priority(text.priority)
        .data(&Details {
            kind: &event.kind,
            waitlist_id: event.subject_id.as_deref(),
            resource_id: event.resource_id.as_deref(),
            booking_id: entry.booking_id.as_deref(),
            position: entry.position,
            desired_start_time: entry.desired_start_time.as_deref(),
            desired_end_time: entry.desired_end_time.as_deref(),
            hold_until: entry.hold_until.as_deref(),
        })?;
    if let Some(id) = &event.subject_id {
        notification = notification.collapse_key(format!("waitlist:{id}"));
    }
    let base = settings::get("link_base").unwrap_or_default();
    // What is only held is accepted in the waitlist.
    let booking = entry.booking_id.as_ref();
    let booking = booking.filter(|_| entry.hold_until.is_none());
    notification = match (booking, &event.resource_id) {
        (Some(booking), _) => notification.link_below(&base, &["bookings", booking]),
        (None, Some(resource)) => notification.link_below(&base, &["waitlist", resource]),
        (None, None) => notification,
    };
    Ok(vec![notification.into()])
}

#[cfg(test)]
mod tests;
