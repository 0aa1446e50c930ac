// What holds for every record, event or not. The fuzz target and the corpus test share this file,
// so that `cargo test` exercises what the fuzzer runs.

use carillon_events::{Draft, Event, Kind, MAX_IDENTIFIER_BYTES, MAX_TIME_MS, MIN_TIME_MS, decode};

/// Decodes a record and checks the answer, whatever it is. Panics when a rule is broken.
pub(crate) fn check(record: &[u8]) {
    match decode(record) {
        Ok(event) => {
            check_event(record, &event);
            check_rewritten(&event);
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            assert!(sentence.len() < 1000, "{sentence}");
            let code = error.code().bytes();
            assert!(
                code.into_iter()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            );
        }
    }
}

fn check_event(record: &[u8], event: &Event) {
    let again = decode(record).ok();
    assert_eq!(again.as_ref(), Some(event));
    assert_eq!(
        again.map(|event| event.content_hash()),
        Some(event.content_hash())
    );

    let data = event.data.get();
    let is_verbatim = std::str::from_utf8(record).is_ok_and(|text| text.contains(data));
    assert!(is_verbatim || data == "{}", "{data}");
    assert!(data.starts_with('{') && data.ends_with('}'), "{data}");

    assert_eq!(Kind::parse(event.kind.as_str()).as_ref(), Ok(&event.kind));
    assert!((MIN_TIME_MS..=MAX_TIME_MS).contains(&event.time_ms));
    let identifiers = [
        Some(&event.id),
        event.user_id.as_ref(),
        event.resource_id.as_ref(),
        event.subject_id.as_ref(),
        event.correlation_id.as_ref(),
        event.service.as_ref(),
        event.service_version.as_ref(),
    ];
    for identifier in identifiers.into_iter().flatten() {
        assert!(!identifier.is_empty() && identifier.len() <= MAX_IDENTIFIER_BYTES);
        assert!(!identifier.chars().any(char::is_control));
    }
}

/// An event that was read can be written, and reads the same again.
fn check_rewritten(event: &Event) {
    let mut draft = Draft::new(event.kind.clone(), event.time_ms).id(&event.id);
    if let Some(id) = &event.user_id {
        draft = draft.user(id);
    }
    if let Some(id) = &event.resource_id {
        draft = draft.resource(id);
    }
    if let Some(id) = &event.subject_id {
        draft = draft.subject(id);
    }
    if let Some(id) = &event.correlation_id {
        draft = draft.correlation(id);
    }
    // An empty string counts as missing, so that half a producer can be written too.
    draft = draft.service(
        event.service.as_deref().unwrap_or_default(),
        event.service_version.as_deref().unwrap_or_default(),
    );
    let rewritten = draft
        .data(&event.data)
        .map(|draft| decode(&draft.to_json()));
    match rewritten {
        Ok(Ok(rewritten)) => assert_eq!(&rewritten, event),
        other => panic!("{event:?} cannot be written again: {other:?}"),
    }
}
