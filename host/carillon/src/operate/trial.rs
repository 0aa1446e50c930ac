//! `carillon plugin diff`: how a candidate differs from what is active.

use std::fmt::Write as _;

use anyhow::Result;
use carillon_pipeline::{TrialReport, TrialSide};
use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::differences;
use super::table::{Table, terminal_width};
use super::words;
use crate::arguments::DiffOptions;

/// No column of values is narrower than this, however small the terminal.
const MIN_COLUMN_CHARS: usize = 20;

pub(crate) async fn diff(options: &DiffOptions) -> Result<()> {
    let client = Client::find(&options.plugin.remote)?;
    let mut query = vec![("limit", options.page.limit.to_string())];
    if let Some(after) = &options.page.after {
        query.push(("after", after.clone()));
    }
    let request = client
        .get(&["plugins", &options.plugin.name, "diff"])
        .query(&query);
    client
        .tell(request, |report| told(report, terminal_width()))
        .await
}

/// An event that the two answered otherwise, as the host lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DifferentEvent {
    event_id: String,
    kind: String,
    topic: String,
    partition: i32,
    offset: i64,
    active: Option<Side>,
    candidate: Option<Side>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    outcome: String,
    detail: Option<String>,
    actions: Value,
}

fn told(report: &TrialReport, width: usize) -> String {
    let mut text = format!(
        "{}: {} {} beside {}, which {}\n\n",
        report.plugin,
        report.mode,
        report.candidate.version,
        report.active.version,
        if report.running {
            "still runs"
        } else {
            "has ended"
        }
    );
    text.push_str(&sides(report));
    text.push_str(&totals(report));
    for event in &report.differences {
        text.push('\n');
        match DifferentEvent::deserialize(event) {
            Ok(event) => text.push_str(&side_by_side(&event, report, width)),
            // Of a later host: shown as it is.
            Err(_) => text.push_str(&format!("{event}\n")),
        }
    }
    if let Some(next) = &report.next {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\nThere are more: carillon plugin diff {} --after {next}",
            report.plugin
        );
    }
    text
}

fn sides(report: &TrialReport) -> String {
    let mut table = Table::new(["", "version", "calls>", "faults>", "p50>", "p99>"]);
    for (name, side) in [("active", &report.active), ("candidate", &report.candidate)] {
        let TrialSide {
            version,
            calls,
            faults,
            p50_ms,
            p99_ms,
            ..
        } = side;
        table.row([
            name.to_owned(),
            version.clone(),
            words::count(*calls),
            words::count(*faults),
            words::ms(*p50_ms),
            words::ms(*p99_ms),
        ]);
    }
    table.text("")
}

fn totals(report: &TrialReport) -> String {
    if report.mode == "canary" {
        return "A canary and the active version handle different keys: there are no events to compare.\n".to_owned();
    }
    let mut text = format!(
        "{} compared: {} alike, {} different",
        words::counted(report.compared, "event"),
        words::count(report.equal),
        words::count(report.different)
    );
    let waiting = [
        (report.only_active, "active"),
        (report.only_candidate, "candidate"),
    ];
    for (events, side) in waiting {
        if events > 0 {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "; {} answered so far by the {side} only",
                words::count(events)
            );
        }
    }
    text.push('\n');
    text
}

fn side_by_side(event: &DifferentEvent, report: &TrialReport, width: usize) -> String {
    let mut rows = Vec::new();
    let outcome = |side: &Option<Side>| side.as_ref().map(in_words);
    let (left, right) = (outcome(&event.active), outcome(&event.candidate));
    if left != right {
        rows.push(("outcome".to_owned(), left, right));
    }
    let actions = |side: &Option<Side>| {
        side.as_ref()
            .map_or(Value::Null, |side| side.actions.clone())
    };
    let fields = differences::between(&actions(&event.active), &actions(&event.candidate));
    rows.extend(
        fields
            .into_iter()
            .map(|field| (field.field, field.left, field.right)),
    );
    let names = rows.iter().map(|(field, ..)| field.chars().count()).max();
    let column = (width.saturating_sub(names.unwrap_or(0) + 8) / 2).max(MIN_COLUMN_CHARS);
    let mut table = Table::new([
        "field",
        &format!("active {}", report.active.version),
        &format!("candidate {}", report.candidate.version),
    ]);
    let cell = |value: Option<String>| {
        value.map_or_else(|| "-".to_owned(), |text| words::cut(&text, column))
    };
    for (field, left, right) in rows {
        table.row([field, cell(left), cell(right)]);
    }
    format!(
        "{} of event {} ({}/{} at {})\n{}",
        event.kind,
        event.event_id,
        event.topic,
        event.partition,
        event.offset,
        table.text("  ")
    )
}

fn in_words(side: &Side) -> String {
    match &side.detail {
        Some(detail) => format!("{}: {detail}", side.outcome),
        None => side.outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> TrialReport {
        let side = |version: &str| TrialSide {
            version: version.to_owned(),
            calls: 10_000,
            p99_ms: 0.25,
            ..TrialSide::default()
        };
        TrialReport {
            plugin: "greeter".to_owned(),
            mode: "shadow".to_owned(),
            running: true,
            active: side("1.0.0"),
            candidate: side("2.0.0"),
            compared: 9_998,
            equal: 9_997,
            different: 1,
            only_active: 2,
            only_candidate: 0,
            differences: vec![json!({
                "eventKey": "00", "eventId": "e10", "kind": "booking.created",
                "topic": "booking-events", "partition": 0, "offset": 10,
                "active": { "outcome": "handled", "detail": null, "tookUs": 3,
                    "actions": [{ "title": "Hello", "category": "booking" }] },
                "candidate": { "outcome": "handled", "detail": null, "tookUs": 3,
                    "actions": [{ "title": "Good day", "category": "booking" }] },
            })],
            next: Some("ff".to_owned()),
        }
    }

    #[test]
    fn differences_stand_side_by_side() {
        let text = told(&report(), 80);
        assert!(
            text.contains(
                "booking.created of event e10 (booking-events/0 at 10)\n\
                 \x20 field      active 1.0.0  candidate 2.0.0\n\
                 \x20 [0].title  Hello         Good day\n"
            ),
            "{text}"
        );
        assert!(!text.contains("category"), "{text}");
        assert!(
            text.contains(
                "9,998 events compared: 9,997 alike, 1 different; 2 answered so far by the active only\n"
            ),
            "{text}"
        );
        assert!(text.contains("diff greeter --after ff"), "{text}");
    }

    #[test]
    fn an_outcome_that_differs_is_told_with_its_reason() {
        let mut report = report();
        report.differences[0]["candidate"] =
            json!({ "outcome": "rejected", "detail": "no title", "actions": [] });
        let text = told(&report, 80);
        assert!(text.contains("handled       rejected: no title"), "{text}");
        assert!(text.contains("Hello         -"), "{text}");
    }
}
