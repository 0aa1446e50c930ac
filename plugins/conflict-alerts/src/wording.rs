//! What a person reads, by kind of event.

use carillon_plugin::prelude::*;

/// The text of a notification, what it is about and how urgent it is.
pub(crate) struct Text {
    pub(crate) category: &'static str,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) priority: Priority,
}

/// The text for a `conflict.*` event; kinds that are not known get a sober one.
pub(crate) fn conflict(event: &Event, conflict: &ConflictData) -> Text {
    let place = conflict
        .resource_name
        .as_deref()
        .or(event.resource_id.as_deref())
        .unwrap_or("the resource");
    let what = conflict.title.as_deref().unwrap_or(place);
    let when = time::show_span(conflict.start_time.as_deref(), conflict.end_time.as_deref());
    let wish = match &when {
        Some(when) => format!("{place}, {when}"),
        None => place.to_owned(),
    };

    let (heading, body, priority) = match event.verb() {
        "detected" => (
            "Already taken",
            format!(
                "{wish}: {}. {}",
                overlap(conflict.conflicts_with.len()),
                way_out(&conflict.alternatives)
            ),
            Priority::High,
        ),
        "resolved" => (
            "Conflict resolved",
            match instead(conflict) {
                Some(other) => {
                    format!("Instead of {wish}, you have {other}. You need to do nothing.")
                }
                None => {
                    format!("{wish}: nothing stands in the way any more. You need to do nothing.")
                }
            },
            Priority::Normal,
        ),
        other => (
            "Conflict update",
            format!("{wish}. What happened: {}.", other.replace('_', " ")),
            Priority::Normal,
        ),
    };
    Text {
        category: "conflict",
        title: format!("{heading}: {what}"),
        body,
        priority,
    }
}

/// The text for `resource.unavailable`.
pub(crate) fn unavailable(resource_id: Option<&str>, resource: &ResourceData) -> Text {
    let place = match (resource.name.as_deref(), resource_id) {
        (Some(name), Some(id)) => format!("{name} ({id})"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "A resource".to_owned(),
    };
    let when = time::show_span(resource.start_time.as_deref(), resource.end_time.as_deref())
        .unwrap_or_else(|| "for now".to_owned());
    let reason = match resource.reason.as_deref().map(str::trim) {
        Some(reason) if !reason.is_empty() => {
            format!("Reason: {}. ", reason.trim_end_matches('.'))
        }
        _ => String::new(),
    };
    Text {
        category: "resource",
        title: format!("Not available: {place}"),
        body: format!(
            "It cannot be used {when}. {reason}If you have booked it, move to another place or another time."
        ),
        priority: Priority::High,
    }
}

/// The other booking that was made, where one was: `Borealis, 19 Aug 2025, 14:00–16:00 UTC`.
fn instead(conflict: &ConflictData) -> Option<String> {
    let is_other = conflict.resolved_by.is_some() && conflict.resolved_by != conflict.booking_id;
    let name = conflict.resolved_resource_name.as_deref();
    let place = name
        .or(conflict.resolved_on.as_deref())
        .filter(|_| is_other)?;
    let when = time::show_span(
        conflict.resolved_start_time.as_deref(),
        conflict.resolved_end_time.as_deref(),
    );
    Some(match when {
        Some(when) => format!("{place}, {when}"),
        None => place.to_owned(),
    })
}

fn overlap(others: usize) -> String {
    match others {
        0 => "somebody else has it at that time".to_owned(),
        1 => "your booking overlaps another one".to_owned(),
        count => format!("your booking overlaps {count} others"),
    }
}

fn way_out(alternatives: &[String]) -> String {
    if alternatives.is_empty() {
        return "Choose another time or another place, or join the waitlist.".to_owned();
    }
    format!(
        "Free at that time: {}. Or choose another time, or join the waitlist.",
        alternatives.join(", ")
    )
}
