//! A plugin of many parts, run natively: typed events, state, settings, log and failures.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use carillon_plugin::log::Level;
use carillon_plugin::prelude::*;
use carillon_plugin::testing::{Environment, event};
use serde_json::json;

#[plugin(
    name = "parts",
    summary = "Uses every part of the SDK.",
    subscriptions = ["booking.*", "user.updated"],
    settings = [
        setting(key = "limit", summary = "How many.", default = "3"),
        setting(key = "team", summary = "Who."),
    ]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let limit: i64 = settings::parse("limit")?;
    let count = state::increment("count", 1)?;
    log::warn!("{count} of {limit}, {}", event.kind);
    if count > limit {
        return Err(Failure::retry("too many"));
    }
    Ok(Vec::new())
}

#[test]
fn a_description_says_what_was_declared_with_the_version_of_the_crate() {
    let described = describe();
    assert_eq!(described.name, "parts");
    assert_eq!(described.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(described.subscriptions, ["booking.*", "user.updated"]);
    let defaults: Vec<_> = described
        .settings
        .iter()
        .map(|setting| (setting.key.as_str(), setting.default.as_deref()))
        .collect();
    assert_eq!(defaults, [("limit", Some("3")), ("team", None)]);
}

#[test]
fn what_a_failed_call_wrote_is_gone() {
    let environment = Environment::of(&describe());
    environment.set_setting("limit", "1");
    let next = || event("booking.created").build();
    assert_eq!(environment.call(handle, next()), Ok(Vec::new()));
    assert_eq!(
        environment.call(handle, next()),
        Err(Failure::retry("too many"))
    );
    assert_eq!(environment.state("count").unwrap(), b"1");
    let lines = environment.take_log();
    assert_eq!(
        lines[1],
        (Level::Warn, "2 of 1, booking.created".to_owned())
    );
}

#[test]
fn a_setting_that_cannot_be_parsed_is_tried_again_once_it_is_mended() {
    let environment = Environment::of(&describe());
    environment.set_setting("limit", "many");
    let failure = environment
        .call(handle, event("booking.created").build())
        .unwrap_err();
    assert_eq!(
        failure,
        Failure::retry("the setting `limit` is `many`, not a i64")
    );
}

#[test]
fn a_new_environment_begins_empty() {
    drop(Environment::of(&describe()));
    let environment = Environment::new();
    assert_eq!(environment.state("count"), None);
    assert_eq!(settings::get("limit"), None);
}

#[test]
fn a_value_with_a_time_to_live_is_hidden_once_that_has_passed() {
    let environment = Environment::new();
    let write = |_: Event| {
        state::set_for("short", b"x", Duration::from_secs(60))?;
        state::increment_for("hits", 5, Duration::from_secs(60))?;
        Ok(Vec::new())
    };
    let at = |time: &str| event("booking.created").at(time).build();
    environment.call(write, at("2025-08-19T10:00:00Z")).unwrap();
    for (time, short, hits) in [
        ("2025-08-19T10:00:59Z", Some(b"x".to_vec()), 6),
        ("2025-08-19T10:01:00Z", None, 1),
    ] {
        let read = |_: Event| {
            assert_eq!(state::get("short"), short);
            // The remaining time is kept without a new one.
            assert_eq!(state::increment("hits", 1), Ok(hits));
            Ok(Vec::new())
        };
        environment.call(read, at(time)).unwrap();
    }
}

#[test]
fn the_state_refuses_what_the_host_would_refuse() {
    let environment = Environment::new();
    let attempt = |_: Event| {
        state::set("text", "five")?;
        assert_eq!(state::increment("text", 1), Err(state::Error::NotANumber));
        state::set("most", i64::MAX.to_string())?;
        assert_eq!(state::increment("most", 1), Err(state::Error::NotANumber));
        assert_eq!(state::set("", "x"), Err(state::Error::InvalidKey));
        state::set_json("pair", &(1, 2))?;
        assert_eq!(state::get_json::<(u8, u8)>("pair")?, Some((1, 2)));
        state::delete("pair");
        assert_eq!(state::get_json::<(u8, u8)>("pair")?, None);
        state::get_json::<(u8, u8)>("text")?;
        Ok(Vec::new())
    };
    let failure = environment
        .call(attempt, event("booking.created").build())
        .unwrap_err();
    let reason = failure.reason();
    assert!(
        reason.starts_with("state: the value of `text` cannot be read"),
        "{reason}"
    );
    let too_long = |_: Event| Ok(state::set(&"k".repeat(513), "x").map(|()| Vec::new())?);
    assert_eq!(
        environment.call(too_long, event("booking.created").build()),
        Err(Failure::reject(
            "state: the key is empty or longer than 512 bytes"
        ))
    );
}

#[test]
fn typed_data_takes_missing_and_unknown_fields_and_names_wrong_ones() {
    let booking = event("booking.created")
        .data(&json!({"title": "A", "attendeesCount": 5, "endTime": null, "colour": "red"}))
        .build()
        .booking()
        .unwrap();
    let expected = BookingData {
        title: Some("A".into()),
        attendees_count: Some(5),
        ..BookingData::default()
    };
    assert_eq!(booking, expected);

    let entry = event("waitlist.joined")
        .data(&json!({"priority": 100, "position": 3, "desiredStartTime": "2025-08-19T14:00:00Z"}))
        .build()
        .waitlist()
        .unwrap();
    assert_eq!((entry.priority, entry.position), (Some(100), Some(3)));

    let conflict = event("conflict.detected")
        .data(&json!({"bookingId": "b", "conflictsWith": ["c"]}))
        .build()
        .conflict()
        .unwrap();
    assert_eq!(conflict.conflicts_with, ["c"]);

    let user = event("user.created")
        .data(&json!({"displayName": "Sam Doe", "timeZone": "Europe/Berlin"}))
        .build()
        .user()
        .unwrap();
    assert_eq!(user.display_name.as_deref(), Some("Sam Doe"));

    let wrong = event("resource.updated")
        .data(&json!({"capacity": "eight"}))
        .build()
        .resource()
        .unwrap_err();
    assert!(
        wrong.reason().starts_with(
            "eventData of resource.updated event-1 cannot be read: invalid type: string \"eight\""
        ),
        "{wrong:?}"
    );
}

#[test]
fn a_test_answers_the_requests_of_a_plugin() {
    let ask = |_: Event| {
        let response = http::Request::post("https://rooms.example.org/open")
            .header("authorization", "Bearer {{secret:TOKEN}}")
            .timeout(Duration::from_millis(250))
            .json(&json!({"room": 1}))?
            .send()?;
        assert!(response.is_success());
        assert_eq!(response.header("ETag"), Some("a"));
        assert_eq!(response.json::<Vec<u8>>()?, [1, 2]);
        Ok(Vec::new())
    };
    let booked = || event("booking.created").build();
    let environment = Environment::new();
    let failure = environment.call(ask, booked()).unwrap_err();
    assert!(failure.reason().contains("answer_requests"), "{failure:?}");
    environment.answer_requests(|request| {
        assert_eq!(request.method, "POST");
        assert_eq!(request.timeout, Some(250));
        assert_eq!(request.headers[1].value, "application/json");
        assert_eq!(request.body, br#"{"room":1}"#);
        Ok(http::Response {
            status: 201,
            headers: vec![http::Header {
                name: "etag".to_owned(),
                value: "a".to_owned(),
            }],
            body: b"[1,2]".to_vec(),
        })
    });
    assert_eq!(environment.call(ask, booked()), Ok(Vec::new()));
    environment.answer_requests(|_| Err(http::Error::TooLarge));
    let failure = environment.call(ask, booked()).unwrap_err();
    assert!(matches!(failure, Failure::Reject(_)), "{failure:?}");
}
