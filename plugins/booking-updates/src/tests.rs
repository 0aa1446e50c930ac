#![allow(clippy::unwrap_used)]

use carillon_plugin::testing::{Environment, EventBuilder, event};
use carillon_plugin::{Action, Notification, Priority, Recipient};
use serde::Serialize;

use super::{describe, handle};

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Data {
    title: Option<&'static str>,
    status: Option<&'static str>,
    start_time: Option<&'static str>,
    end_time: Option<&'static str>,
    attendees_count: Option<u32>,
    reason: Option<&'static str>,
}

const MEETING: Data = Data {
    title: Some("設計レビュー"),
    status: Some("confirmed"),
    start_time: Some("2025-08-19T14:00:00Z"),
    end_time: Some("2025-08-19T16:00:00Z"),
    attendees_count: Some(5),
    reason: None,
};

fn about(kind: &str, data: &Data) -> EventBuilder {
    event(kind)
        .user("user-2")
        .resource("room-2")
        .subject("booking-2")
        .data(data)
}

#[track_caller]
fn notified(event: EventBuilder) -> Notification {
    let environment = Environment::of(&describe());
    match environment.call(handle, event.build()).unwrap().as_slice() {
        [Action::Notify(notification)] => notification.clone(),
        other => panic!("expected one notification, was {other:?}"),
    }
}

#[test]
fn every_kind_says_what_happened_where_and_when_and_what_to_do_next() {
    let facts = "room-2, 19 Aug 2025, 14:00–16:00 UTC, 5 people.";
    for (kind, title, said, next, priority) in [
        (
            "booking.created",
            "Booked: 設計レビュー",
            facts,
            "Check in when you arrive",
            Priority::Normal,
        ),
        (
            "booking.updated",
            "Changed: 設計レビュー",
            facts,
            "Check that it still suits",
            Priority::Normal,
        ),
        (
            "booking.confirmed",
            "Confirmed: 設計レビュー",
            facts,
            "It is yours",
            Priority::Normal,
        ),
        (
            "booking.cancelled",
            "Cancelled: 設計レビュー",
            facts,
            "join the waitlist",
            Priority::High,
        ),
        (
            "booking.checked_in",
            "Checked in: 設計レビュー",
            "room-2 is yours until 19 Aug 2025, 16:00 UTC.",
            "Check out when you leave",
            Priority::Low,
        ),
        (
            "booking.checked_out",
            "Checked out: 設計レビュー",
            "room-2 is free",
            "please report it",
            Priority::Low,
        ),
        (
            "booking.no_show",
            "Missed: 設計レビュー",
            facts,
            "Book again",
            Priority::Normal,
        ),
        (
            "booking.teleported",
            "Booking update: 設計レビュー",
            facts,
            "What happened: teleported.",
            Priority::Normal,
        ),
    ] {
        let notification = notified(about(kind, &MEETING));
        assert_eq!(notification.title, title);
        assert!(
            notification.body.contains(said),
            "{kind}: {}",
            notification.body
        );
        assert!(
            notification.body.contains(next),
            "{kind}: {}",
            notification.body
        );
        assert_eq!(notification.priority, priority, "{kind}");
        assert_eq!(notification.recipient, Recipient::User("user-2".into()));
        assert_eq!(notification.category, "booking");
        assert_eq!(
            notification.collapse_key.as_deref(),
            Some("booking:booking-2")
        );
        assert_eq!(notification.link, None);
    }
}

#[test]
fn a_new_booking_that_needs_approval_is_called_a_request() {
    let data = Data {
        status: Some("pending"),
        ..MEETING
    };
    let notification = notified(about("booking.created", &data));
    assert_eq!(notification.title, "Requested: 設計レビュー");
    assert!(notification.body.ends_with("as soon as it is decided."));
}

#[test]
fn the_reason_of_a_cancellation_is_told() {
    let data = Data {
        reason: Some("The heating broke. "),
        ..MEETING
    };
    let body = notified(about("booking.cancelled", &data)).body;
    assert!(
        body.contains(" Reason: The heating broke. If you"),
        "{body}"
    );
}

#[test]
fn an_event_with_empty_data_still_gets_a_whole_sentence() {
    for (builder, title, body) in [
        (
            about("booking.teleported", &Data::default()),
            "Booking update: room-2",
            "room-2. What happened: teleported.",
        ),
        (
            event("booking.handed_over").user("u"),
            "Booking update: your booking",
            "What happened: handed over.",
        ),
        (
            event("booking.checked_in").user("u"),
            "Checked in: your booking",
            "the resource is yours. Check out when you leave, so that others can use it.",
        ),
    ] {
        let notification = notified(builder);
        assert_eq!(
            (notification.title.as_str(), notification.body.as_str()),
            (title, body)
        );
    }
}

#[test]
fn clients_get_the_facts_as_data() {
    let data = notified(about("booking.created", &MEETING)).data.unwrap();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    let expected = serde_json::json!({
        "kind": "booking.created", "bookingId": "booking-2", "resourceId": "room-2",
        "status": "confirmed", "startTime": "2025-08-19T14:00:00Z", "endTime": "2025-08-19T16:00:00Z",
    });
    assert_eq!(data, expected);
}

#[test]
fn with_a_link_base_a_notification_links_to_its_booking() {
    let environment = Environment::of(&describe());
    environment.set_setting("link_base", "https://book.example.org/");
    let actions = environment
        .call(handle, about("booking.created", &MEETING).build())
        .unwrap();
    let [Action::Notify(notification)] = actions.as_slice() else {
        panic!("expected one notification, was {actions:?}");
    };
    assert_eq!(
        notification.link.as_deref(),
        Some("https://book.example.org/bookings/booking-2")
    );
}

#[test]
fn an_event_without_a_user_is_rejected_with_a_reason() {
    let environment = Environment::of(&describe());
    let failure = environment
        .call(handle, event("booking.created").data(&MEETING).build())
        .unwrap_err();
    assert_eq!(
        failure.reason(),
        "booking.created event-1 has no userId, so there is nobody to tell"
    );
}

#[test]
fn data_of_the_wrong_type_is_rejected_with_its_place() {
    let environment = Environment::of(&describe());
    let odd = serde_json::json!({"title": 7});
    let failure = environment
        .call(
            handle,
            event("booking.created").user("u").data(&odd).build(),
        )
        .unwrap_err();
    assert!(
        failure.reason().starts_with(
            "eventData of booking.created event-1 cannot be read: invalid type: integer `7`"
        ),
        "{failure:?}"
    );
}

#[test]
fn the_host_is_asked_for_every_booking_event() {
    let description = describe();
    assert_eq!(description.name, "booking-updates");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.subscriptions, ["booking.*"]);
}
