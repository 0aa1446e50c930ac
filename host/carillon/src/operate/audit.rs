//! `carillon audit`.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Items};
use super::table::Table;
use super::words;
use crate::arguments::AuditOptions;

/// As much of the particulars as a list shows.
const DETAIL_CHARS: usize = 100;

/// What somebody did.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    at_ms: i64,
    who: String,
    from: Option<String>,
    action: String,
    plugin: Option<String>,
    detail: Value,
    outcome: String,
}

pub(crate) async fn audit(options: &AuditOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let mut query = vec![("limit", options.page.limit.to_string())];
    query.extend(options.page.after.clone().map(|after| ("before", after)));
    query.extend(options.plugin.clone().map(|plugin| ("plugin", plugin)));
    let request = client.get(&["audit"]).query(&query);
    client.tell(request, listed).await
}

fn listed(records: &Items<Record>) -> String {
    let mut table = Table::new([
        "when", "who", "from", "action", "plugin", "outcome", "detail",
    ]);
    for record in &records.items {
        table.row([
            words::time(record.at_ms),
            record.who.clone(),
            record.from.clone().unwrap_or_default(),
            record.action.clone(),
            record.plugin.clone().unwrap_or_default(),
            words::cut(&record.outcome, DETAIL_CHARS),
            words::cut(&particulars(&record.detail), DETAIL_CHARS),
        ]);
    }
    if table.is_empty() {
        return "Nothing was done yet.\n".to_owned();
    }
    let mut text = table.text("");
    if let Some(next) = &records.next {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "There are more: add --after {next}");
    }
    text
}

/// `name=value` for each that says something.
fn particulars(detail: &Value) -> String {
    let Value::Object(members) = detail else {
        return String::new();
    };
    let said: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("{name}={text}")),
            other => Some(format!("{name}={other}")),
        })
        .collect();
    said.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn particulars_are_told_without_what_says_nothing() {
        let detail = json!({ "to": null, "origin": "a b.wasm", "ids": [1, 2] });
        assert_eq!(particulars(&detail), "ids=[1,2] origin=a b.wasm");
        assert_eq!(particulars(&Value::Null), "");
    }
}
