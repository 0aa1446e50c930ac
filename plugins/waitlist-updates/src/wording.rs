//! What a person reads, by kind of event.

use carillon_plugin::prelude::*;

/// The text of a notification and how urgent it is.
pub(crate) struct Text {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) priority: Priority,
}

/// The text for an event; kinds that are not known get a sober one.
pub(crate) fn text(event: &Event, entry: &WaitlistData) -> Text {
    let place = entry
        .resource_name
        .as_deref()
        .or(event.resource_id.as_deref())
        .unwrap_or("the resource");
    let when = time::show_span(
        entry.desired_start_time.as_deref(),
        entry.desired_end_time.as_deref(),
    );
    // `room-1, 19 Aug 2025, 14:00–16:00 UTC`, or the place alone.
    let wish = match &when {
        Some(when) => format!("{place}, {when}"),
        None => place.to_owned(),
    };
    let reason = reason(entry.reason.as_deref());

    let held_until = entry.hold_until.as_deref().map(time::show);

    let (heading, body, priority) = match (event.verb(), held_until) {
        ("joined", _) => (
            "On the waitlist",
            format!(
                "{wish}. {}You need to do nothing: you will hear as soon as it is yours.",
                position(entry.position)
            ),
            Priority::Normal,
        ),
        ("promoted", Some(until)) => (
            "Held for you",
            format!(
                "Your turn came: {wish} is held for you until {until}. Accept it by then, or it goes to the next in line."
            ),
            Priority::High,
        ),
        ("promoted", None) => (
            "It is yours",
            format!(
                "Your turn came: {wish} is booked for you. Check in when you arrive, or cancel so that the next in line gets it."
            ),
            Priority::High,
        ),
        ("removed", _) => (
            "Off the waitlist",
            format!(
                "You no longer wait for {wish}. {reason}If that is not what you want, join again."
            ),
            Priority::Low,
        ),
        ("expired", _) if !reason.is_empty() => (
            "Not this time",
            format!("You no longer wait for {wish}. {reason}Try another time or another place."),
            Priority::Normal,
        ),
        ("expired", _) => (
            "Not this time",
            format!(
                "{wish}: it did not become free in time, so your wait has ended. Try another time or another place."
            ),
            Priority::Normal,
        ),
        (other, _) => (
            "Waitlist update",
            format!("{wish}. What happened: {}.", other.replace('_', " ")),
            Priority::Normal,
        ),
    };
    Text {
        title: format!("{heading}: {place}"),
        body,
        priority,
    }
}

fn position(position: Option<u32>) -> String {
    match position {
        Some(1) => "You are next in line. ".to_owned(),
        Some(place) if place > 1 => format!("You are number {place} in line. "),
        _ => String::new(),
    }
}

/// The reason as a sentence of its own.
fn reason(reason: Option<&str>) -> String {
    let text = reason.unwrap_or_default().trim().trim_end_matches('.');
    if text.is_empty() {
        return String::new();
    }
    format!("Reason: {text}. ")
}
