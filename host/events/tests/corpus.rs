//! The fuzz target's rules, replayed over the samples and over what can be made of them.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/invariants.rs"]
mod invariants;

use serde_json::Value;

/// Every record of the sample files, as it would stand in a topic.
fn records() -> Vec<Vec<u8>> {
    let events = include_str!("data/events.jsonl").lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        serde_json::to_vec(&line["value"]).unwrap()
    });
    let malformed = include_str!("data/malformed.jsonl").lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["value"].as_str().unwrap().into()
    });
    events.chain(malformed).collect()
}

#[test]
fn the_rules_hold_for_every_sample() {
    let records = records();
    assert_eq!(records.len(), 75 + 10);
    for record in &records {
        invariants::check(record);
    }
}

#[test]
fn the_rules_hold_for_every_sample_cut_off_anywhere() {
    for record in records().iter().step_by(7) {
        for end in 0..record.len() {
            invariants::check(&record[..end]);
        }
    }
}

#[test]
fn the_rules_hold_for_samples_with_any_byte_replaced() {
    for record in records().iter().step_by(17) {
        for at in 0..record.len() {
            for byte in *b"\0\x1f\"\\{}[],:0n\x80\xff" {
                let mut changed = record.clone();
                changed[at] = byte;
                invariants::check(&changed);
            }
        }
    }
}
