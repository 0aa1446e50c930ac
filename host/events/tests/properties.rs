//! Rules that hold for every draft, every record and every name.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use carillon_events::{
    DecodeError, Draft, Kind, MAX_DEPTH, MAX_TIME_MS, MIN_TIME_MS, Subject, Subscription,
    catalogue, decode,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Every spelling of the catalogue.
fn spellings() -> Vec<&'static str> {
    catalogue::kinds()
        .iter()
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
        .collect()
}

fn kind_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(spellings()).prop_map(str::to_owned),
        "(booking|garden)(\\.[a-z][a-z0-9_-]{0,12}){1,4}",
    ]
}

/// Any text without control characters, up to 240 bytes.
fn identifier() -> impl Strategy<Value = String> {
    "\\PC{1,60}"
}

/// Any text that may stand in `eventData`.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

/// JSON objects up to nine levels deep, with no key that could name a subject.
fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    });
    members(value).prop_map(Value::Object)
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(text(), value, 0..6).prop_map(|members: BTreeMap<_, _>| {
        members
            .into_iter()
            .filter(|(name, _)| name != "id" && name != "bookingId")
            .collect()
    })
}

/// A record whose brackets nest exactly `depth` deep, arrays and objects mixed.
fn nested(depth: usize, arrays: &[bool]) -> String {
    let mut data = String::from("{}");
    // The envelope and the innermost object are two levels; the outermost of the others is
    // `eventData` itself.
    for level in 0..depth.saturating_sub(2) {
        let is_outermost = level + 1 == depth - 2;
        data = if arrays[level % arrays.len()] && !is_outermost {
            format!("[1, {data}]")
        } else {
            format!("{{\"a[\": {data}}}")
        };
    }
    format!(
        r#"{{"eventId":"e","eventType":"a.b","timestamp":"2025-08-19T10:00:00Z","eventData":{data}}}"#
    )
}

proptest! {
    #[test]
    fn every_draft_is_read_as_it_was_meant(
        name in kind_name(),
        time_ms in MIN_TIME_MS..=MAX_TIME_MS,
        id in identifier(),
        user in prop::option::of(identifier()),
        resource in prop::option::of(identifier()),
        subject in prop::option::of(identifier()),
        correlation in prop::option::of(identifier()),
        service in prop::option::of((identifier(), identifier())),
        data in prop::option::of(object()),
    ) {
        let kind = Kind::parse(&name).unwrap();
        let mut draft = Draft::new(kind.clone(), time_ms).id(&id);
        if let Some(user) = &user {
            draft = draft.user(user);
        }
        if let Some(resource) = &resource {
            draft = draft.resource(resource);
        }
        if let Some(subject) = &subject {
            draft = draft.subject(subject);
        }
        if let Some(correlation) = &correlation {
            draft = draft.correlation(correlation);
        }
        if let Some((name, version)) = &service {
            draft = draft.service(name, version);
        }
        if let Some(data) = &data {
            draft = draft.data(data).unwrap();
        }

        let event = decode(&draft.to_json()).unwrap();
        let subject = subject.or_else(|| match kind.subject() {
            Subject::User => user.clone(),
            Subject::Resource => resource.clone(),
            _ => None,
        });
        let (service, version) = service.unzip();
        prop_assert_eq!(&event.id, &id);
        prop_assert_eq!(&event.kind, &kind);
        prop_assert_eq!(event.time_ms, time_ms);
        prop_assert_eq!(&event.user_id, &user);
        prop_assert_eq!(&event.resource_id, &resource);
        prop_assert_eq!(&event.subject_id, &subject);
        prop_assert_eq!(&event.correlation_id, &correlation);
        prop_assert_eq!(&event.service, &service);
        prop_assert_eq!(&event.service_version, &version);
        let data = data.unwrap_or_else(|| json!({})).to_string();
        prop_assert_eq!(event.data.get(), data);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_text_of_json_tokens_makes_decoding_panic(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "\\udc00", "1e999", "-",
            "null", "true", "\"eventId\":", "\"eventType\":", "\"timestamp\":", "\"eventData\":",
            "\"metadata\":", "\"booking.created\"", "\"2025-08-19T10:00:00Z\"", " ", "é",
        ]), 0..60),
    ) {
        let _ = decode(tokens.concat().as_bytes());
        let _ = decode(format!("{{{}}}", tokens.concat()).as_bytes());
    }

    #[test]
    fn a_record_is_too_deep_exactly_beyond_the_bound(
        depth in 2..200_usize,
        arrays in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let decoded = decode(nested(depth, &arrays).as_bytes());
        if depth <= MAX_DEPTH {
            let event = decoded.unwrap();
            // What passes here must pass in every plugin's parser too.
            let data: Result<Value, _> = serde_json::from_str(event.data.get());
            prop_assert!(data.is_ok());
        } else {
            prop_assert_eq!(decoded.unwrap_err(), DecodeError::TooDeep);
        }
    }

    #[test]
    fn a_canonical_name_is_its_own_canonical_name(name in kind_name()) {
        let kind = Kind::parse(&name).unwrap();
        prop_assert_eq!(&Kind::parse(kind.as_str()).unwrap(), &kind);
        let by_family = Subscription::parse(&format!("{}.*", kind.family())).unwrap();
        prop_assert!(by_family.matches(&kind));
        prop_assert!(Subscription::parse(&name).unwrap().matches(&kind));
    }

    #[test]
    fn no_text_makes_a_name_or_a_subscription_panic(text in any::<String>()) {
        let _ = Kind::parse(&text);
        if let Ok(subscription) = Subscription::parse(&text) {
            prop_assert_eq!(Subscription::parse(&subscription.to_string()), Ok(subscription));
        }
    }
}
