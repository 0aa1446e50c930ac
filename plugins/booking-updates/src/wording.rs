//! What a person reads, by kind of event.

use carillon_plugin::prelude::*;

/// The text of a notification and how urgent it is.
pub(crate) struct Text {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) priority: Priority,
}

/// The text for an event; kinds that are not known get a sober one.
pub(crate) fn text(event: &Event, booking: &BookingData) -> Text {
    let place = booking
        .resource_name
        .as_deref()
        .or(event.resource_id.as_deref());
    let what = booking.title.as_deref().or(place).unwrap_or("your booking");
    let when = time::show_span(booking.start_time.as_deref(), booking.end_time.as_deref());
    let facts = facts(place, when.as_deref(), booking.attendees_count);
    let reason = reason(booking.reason.as_deref());
    let place = place.unwrap_or("the resource");

    let (heading, body, priority) = match event.verb() {
        "created" if booking.status.as_deref() == Some("pending") => (
            "Requested",
            format!("{facts}It waits for approval. You will hear as soon as it is decided."),
            Priority::Normal,
        ),
        "created" => (
            "Booked",
            format!("{facts}Check in when you arrive, or cancel early if your plans change."),
            Priority::Normal,
        ),
        "updated" => (
            "Changed",
            format!("Now: {facts}{reason}Check that it still suits everybody who comes."),
            Priority::Normal,
        ),
        "confirmed" => (
            "Confirmed",
            format!("{facts}It is yours. Check in when you arrive."),
            Priority::Normal,
        ),
        "cancelled" => (
            "Cancelled",
            format!("{facts}{reason}If you still need it, book another time or join the waitlist."),
            Priority::High,
        ),
        "checked_in" => (
            "Checked in",
            format!(
                "{}Check out when you leave, so that others can use it.",
                until(place, booking)
            ),
            Priority::Low,
        ),
        "checked_out" => (
            "Checked out",
            format!(
                "Thank you: {place} is free for others. If something is broken or missing there, please report it."
            ),
            Priority::Low,
        ),
        "no_show" => (
            "Missed",
            format!(
                "{facts}Nobody checked in, so it may be given to others. Book again if you still need it, and cancel ahead if you cannot come."
            ),
            Priority::Normal,
        ),
        other => (
            "Booking update",
            format!("{facts}What happened: {}.", other.replace('_', " ")),
            Priority::Normal,
        ),
    };
    Text {
        title: format!("{heading}: {what}"),
        body,
        priority,
    }
}

/// `room-1, 19 Aug 2025, 14:00–16:00 UTC, 5 people. `, or as much of it as is known.
fn facts(place: Option<&str>, when: Option<&str>, attendees: Option<u32>) -> String {
    let people = match attendees {
        None | Some(0) => None,
        Some(1) => Some("1 person".to_owned()),
        Some(count) => Some(format!("{count} people")),
    };
    let known: Vec<&str> = [place, when, people.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    if known.is_empty() {
        return String::new();
    }
    format!("{}. ", known.join(", "))
}

fn until(place: &str, booking: &BookingData) -> String {
    match booking.end_time.as_deref() {
        Some(end) => format!("{place} is yours until {}. ", time::show(end)),
        None => format!("{place} is yours. "),
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
