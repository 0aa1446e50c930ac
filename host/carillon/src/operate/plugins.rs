//! `carillon plugin list`, and what is done to one plugin.

use std::collections::BTreeMap;

use anyhow::Result;
use carillon_pipeline::{LoadOutcome, PluginDetails, PluginSummary};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Items};
use super::load::told;
use super::show::settings_table;
use super::table::Table;
use super::words;
use crate::arguments::{
    ListOptions, NameOptions, RemoveOptions, RollbackOptions, SettingsOptions, StateFate,
};

/// As much of a reason as the list shows; `show` has all of it.
const REASON_CHARS: usize = 160;

/// `carillon plugin list`.
pub(crate) async fn list(options: &ListOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    client.tell(client.get(&["plugins"]), listed).await
}

fn listed(plugins: &Items<PluginSummary>) -> String {
    let mut table = Table::new([
        "plugin",
        "version",
        "state",
        "lag>",
        "events/s>",
        "handled>",
        "faults>",
        "dead>",
        "p99>",
        "memory>",
    ]);
    for plugin in &plugins.items {
        table.row([
            plugin.name.clone(),
            plugin.version.clone(),
            plugin.state.clone(),
            words::count(plugin.lag),
            words::rate(plugin.events_per_s),
            words::count(plugin.handled),
            words::count(plugin.faults),
            words::count(plugin.dead_letters),
            words::ms(plugin.p99_ms),
            words::bytes(plugin.memory_bytes),
        ]);
        if let Some(candidate) = &plugin.candidate {
            let share = candidate
                .percent
                .map_or_else(String::new, |percent| format!(" {percent} %"));
            table.row([
                "  beside it".to_owned(),
                candidate.version.clone(),
                format!("{}{share}", candidate.mode),
                String::new(),
                String::new(),
                words::count(candidate.handled),
                words::count(candidate.faults),
                String::new(),
                words::ms(candidate.p99_ms),
                String::new(),
            ]);
        }
    }
    if table.is_empty() {
        return "No plugins are loaded. Load one with `carillon plugin load FILE`, or drop it into the plugins folder.\n"
            .to_owned();
    }
    let reasons = plugins.items.iter().filter_map(|plugin| {
        let reason = words::cut(plugin.reason.as_deref()?, REASON_CHARS);
        Some(format!("{} is {}: {reason}\n", plugin.name, plugin.state))
    });
    let mut text = table.text("");
    text.extend(reasons);
    text
}

/// One load, as `versions` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    id: i64,
    version: String,
    sha256: String,
    at_ms: i64,
    who: String,
    origin: String,
    action: String,
    settings: BTreeMap<String, String>,
}

/// `carillon plugin versions`.
pub(crate) async fn versions(options: &NameOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let request = client.get(&["plugins", &options.name, "versions"]);
    client.tell(request, loads_listed).await
}

fn loads_listed(loads: &Items<Load>) -> String {
    let mut table = Table::new([
        "load>", "version", "sha256", "when", "by", "what", "set", "from",
    ]);
    for load in &loads.items {
        let set: Vec<String> = load
            .settings
            .iter()
            .map(|(key, value)| format!("{key}={}", words::cut(value, 20)))
            .collect();
        table.row([
            load.id.to_string(),
            load.version.clone(),
            words::sha(&load.sha256),
            words::time(load.at_ms),
            load.who.clone(),
            load.action.clone(),
            set.join(" "),
            load.origin.clone(),
        ]);
    }
    table.text("")
}

/// `carillon plugin pause`.
pub(crate) async fn pause(options: &NameOptions) -> Result<()> {
    act(options, "pause").await
}

/// `carillon plugin resume`.
pub(crate) async fn resume(options: &NameOptions) -> Result<()> {
    act(options, "resume").await
}

/// `carillon plugin promote`.
pub(crate) async fn promote(options: &NameOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let request = client.post(&["plugins", &options.name, "promote"]);
    client.tell(request, told).await
}

/// `carillon plugin abort`.
pub(crate) async fn abort(options: &NameOptions) -> Result<()> {
    act(options, "abort").await
}

async fn act(options: &NameOptions, action: &str) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let request = client.post(&["plugins", &options.name, action]);
    client.tell(request, stands).await
}

/// How a plugin stands, in one sentence.
fn stands(plugin: &PluginSummary) -> String {
    let PluginSummary {
        name,
        version,
        state,
        ..
    } = plugin;
    let lag = match plugin.lag {
        0 => "it has nothing to catch up with".to_owned(),
        lag => format!("{} are before it", words::counted(lag, "event")),
    };
    let beside = plugin.candidate.as_ref().map_or_else(String::new, |other| {
        format!("; {} runs beside it as {}", other.version, other.mode)
    });
    format!("{name} {version} is {state}; {lag}{beside}.\n")
}

/// `carillon plugin rollback`.
pub(crate) async fn rollback(options: &RollbackOptions) -> Result<()> {
    let client = Client::find(&options.plugin.remote)?;
    let request = client
        .post(&["plugins", &options.plugin.name, "rollback"])
        .json(&json!({ "to": options.to }));
    client.tell(request, told).await
}

/// `carillon plugin remove`.
pub(crate) async fn remove(options: &RemoveOptions) -> Result<()> {
    let client = Client::find(&options.plugin.remote)?;
    let name = &options.plugin.name;
    let (fate, words) = match options.state {
        StateFate::Keep => ("keep", "its state is kept"),
        StateFate::Delete => ("delete", "its state is deleted"),
    };
    let request = client
        .request(Method::DELETE, &["plugins", name])
        .query(&[("state", fate)]);
    let told = |_: &Value| format!("{name} is removed; {words}, and what it has sent stays.\n");
    client.tell(request, told).await
}

/// `carillon plugin settings`.
pub(crate) async fn settings(options: &SettingsOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let name = &options.name;
    if options.changes.is_empty() {
        let shown = |plugin: &PluginDetails| settings_table(plugin, "");
        return client.tell(client.get(&["plugins", name]), shown).await;
    }
    let changes: BTreeMap<&str, Option<&str>> = options
        .changes
        .iter()
        .map(|change| (change.key.as_str(), change.value.as_deref()))
        .collect();
    let request = client
        .request(Method::PATCH, &["plugins", name, "settings"])
        .json(&changes);
    client.tell(request, changed).await
}

fn changed(outcome: &LoadOutcome) -> String {
    let mut text = format!(
        "{} {} runs with the new settings (load {}).\n",
        outcome.plugin, outcome.version, outcome.load
    );
    text.extend(outcome.notes.iter().map(|note| format!("note: {note}\n")));
    text
}
