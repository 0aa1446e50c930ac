//! What is wrong with the rules of a resource.

use std::collections::BTreeMap;

use super::faults::Faults;
use crate::rules::{MAX_BUFFER_MINUTES, Rules};

/// The longest booking; the schema of the database holds bookings to it.
const MAX_DURATION_MINUTES: u32 = 31 * 24 * 60;
/// How long before its start a booking can be asked for: a hundred years, which nobody waits for.
const MAX_LEAD_DAYS: u32 = 36_500;
const MAX_LEAD_MINUTES: u32 = MAX_LEAD_DAYS * 24 * 60;
/// How many stretches a day may be open.
const MAX_STRETCHES: usize = 10;

/// Collects what is wrong. The document of the API names the same ranges, at [`Rules`] itself.
pub(super) fn check(faults: &mut Faults, rules: &Rules) {
    let longest = rules.max_duration_minutes.unwrap_or(MAX_DURATION_MINUTES);
    let at_most = |number: Option<u32>, most| number.is_none_or(|number| number <= most);
    for (field, is_within, range) in [
        (
            "rules.minLeadMinutes",
            at_most(Some(rules.min_lead_minutes), MAX_LEAD_MINUTES),
            (0, MAX_LEAD_MINUTES),
        ),
        (
            "rules.maxLeadDays",
            at_most(rules.max_lead_days, MAX_LEAD_DAYS),
            (0, MAX_LEAD_DAYS),
        ),
        (
            "rules.minDurationMinutes",
            at_most(Some(rules.min_duration_minutes), MAX_DURATION_MINUTES),
            (0, MAX_DURATION_MINUTES),
        ),
        (
            "rules.maxDurationMinutes",
            (1..=MAX_DURATION_MINUTES).contains(&longest),
            (1, MAX_DURATION_MINUTES),
        ),
        (
            "rules.bufferMinutes",
            at_most(Some(rules.buffer_minutes), MAX_BUFFER_MINUTES),
            (0, MAX_BUFFER_MINUTES),
        ),
        (
            "rules.noShowAfterMinutes",
            at_most(rules.no_show_after_minutes, MAX_DURATION_MINUTES),
            (0, MAX_DURATION_MINUTES),
        ),
    ] {
        if !is_within {
            faults.malformed(field, format!("it must be from {} to {}", range.0, range.1));
        }
    }
    if rules.min_duration_minutes > longest {
        faults.impossible(
            "rules.minDurationMinutes",
            format!("it must be at most {longest}, the longest duration"),
        );
    }
    opening_hours(faults, rules);
}

fn opening_hours(faults: &mut Faults, rules: &Rules) {
    for stretches in rules.opening_hours.iter().flat_map(BTreeMap::values) {
        if stretches.len() > MAX_STRETCHES {
            faults.malformed(
                "rules.openingHours",
                format!("a day has at most {MAX_STRETCHES} stretches"),
            );
        }
        if let Some(odd) = stretches.iter().find(|stretch| stretch.from >= stretch.to) {
            faults.impossible(
                "rules.openingHours",
                format!(
                    "a stretch must end after it begins, and {} is not after {}; what goes on after midnight belongs to the next day",
                    odd.to, odd.from
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn rules_that_make_no_sense_are_refused_by_name() {
        let stretch = json!({ "from": "08:00", "to": "12:00" });
        for (rules, refusal) in [
            (json!({}), None),
            (json!({ "bufferMinutes": 1440 }), None),
            (
                json!({ "bufferMinutes": 1441 }),
                Some((400, "rules.bufferMinutes")),
            ),
            (
                json!({ "maxDurationMinutes": 0 }),
                Some((400, "rules.maxDurationMinutes")),
            ),
            (
                json!({ "noShowAfterMinutes": 44_641 }),
                Some((400, "rules.noShowAfterMinutes")),
            ),
            (
                json!({ "minLeadMinutes": 52_560_001 }),
                Some((400, "rules.minLeadMinutes")),
            ),
            (
                json!({ "maxLeadDays": 36_501 }),
                Some((400, "rules.maxLeadDays")),
            ),
            (
                json!({ "openingHours": { "monday": vec![stretch; 11] } }),
                Some((400, "rules.openingHours")),
            ),
            (
                json!({ "minDurationMinutes": 60, "maxDurationMinutes": 30 }),
                Some((422, "rules.minDurationMinutes")),
            ),
            (
                json!({ "openingHours": { "monday": [{ "from": "18:00", "to": "08:00" }] } }),
                Some((422, "rules.openingHours")),
            ),
        ] {
            let mut faults = Faults::default();
            check(&mut faults, &serde_json::from_value(rules).unwrap());
            let problem = faults.result().err().map(|problem| problem.to_json());
            let expected = refusal.map(|(status, field)| (json!(status), json!(field)));
            let found =
                problem.map(|problem| (problem["status"].clone(), problem["field"].clone()));
            assert_eq!(found, expected);
        }
    }
}
