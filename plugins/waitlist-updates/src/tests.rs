#![allow(clippy::unwrap_used)]

use carillon_plugin::testing::{Environment, EventBuilder, event};
use carillon_plugin::{Action, Notification, Priority, Recipient};
use serde_json::{Value, json};

use super::{describe, handle};

fn entry() -> Value {
    json!({
        "priority": 100, "position": 3,
        "desiredStartTime": "2025-08-19T14:00:00Z", "desiredEndTime": "2025-08-19T16:00:00Z",
    })
}

fn about(kind: &str, data: &Value) -> EventBuilder {
    event(kind)
        .user("user-4")
        .resource("room-3")
        .subject("waitlist-39")
        .data(data)
}

#[track_caller]
fn notified(event: EventBuilder) -> Notification {
    let environment = Environment::of(&describe());
    environment.set_setting("link_base", "https://book.example.org");
    match environment.call(handle, event.build()).unwrap().as_slice() {
        [Action::Notify(notification)] => notification.clone(),
        other => panic!("expected one notification, was {other:?}"),
    }
}

#[test]
fn every_kind_says_what_happened_where_and_when_and_what_to_do_next() {
    let wish = "room-3, 19 Aug 2025, 14:00–16:00 UTC";
    for (kind, title, next, priority) in [
        (
            "waitlist.joined",
            "On the waitlist: room-3",
            "You are number 3 in line. You need to do nothing",
            Priority::Normal,
        ),
        (
            "waitlist.promoted",
            "It is yours: room-3",
            "Check in when you arrive",
            Priority::High,
        ),
        (
            "waitlist.removed",
            "Off the waitlist: room-3",
            "join again",
            Priority::Low,
        ),
        (
            "waitlist.expired",
            "Not this time: room-3",
            "Try another time",
            Priority::Normal,
        ),
        (
            "waitlist.frozen_over",
            "Waitlist update: room-3",
            "What happened: frozen over.",
            Priority::Normal,
        ),
    ] {
        let notification = notified(about(kind, &entry()));
        assert_eq!(notification.title, title);
        assert!(
            notification.body.contains(wish),
            "{kind}: {}",
            notification.body
        );
        assert!(
            notification.body.contains(next),
            "{kind}: {}",
            notification.body
        );
        assert_eq!(notification.priority, priority, "{kind}");
        assert_eq!(notification.recipient, Recipient::User("user-4".into()));
        assert_eq!(notification.category, "waitlist");
        assert_eq!(
            notification.collapse_key.as_deref(),
            Some("waitlist:waitlist-39")
        );
        assert_eq!(
            notification.link.as_deref(),
            Some("https://book.example.org/waitlist/room-3")
        );
    }
}

#[test]
fn the_first_in_line_is_told_so() {
    let body = notified(about("waitlist.joined", &json!({"position": 1}))).body;
    assert!(body.starts_with("room-3. You are next in line."), "{body}");
}

#[test]
fn a_promotion_links_to_the_booking_that_it_made() {
    let link = notified(about(
        "waitlist.promoted",
        &json!({"bookingId": "booking-7"}),
    ))
    .link;
    assert_eq!(
        link.as_deref(),
        Some("https://book.example.org/bookings/booking-7")
    );
}

#[test]
fn a_promotion_that_has_to_be_accepted_says_until_when_and_links_to_where() {
    let mut held = entry();
    held["bookingId"] = json!("booking-7");
    held["holdUntil"] = json!("2025-08-19T11:15:00Z");
    let notification = notified(about("waitlist.promoted", &held));
    assert_eq!(notification.title, "Held for you: room-3");
    assert!(
        notification
            .body
            .contains("held for you until 19 Aug 2025, 11:15 UTC. Accept it by then"),
        "{}",
        notification.body
    );
    assert_eq!(
        notification.link.as_deref(),
        Some("https://book.example.org/waitlist/room-3")
    );
}

#[test]
fn an_expiry_names_its_reason() {
    let data = json!({"reason": "it was not accepted in time"});
    let body = notified(about("waitlist.expired", &data)).body;
    assert_eq!(
        body,
        "You no longer wait for room-3. Reason: it was not accepted in time. Try another time or another place."
    );
}

#[test]
fn an_event_with_empty_data_still_gets_a_whole_sentence() {
    let notification = notified(event("waitlist.removed").user("u"));
    assert_eq!(notification.title, "Off the waitlist: the resource");
    assert_eq!(
        notification.body,
        "You no longer wait for the resource. If that is not what you want, join again."
    );
    assert_eq!((notification.collapse_key, notification.link), (None, None));
}

#[test]
fn an_event_without_a_user_is_rejected_with_a_reason() {
    let environment = Environment::of(&describe());
    let failure = environment
        .call(handle, event("waitlist.joined").data(&entry()).build())
        .unwrap_err();
    assert_eq!(
        failure.reason(),
        "waitlist.joined event-1 has no userId, so there is nobody to tell"
    );
}
