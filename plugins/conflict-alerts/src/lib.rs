//! Warns people of what stands in the way of their bookings.
//!
//! Once a conflict is resolved, the alert is taken back: where it still waits to be sent, it must
//! not go out any more. Should the same conflict come up again, the all-clear is taken back.

mod wording;

use carillon_plugin::prelude::*;
use serde::Serialize;
use wording::Text;

/// What clients get beside the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    kind: &'a str,
    resource_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    conflicts_with: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    alternatives: &'a [String],
    start_time: Option<&'a str>,
    end_time: Option<&'a str>,
}

#[plugin(
    name = "conflict-alerts",
    summary = "Warns people of what stands in the way of their bookings.",
    subscriptions = ["conflict.*", "resource.unavailable"],
    settings = [
        setting(
            key = "link_base",
            summary = "The address of the booking site, https://book.example.org: notifications link to bookings/ID or resources/ID below it. Empty: no links.",
            default = ""
        ),
        setting(
            key = "staff_group",
            summary = "The group that hears of an unavailable resource when the event names no user.",
            default = "staff"
        )
    ]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if event.kind == "resource.unavailable" {
        unavailable(&event)
    } else {
        conflict(&event)
    }
}

fn conflict(event: &Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let conflict = event.conflict()?;
    let booking_id = conflict
        .booking_id
        .as_deref()
        .or(event.subject_id.as_deref());
    let notification = worded(
        Notification::to_user(user),
        wording::conflict(event, &conflict),
    )
    .data(&Details {
        kind: &event.kind,
        resource_id: event.resource_id.as_deref(),
        booking_id,
        conflicts_with: &conflict.conflicts_with,
        alternatives: &conflict.alternatives,
        start_time: conflict.start_time.as_deref(),
        end_time: conflict.end_time.as_deref(),
    })?;
    let Some(id) = booking_id else {
        return Ok(vec![notification.into()]);
    };

    let alert = format!("conflict:{id}");
    let all_clear = format!("conflict-resolved:{id}");
    let (key, obsolete) = match event.verb() {
        "resolved" => (all_clear, alert),
        _ => (alert, all_clear),
    };
    let notification = notification
        .collapse_key(key)
        .link_below(&link_base(), &["bookings", id]);
    Ok(vec![
        Action::withdraw_from_user(user, obsolete),
        notification.into(),
    ])
}

fn unavailable(event: &Event) -> Result<Vec<Action>, Failure> {
    let resource = event.resource()?;
    let to_whom = match event.user_id.as_deref() {
        Some(user) if !user.is_empty() => Recipient::User(user.to_owned()),
        _ => Recipient::Group(settings::parse("staff_group")?),
    };
    let resource_id = event
        .resource_id
        .as_deref()
        .or(event.subject_id.as_deref())
        .or(resource.id.as_deref());
    let notification = worded(
        Notification::to(to_whom),
        wording::unavailable(resource_id, &resource),
    )
    .data(&Details {
        kind: &event.kind,
        resource_id,
        booking_id: None,
        conflicts_with: &[],
        alternatives: &[],
        start_time: resource.start_time.as_deref(),
        end_time: resource.end_time.as_deref(),
    })?;
    let notification = match resource_id {
        Some(id) => notification
            .collapse_key(format!("resource:{id}"))
            .link_below(&link_base(), &["resources", id]),
        None => notification,
    };
    Ok(vec![notification.into()])
}

fn worded(notification: Notification, text: Text) -> Notification {
    notification
        .category(text.category)
        .title(text.title)
        .body(text.body)
        .priority(text.priority)
}

fn link_base() -> String {
    settings::get("link_base").unwrap_or_default()
}

#[cfg(test)]
mod tests;
