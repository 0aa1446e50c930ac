//! The logic of `plugins/booking-updates`, compiled for this machine.
//!
//! A plugin's function is not public, so it stands here again; the texts are the plugin's own.
//! The benchmark first checks that both say the same.

#[path = "../../../../plugins/booking-updates/src/wording.rs"]
mod wording;

use carillon_plugin::prelude::*;
use carillon_sandbox::GuestEvent;
use serde::Serialize;

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

pub(crate) fn booking_updates(event: &Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let booking = event.booking()?;
    let text = wording::text(event, &booking);
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

/// The logic of the guest `echo`.
pub(crate) fn echo(event: &Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let notification = Notification::to_user(user)
        .category("test")
        .title(&event.kind)
        .body(event.subject_id.as_deref().unwrap_or_default());
    Ok(vec![notification.into()])
}

/// An event as a plugin gets it: the texts are its own, natively and in the sandbox.
pub(crate) fn owned(event: &GuestEvent<'_>) -> Event {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Event {
        id: event.id.to_owned(),
        kind: event.kind.to_owned(),
        time: event.time_ms,
        logged_at: event.logged_at_ms,
        user_id: own(event.user_id),
        resource_id: own(event.resource_id),
        subject_id: own(event.subject_id),
        data: event.data.to_owned(),
        correlation_id: own(event.correlation_id),
        position: carillon_plugin::Position {
            topic: event.topic.to_owned(),
            partition: event.partition,
            offset: event.offset,
        },
        attempt: event.attempt,
    }
}
