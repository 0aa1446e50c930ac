//! `carillon dead-letters`.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use carillon_pipeline::{DeadLetterView, LetterReplayed};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Items};
use super::table::Table;
use super::{print, words};
use crate::arguments::{
    LetterOptions, LettersChoice, LettersFilter, LettersOptions, LettersPurgeOptions,
    LettersReplayOptions,
};

/// Letters that one request replays: each is handled while the request waits.
const REPLAYED_AT_ONCE: usize = 100;

/// The most letters of a page.
const LISTED_AT_ONCE: u32 = 500;

/// As much of a reason as a list shows.
const REASON_CHARS: usize = 80;

/// `carillon dead-letters list`.
pub(crate) async fn list(options: &LettersOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let mut query = filter(&options.filter);
    query.push(("limit", options.page.limit.to_string()));
    if let Some(after) = &options.page.after {
        query.push(("after", after.clone()));
    }
    let request = client.get(&["dead-letters"]).query(&query);
    client.tell(request, listed).await
}

fn filter(filter: &LettersFilter) -> Vec<(&'static str, String)> {
    let LettersFilter {
        plugin,
        code,
        topic,
    } = filter;
    [("plugin", plugin), ("code", code), ("topic", topic)]
        .into_iter()
        .filter_map(|(name, value)| value.clone().map(|value| (name, value)))
        .collect()
}

fn listed(letters: &Items<DeadLetterView>) -> String {
    let mut table = Table::new([
        "id>",
        "age>",
        "plugin",
        "version",
        "record",
        "code",
        "attempts>",
        "reason",
    ]);
    for letter in &letters.items {
        table.row([
            letter.id.to_string(),
            words::age(letter.created_ms),
            letter.plugin.clone(),
            letter.version.clone(),
            record(letter),
            letter.code.clone(),
            letter.attempts.to_string(),
            words::cut(&letter.reason, REASON_CHARS),
        ]);
    }
    if table.is_empty() {
        return "There are none.\n".to_owned();
    }
    let mut text = table.text("");
    if let Some(next) = &letters.next {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "There are more: add --after {next}");
    }
    text
}

fn record(letter: &DeadLetterView) -> String {
    format!("{}/{}/{}", letter.topic, letter.partition, letter.offset)
}

/// `carillon dead-letters show`.
pub(crate) async fn show(options: &LetterOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let id = options.id.to_string();
    client.tell(client.get(&["dead-letters", &id]), shown).await
}

fn shown(letter: &DeadLetterView) -> String {
    let mut text = format!("dead letter {}\n\n", letter.id);
    let lines = [
        (
            "plugin",
            format!("{} {}", letter.plugin, letter.version)
                .trim()
                .to_owned(),
        ),
        ("code", letter.code.clone()),
        ("reason", letter.reason.clone()),
        ("attempts", letter.attempts.to_string()),
        (
            "event",
            letter.event_id.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("record", record(letter)),
        ("logged", words::exact_time(letter.logged_ms)),
        ("stored", words::exact_time(letter.created_ms)),
        ("key", letter.key.clone().unwrap_or_else(|| "-".to_owned())),
    ];
    // Writing to a string cannot fail, here and below.
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<10}{value}");
    }
    for (name, value) in letter.headers.iter().flatten() {
        let _ = writeln!(text, "  header    {name}: {value}");
    }
    let value = letter.value.as_deref().unwrap_or("(no value)");
    let _ = writeln!(text, "\n{value}");
    text
}

/// `carillon dead-letters replay`.
pub(crate) async fn replay(options: &LettersReplayOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let ids = chosen(&client, &options.which).await?;
    if ids.is_empty() {
        return print::line("There are none to replay.");
    }
    let mut outcomes = Vec::with_capacity(ids.len());
    for some in ids.chunks(REPLAYED_AT_ONCE) {
        let request = client
            .post(&["dead-letters", "replay"])
            .json(&json!({ "ids": some, "plugin": options.to }));
        let replayed: Items<LetterReplayed> = client.value(request).await?;
        outcomes.extend(replayed.items);
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.outcome != "handled")
        .count();
    if client.json() {
        print::line(&json!({ "items": outcomes, "next": null }).to_string())?;
    } else {
        print::text(&replayed(&outcomes))?;
    }
    if failed > 0 {
        bail!(
            "{failed} of {} failed again, and stay dead letters",
            outcomes.len()
        );
    }
    Ok(())
}

fn replayed(outcomes: &[LetterReplayed]) -> String {
    let mut table = Table::new(["id>", "plugin", "outcome", ""]);
    for outcome in outcomes {
        table.row([
            outcome.id.to_string(),
            outcome.plugin.clone(),
            outcome.outcome.clone(),
            words::cut(&outcome.detail, REASON_CHARS),
        ]);
    }
    table.text("")
}

/// The numbers of the letters that were chosen, oldest first: in the order of their events.
async fn chosen(client: &Client, which: &LettersChoice) -> Result<Vec<i64>> {
    let mut ids = which.ids.clone();
    let mut after: Option<String> = None;
    while which.ids.is_empty() {
        let mut query = filter(&which.filter);
        query.push(("limit", LISTED_AT_ONCE.to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let request = client.get(&["dead-letters"]).query(&query);
        let page: Items<DeadLetterView> = client.value(request).await?;
        ids.extend(page.items.iter().map(|letter| letter.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// `carillon dead-letters purge`.
pub(crate) async fn purge(options: &LettersPurgeOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let mut query = filter(&options.which.filter);
    if !options.which.ids.is_empty() {
        let ids: Vec<String> = options.which.ids.iter().map(ToString::to_string).collect();
        query.push(("ids", ids.join(",")));
    }
    let request = client
        .request(Method::DELETE, &["dead-letters"])
        .query(&query);
    let told = |Purged { purged }: &Purged| {
        format!("{} deleted\n", words::counted(*purged, "dead letter"))
    };
    client.tell(request, told).await
}
