//! The sample records of the project: what must be read, and what must be refused in which words.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use carillon_events::{Event, MAX_RECORD_BYTES, Subject, Subscription, catalogue, decode};
use serde_json::{Value, json};

fn lines(file: &'static str) -> impl Iterator<Item = Value> {
    file.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn all_75_sample_events_are_read_with_their_particulars() {
    let mut spellings = BTreeSet::new();
    for line in lines(include_str!("data/events.jsonl")) {
        let value = &line["value"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        // Pretty printing puts white space where it may stand; none of it may be touched.
        let event = decode(&serde_json::to_vec_pretty(value).unwrap()).unwrap();
        assert_eq!(Some(&event.id), text(&value["eventId"]).as_ref());
        assert_eq!(event.user_id, text(&value["userId"]));
        assert_eq!(event.resource_id, text(&value["resourceId"]));
        assert_eq!(
            event.correlation_id,
            text(&value["metadata"]["correlationId"])
        );
        assert_eq!(event.service.as_deref(), Some("booking-service"));
        assert_eq!(event.service_version.as_deref(), Some("1.0.0"));
        assert!(event.data.get().starts_with("{\n"));
        let data: Value = serde_json::from_str(event.data.get()).unwrap();
        assert_eq!(data, value["eventData"]);
        let entry = event.kind.entry().unwrap();
        assert_eq!(Some(entry.topic.name()), line["topic"].as_str());
        let subject = match entry.subject {
            Subject::Booking => &value["bookingId"],
            Subject::WaitlistEntry => &value["waitlistId"],
            Subject::ConflictingBooking => &data["bookingId"],
            Subject::User => &data["id"],
            Subject::Resource => &value["resourceId"],
            Subject::Other => &Value::Null,
        };
        assert_eq!(event.subject_id, text(subject), "{}", event.kind);
        spellings.insert(text(&value["eventType"]).unwrap());
    }
    // The samples are older than this kind.
    spellings.insert("user.deleted".to_owned());
    let known: BTreeSet<String> = catalogue::kinds()
        .iter()
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        spellings, known,
        "the samples hold every other spelling, three of each"
    );
    assert_eq!(lines(include_str!("data/events.jsonl")).count(), 75);
}

#[test]
fn every_malformed_sample_is_refused_in_words_that_a_person_understands() {
    let expected = BTreeMap::from([
        (
            "empty",
            "empty: the record is empty: an event is a JSON object with eventId, eventType and timestamp",
        ),
        (
            "not-json",
            "not-json: the record, which begins with \"hello\", is not JSON: expected value at line 1 column 1",
        ),
        (
            "truncated",
            "cut-off: the record is cut off: its JSON ends after 44 bytes in the middle of an object",
        ),
        (
            "array",
            "not-an-object: the record is an array, but an event is a JSON object with eventId, eventType and timestamp",
        ),
        ("no-type", "missing-field: eventType is missing"),
        (
            "type-not-string",
            "wrong-type: eventType must be a string, but it is a number",
        ),
        (
            "bad-time",
            "invalid-time: timestamp \"yesterday\" is not a time: it must be RFC 3339, as in \"2025-08-19T10:00:00Z\"",
        ),
        (
            "data-not-object",
            "wrong-type: eventData must be an object, but it is a string",
        ),
        (
            "deep",
            "too-deep: the record is nested more than 64 levels deep: arrays and objects inside each other may go no deeper",
        ),
        ("unknown-kind", ""),
    ]);
    let answers: BTreeMap<String, String> = lines(include_str!("data/malformed.jsonl"))
        .map(|line| {
            let answer = match decode(line["value"].as_str().unwrap().as_bytes()) {
                Ok(_) => String::new(),
                Err(error) => format!("{}: {error}", error.code()),
            };
            (line["name"].as_str().unwrap().to_owned(), answer)
        })
        .collect();
    let answers: BTreeMap<_, _> = answers
        .iter()
        .map(|(name, answer)| (name.as_str(), answer.as_str()))
        .collect();
    assert_eq!(answers, expected);
}

#[test]
fn the_unknown_kind_reaches_those_who_subscribe_to_its_family() {
    let record = lines(include_str!("data/malformed.jsonl"))
        .find(|line| line["name"] == "unknown-kind")
        .unwrap();
    let event = decode(record["value"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(event.kind, "booking.teleported");
    assert_eq!(event.subject_id.as_deref(), Some("b"));
    let family = Subscription::parse("booking.*").unwrap();
    assert!(family.matches(&event.kind));
}

/// A valid record with one field set to something else, or removed.
fn changed(field: &str, value: Option<Value>) -> Vec<u8> {
    let mut record = json!({
        "eventId": "e", "eventType": "booking.created", "bookingId": "b", "userId": "u",
        "resourceId": "r", "timestamp": "2025-08-19T10:00:00Z", "eventData": {},
        "metadata": {"service": "s", "version": "1", "correlationId": "c"},
    });
    match value {
        Some(value) => record[field] = value,
        None => {
            record.as_object_mut().unwrap().remove(field);
        }
    }
    serde_json::to_vec(&record).unwrap()
}

/// What decoding says: `ok`, or code and sentence.
fn answer(record: &[u8]) -> String {
    match decode(record) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {error}", error.code()),
    }
}

#[test]
fn each_rule_of_the_envelope_has_its_own_words() {
    let long = "x".repeat(257);
    for (field, value, expected) in [
        ("eventId", None, "missing-field: eventId is missing"),
        (
            "eventId",
            Some(json!(null)),
            "wrong-type: eventId must be a string, but it is null",
        ),
        (
            "eventId",
            Some(json!("")),
            "empty-identifier: eventId is empty",
        ),
        (
            "eventId",
            Some(json!(long)),
            "long-identifier: eventId has 257 bytes, more than the 256 that an identifier may have",
        ),
        ("eventId", Some(json!(&long[1..])), "ok"),
        (
            "eventType",
            Some(json!("Booking.Created")),
            "invalid-kind: eventType \"Booking.Created\" is not the name of a kind: each part between dots must begin with a lower-case letter and hold only lower-case letters, digits, `_` and `-`, as in `booking.checked_in`",
        ),
        (
            "eventType",
            Some(json!("created")),
            "invalid-kind: eventType \"created\" is not the name of a kind: it has no family: it must look like `booking.created`",
        ),
        (
            "eventType",
            Some(json!("ä".repeat(300))),
            &format!(
                "invalid-kind: eventType \"{}…\" is not the name of a kind: it is longer than 100 bytes",
                "ä".repeat(64)
            ),
        ),
        ("timestamp", None, "missing-field: timestamp is missing"),
        (
            "timestamp",
            Some(json!(1_755_597_600_000_i64)),
            "wrong-type: timestamp must be a string, but it is a number",
        ),
        (
            "timestamp",
            Some(json!("2025-08-19T10:00:00.123456789Z")),
            "ok",
        ),
        ("userId", None, "ok"),
        ("userId", Some(json!(null)), "ok"),
        ("userId", Some(json!("")), "ok"),
        (
            "userId",
            Some(json!(["u"])),
            "wrong-type: userId must be a string, but it is an array",
        ),
        (
            "userId",
            Some(json!("a\nb")),
            "control-character: userId holds the control character U+000A, which no identifier may hold",
        ),
        (
            "userId",
            Some(json!("a\u{9b}b")),
            "control-character: userId holds the control character U+009B, which no identifier may hold",
        ),
        (
            "userId",
            Some(json!("a\u{0}")),
            "null-character: the record holds the character U+0000 (as \\u0000, at byte 200), which no text in Carillon may hold: remove it at the producer",
        ),
        (
            "bookingId",
            Some(json!(12)),
            "wrong-type: bookingId must be a string, but it is a number",
        ),
        ("waitlistId", Some(json!(12)), "ok"),
        (
            "subjectId",
            Some(json!({})),
            "wrong-type: subjectId must be a string, but it is an object",
        ),
        ("eventData", None, "ok"),
        ("eventData", Some(json!(null)), "ok"),
        (
            "eventData",
            Some(json!([])),
            "wrong-type: eventData must be an object, but it is an array",
        ),
        (
            "eventData",
            Some(json!(-1)),
            "wrong-type: eventData must be an object, but it is a number",
        ),
        (
            "eventData",
            Some(json!(true)),
            "wrong-type: eventData must be an object, but it is a boolean",
        ),
        ("metadata", None, "ok"),
        ("metadata", Some(json!(null)), "ok"),
        ("metadata", Some(json!({})), "ok"),
        (
            "metadata",
            Some(json!("x")),
            "wrong-type: metadata must be an object, but it is a string",
        ),
        (
            "metadata",
            Some(json!([[1], {"service": 1}])),
            "wrong-type: metadata must be an object, but it is an array",
        ),
        (
            "metadata",
            Some(json!({"version": 1.5})),
            "wrong-type: metadata.version must be a string, but it is a number",
        ),
        ("somethingElse", Some(json!([{"eventId": 1}])), "ok"),
    ] {
        let record = changed(field, value);
        assert_eq!(
            answer(&record),
            expected,
            "{}",
            String::from_utf8_lossy(&record)
        );
    }
}

#[test]
fn what_no_json_printer_would_write_is_refused_in_words_too() {
    let valid = r#""eventId":"e","eventType":"a.b","timestamp":"2025-08-19T10:00:00Z""#;
    for (record, expected) in [
        (
            b" \n\t".to_vec(),
            "empty: the record is empty: an event is a JSON object with eventId, eventType and timestamp",
        ),
        (
            b"{\"eventId\":\"\xc3\x28\"}".to_vec(),
            "not-utf-8: the record is not UTF-8 text: byte 12 (counted from 0) does not belong there",
        ),
        (
            format!("\u{feff}{{{valid}}}").into(),
            "not-json: the record, which begins with \"\\u{feff}{\\\"eventId\\\":\\\"e\\\",\", is not JSON: expected value at line 1 column 1",
        ),
        (
            format!("{{{valid}}} {{").into(),
            "not-json: the record, which begins with \"{\\\"eventId\\\":\\\"e\\\",\\\"\", is not JSON: trailing characters at line 1 column 70",
        ),
        (
            format!("{{{valid},}}").into(),
            "not-json: the record, which begins with \"{\\\"eventId\\\":\\\"e\\\",\\\"\", is not JSON: trailing comma at line 1 column 69",
        ),
        (
            format!("{{{valid},\"eventId\":\"f\"}}").into(),
            "duplicate-field: eventId is given twice, and nobody can tell which one counts",
        ),
        (
            format!("{{{valid},\"\\u0065ventId\":\"f\"}}").into(),
            "duplicate-field: eventId is given twice, and nobody can tell which one counts",
        ),
        (
            format!("{{{valid},\"eventData\":{{}},\"eventData\":{{}}}}").into(),
            "duplicate-field: eventData is given twice, and nobody can tell which one counts",
        ),
        (
            format!("{{{valid},\"metadata\":{{}},\"metadata\":{{}}}}").into(),
            "duplicate-field: metadata is given twice, and nobody can tell which one counts",
        ),
        (
            format!("{{{valid},\"metadata\":{{\"service\":\"a\",\"service\":\"a\"}}}}").into(),
            "duplicate-field: metadata.service is given twice, and nobody can tell which one counts",
        ),
        (
            format!("{{{valid},\"eventData\":{{\"a\":\"\\u0000\"}}}}").into(),
            "null-character: the record holds the character U+0000 (as \\u0000, at byte 86), which no text in Carillon may hold: remove it at the producer",
        ),
        (
            format!("{{{valid},\"eventData\":{{\"a\":\"\\ud83d\"}}}}").into(),
            "lone-surrogate: the record holds half a character at byte 86: an escape from \\ud800 to \\udfff that has no counterpart",
        ),
        (
            format!("{{{valid},\"eventData\":{{\"a\":\"\\\\u0000 \\ud83d\\ude00\"}}}}").into(),
            "ok",
        ),
        (
            format!("{{{valid},\"eventData\":{{\"a\":\"\u{0}\"}}}}").into(),
            "not-json: the record, which begins with \"{\\\"eventId\\\":\\\"e\\\",\\\"\", is not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 86",
        ),
        (
            b"[1".to_vec(),
            "cut-off: the record is cut off: its JSON ends after 2 bytes in the middle of an array",
        ),
        (
            b"{\"eventId\":\"x".to_vec(),
            "cut-off: the record is cut off: its JSON ends after 13 bytes in the middle of a string",
        ),
        (
            b"null".to_vec(),
            "not-an-object: the record is null, but an event is a JSON object with eventId, eventType and timestamp",
        ),
        (b"{}".to_vec(), "missing-field: eventType is missing"),
        (
            b" ".repeat(MAX_RECORD_BYTES + 1),
            "too-large: the record has 1048577 bytes, more than the 1048576 that an event may have",
        ),
    ] {
        assert_eq!(answer(&record), expected);
    }
}

#[test]
fn a_record_of_the_largest_size_is_read() {
    let mut record = changed("eventData", Some(json!({})));
    record.resize(MAX_RECORD_BYTES, b' ');
    assert!(decode(&record).is_ok());
}

/// The event of a kind with these further fields.
fn event(kind: &str, fields: &str) -> Event {
    let record = format!(
        r#"{{"eventId":"e","eventType":"{kind}","timestamp":"2025-08-19T10:00:00Z","userId":"u","resourceId":"r"{fields}}}"#
    );
    decode(record.as_bytes()).unwrap()
}

#[test]
fn the_subject_is_read_from_where_the_kind_says() {
    for (kind, fields, expected) in [
        (
            "booking.created",
            r#","bookingId":"b","eventData":{"id":"d"}"#,
            Some("b"),
        ),
        ("booking.created", r#","eventData":{"id":"d"}"#, Some("d")),
        ("booking.created", r#","eventData":{"id":7}"#, None),
        ("booking.created", r#","waitlistId":"w""#, None),
        (
            "booking.created",
            r#","subjectId":"s","bookingId":"b""#,
            Some("s"),
        ),
        (
            "waitlist.promoted",
            r#","waitlistId":"w","bookingId":"b""#,
            Some("w"),
        ),
        (
            "conflict.detected",
            r#","eventData":{"bookingId":"b","id":"c"}"#,
            Some("b"),
        ),
        (
            "user.updated",
            r#","eventData":{"id":"other"}"#,
            Some("other"),
        ),
        ("user.updated", "", Some("u")),
        (
            "resource.updated",
            r#","eventData":{"id":"other"}"#,
            Some("r"),
        ),
        ("analytics.recorded", r#","eventData":{"id":"x"}"#, None),
        ("garden.watered", r#","subjectId":"tree""#, Some("tree")),
        ("garden.watered", r#","bookingId":"b""#, None),
    ] {
        assert_eq!(
            event(kind, fields).subject_id.as_deref(),
            expected,
            "{kind} {fields}"
        );
    }
}

#[test]
fn both_spellings_of_a_kind_have_the_same_content() {
    assert_eq!(
        event("booking.checkedin", "").content_hash(),
        event("booking.checked_in", "").content_hash()
    );
    assert_ne!(
        event("booking.checked_in", "").content_hash(),
        event("booking.checked_out", "").content_hash()
    );
}
