#![allow(clippy::unwrap_used)]

use carillon_plugin::testing::{Environment, EventBuilder, event};
use carillon_plugin::{Action, Notification, Priority, Recipient};
use serde_json::{Value, json};

use super::{describe, handle};

fn overlap() -> Value {
    json!({
        "bookingId": "booking-48", "conflictsWith": ["booking-47"],
        "startTime": "2025-08-19T14:00:00Z", "endTime": "2025-08-19T16:00:00Z",
    })
}

fn about(kind: &str, data: &Value) -> EventBuilder {
    event(kind).user("user-6").resource("room-1").data(data)
}

fn answered(event: EventBuilder) -> Vec<Action> {
    let environment = Environment::of(&describe());
    environment.set_setting("link_base", "https://book.example.org");
    environment.call(handle, event.build()).unwrap()
}

#[track_caller]
fn notified(event: EventBuilder) -> Notification {
    match answered(event).pop() {
        Some(Action::Notify(notification)) => notification,
        other => panic!("expected a notification, was {other:?}"),
    }
}

#[test]
fn every_kind_says_what_happened_where_and_when_and_what_to_do_next() {
    for (kind, title, next, priority, key) in [
        (
            "conflict.detected",
            "Already taken: room-1",
            "your booking overlaps another one. Choose another time",
            Priority::High,
            "conflict:booking-48",
        ),
        (
            "conflict.resolved",
            "Conflict resolved: room-1",
            "You need to do nothing",
            Priority::Normal,
            "conflict-resolved:booking-48",
        ),
        (
            "conflict.handed_over",
            "Conflict update: room-1",
            "What happened: handed over.",
            Priority::Normal,
            "conflict:booking-48",
        ),
    ] {
        let notification = notified(about(kind, &overlap()));
        assert_eq!(notification.title, title);
        let wish = "room-1, 19 Aug 2025, 14:00–16:00 UTC";
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
        assert_eq!(notification.recipient, Recipient::User("user-6".into()));
        assert_eq!(notification.category, "conflict");
        assert_eq!(notification.collapse_key.as_deref(), Some(key));
        assert_eq!(
            notification.link.as_deref(),
            Some("https://book.example.org/bookings/booking-48")
        );
    }
}

#[test]
fn a_resolved_conflict_takes_its_alert_back_and_a_new_one_the_all_clear() {
    for (kind, withdrawn) in [
        ("conflict.resolved", "conflict:booking-48"),
        ("conflict.detected", "conflict-resolved:booking-48"),
    ] {
        let actions = answered(about(kind, &overlap()));
        assert_eq!(actions.len(), 2);
        assert_eq!(actions[0], Action::withdraw_from_user("user-6", withdrawn));
    }
}

#[test]
fn who_took_something_else_reads_what_they_have_and_who_moved_that_nothing_is_in_the_way() {
    let mut data = overlap();
    data["bookingId"] = json!("booking-48");
    data["resolvedOn"] = json!("room-2");
    data["resolvedResourceName"] = json!("Borealis");
    data["resolvedStartTime"] = json!("2025-08-19T16:00:00Z");
    data["resolvedEndTime"] = json!("2025-08-19T18:00:00Z");
    for (resolved_by, expected) in [
        (
            "booking-49",
            "Instead of room-1, 19 Aug 2025, 14:00–16:00 UTC, you have Borealis, 19 Aug 2025, 16:00–18:00 UTC.",
        ),
        ("booking-48", "nothing stands in the way any more."),
    ] {
        data["resolvedBy"] = json!(resolved_by);
        let body = notified(about("conflict.resolved", &data)).body;
        assert!(body.contains(expected), "{body}");
    }
}

#[test]
fn a_conflict_of_an_unknown_booking_is_told_without_a_key() {
    let actions = answered(about("conflict.detected", &json!({})));
    let [Action::Notify(notification)] = actions.as_slice() else {
        panic!("expected one notification, was {actions:?}");
    };
    assert_eq!(notification.collapse_key, None);
    assert!(
        notification
            .body
            .starts_with("room-1: somebody else has it")
    );
}

#[test]
fn what_is_free_instead_is_offered() {
    let mut data = overlap();
    data["alternatives"] = json!(["room-2", "room-4"]);
    let body = notified(about("conflict.detected", &data)).body;
    assert!(
        body.contains("Free at that time: room-2, room-4."),
        "{body}"
    );
}

#[test]
fn a_resource_that_cannot_be_used_is_told_with_name_time_and_reason() {
    for (data, title, body) in [
        (
            json!({"id": "room-1", "name": "Library", "capacity": 8, "kind": "room"}),
            "Not available: Library (room-1)",
            "It cannot be used for now. If",
        ),
        (
            json!({"startTime": "2025-08-19T14:00:00Z", "reason": "Painting."}),
            "Not available: room-1",
            "It cannot be used from 19 Aug 2025, 14:00 UTC. Reason: Painting. If",
        ),
    ] {
        let notification = notified(about("resource.unavailable", &data));
        assert_eq!(notification.title, title);
        assert!(notification.body.starts_with(body), "{}", notification.body);
        assert_eq!(notification.category, "resource");
        assert_eq!(
            notification.collapse_key.as_deref(),
            Some("resource:room-1")
        );
    }
}

#[test]
fn an_unavailable_resource_without_a_user_is_told_to_the_staff() {
    let notification = notified(event("resource.unavailable").resource("room-1"));
    assert_eq!(notification.recipient, Recipient::Group("staff".into()));
}

#[test]
fn a_conflict_without_a_user_is_rejected_with_a_reason() {
    let environment = Environment::of(&describe());
    let failure = environment
        .call(handle, event("conflict.detected").data(&overlap()).build())
        .unwrap_err();
    assert_eq!(
        failure.reason(),
        "conflict.detected event-1 has no userId, so there is nobody to tell"
    );
}
