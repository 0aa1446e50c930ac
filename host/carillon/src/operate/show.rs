//! `carillon plugin show`.

use std::fmt::Write as _;

use anyhow::Result;
use carillon_pipeline::{
    CandidateSummary, LaneStatus, LimitDetails, PluginDetails, SettingDetails,
};

use super::client::Client;
use super::table::Table;
use super::words;
use crate::arguments::NameOptions;

pub(crate) async fn show(options: &NameOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let request = client.get(&["plugins", &options.name]);
    client.tell(request, shown).await
}

fn shown(details: &PluginDetails) -> String {
    [
        head(details),
        capabilities(details),
        section("settings", &settings_table(details, "  ")),
        section("limits", &limits_table(&details.limits)),
        section("lanes", &lanes_table(&details.lanes)),
    ]
    .concat()
}

fn section(title: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("\n{title}\n{body}")
}

fn head(details: &PluginDetails) -> String {
    let plugin = &details.plugin;
    let mut state = plugin.state.clone();
    // Writing to a string cannot fail, here and below.
    if let Some(since_ms) = plugin.since_ms {
        let _ = write!(state, " since {}", words::time(since_ms));
    }
    if let Some(reason) = &plugin.reason {
        let _ = write!(state, ": {reason}");
    }
    let latency = &details.latency;
    let lines = [
        ("state", state),
        ("subscribes to", details.subscriptions.join(", ")),
        ("sha256", plugin.sha256.clone()),
        (
            "loaded",
            format!(
                "{} by {}, load {}",
                words::time(details.loaded_ms),
                details.loaded_by,
                details.load
            ),
        ),
        ("from", details.origin.clone()),
        (
            "events",
            format!(
                "{} behind, {} a second",
                words::count(plugin.lag),
                words::rate(plugin.events_per_s)
            ),
        ),
        (
            "since start",
            format!(
                "{} handled, {}, {}",
                words::count(plugin.handled),
                words::counted(plugin.faults, "fault"),
                words::counted(plugin.dead_letters, "dead letter")
            ),
        ),
        (
            "a call takes",
            format!(
                "p50 {}, p99 {}, at most {}",
                words::ms(latency.p50_ms),
                words::ms(latency.p99_ms),
                words::ms(latency.max_ms)
            ),
        ),
        (
            "memory",
            format!("{} over its instances", words::bytes(plugin.memory_bytes)),
        ),
        (
            "stored state",
            format!(
                "{}, state version {}",
                words::bytes(details.state_bytes),
                details.state_version
            ),
        ),
    ];
    let mut text = format!("{} {}\n{}\n\n", plugin.name, plugin.version, plugin.summary);
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<15}{value}");
    }
    if let Some(candidate) = &plugin.candidate {
        let _ = writeln!(text, "  {:<15}{}", "beside it", beside(candidate));
    }
    text
}

fn beside(candidate: &CandidateSummary) -> String {
    let share = candidate.percent.map_or_else(String::new, |percent| {
        format!(" for {percent} % of the keys")
    });
    let end = candidate.abort_after.map_or_else(String::new, |faults| {
        format!(
            ", ended after {}",
            words::counted(u64::from(faults), "fault")
        )
    });
    format!(
        "{} as {}{share} since {}{end}: {} handled, {}, p99 {}",
        candidate.version,
        candidate.mode,
        words::time(candidate.since_ms),
        words::count(candidate.handled),
        words::counted(candidate.faults, "fault"),
        words::ms(candidate.p99_ms)
    )
}

/// Asked beside granted: what is asked for and not granted is said, too.
fn capabilities(details: &PluginDetails) -> String {
    let mut table = Table::new(["asked", "granted"]);
    for asked in details.asked.iter().map(|asked| interface(asked)) {
        // Only names of types: there is nothing to grant.
        if asked == "types" {
            continue;
        }
        let granted = details.granted.get(asked).map(Vec::as_slice);
        match granted.unwrap_or_default() {
            [] => table.row([asked.to_owned(), "nothing".to_owned()]),
            [first, others @ ..] => {
                table.row([asked.to_owned(), first.clone()]);
                for other in others {
                    table.row([String::new(), other.clone()]);
                }
            }
        }
    }
    if table.is_empty() {
        return section("capabilities", "  it asks for nothing\n");
    }
    section("capabilities", &table.text("  "))
}

/// `log` of `carillon:plugin/log@0.1.0`.
fn interface(import: &str) -> &str {
    let name = import.rsplit('/').next().unwrap_or(import);
    name.split('@').next().unwrap_or(name)
}

/// The settings, with where each value comes from.
pub(crate) fn settings_table(details: &PluginDetails, indent: &str) -> String {
    let mut table = Table::new(["key", "value", "set by", "what it is for"]);
    for SettingDetails {
        key,
        summary,
        value,
        source,
    } in &details.settings
    {
        let value = match value.as_deref() {
            None => "-",
            Some("") => "(empty)",
            Some(value) => value,
        };
        table.row([
            key.clone(),
            words::cut(value, 60),
            source.clone(),
            summary.clone(),
        ]);
    }
    if table.is_empty() {
        return format!("{indent}it reads none\n");
    }
    table.text(indent)
}

fn limits_table(limits: &[LimitDetails]) -> String {
    let mut table = Table::new(["limit", "granted>", "highest seen>"]);
    for limit in limits {
        let number = |value: u64| {
            if limit.limit.ends_with("_bytes") {
                words::bytes(value)
            } else {
                words::count(value)
            }
        };
        table.row([
            limit.limit.clone(),
            number(limit.granted),
            limit.highest.map_or_else(|| "-".to_owned(), number),
        ]);
    }
    table.text("  ")
}

/// The lanes that have something to tell; the others are counted.
fn lanes_table(lanes: &[LaneStatus]) -> String {
    let mut table = Table::new([
        "topic",
        "partition>",
        "next>",
        "end>",
        "behind>",
        "place",
        "waits for",
    ]);
    let mut quiet = 0;
    for lane in lanes {
        if lane.lag == 0 && lane.place == "head" && lane.waits.is_none() {
            quiet += 1;
            continue;
        }
        table.row([
            lane.topic.clone(),
            lane.partition.to_string(),
            lane.cursor.to_string(),
            lane.end.to_string(),
            words::count(lane.lag),
            lane.place.clone(),
            lane.waits.clone().unwrap_or_default(),
        ]);
    }
    let shown = if table.is_empty() {
        String::new()
    } else {
        table.text("  ")
    };
    match quiet {
        0 => shown,
        _ => format!(
            "{shown}  {} at the head, with nothing to catch up with\n",
            words::counted(quiet, "lane")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: i32, lag: u64) -> LaneStatus {
        LaneStatus {
            plugin: "greeter".to_owned(),
            topic: "booking-events".to_owned(),
            partition,
            cursor: 10,
            end: 10 + i64::try_from(lag).unwrap_or(0),
            lag,
            place: "head".to_owned(),
            waits: None,
        }
    }

    #[test]
    fn an_import_is_called_by_the_name_of_its_interface() {
        assert_eq!(interface("carillon:plugin/http@0.1.0"), "http");
        assert_eq!(interface("carillon:plugin/log"), "log");
        assert_eq!(interface("state"), "state");
    }

    #[test]
    fn lanes_with_nothing_to_tell_are_only_counted() {
        let text = lanes_table(&[lane(0, 0), lane(1, 1_200), lane(2, 0)]);
        assert!(
            text.contains("booking-events          1    10  1210   1,200  head"),
            "{text}"
        );
        assert!(text.ends_with("  2 lanes at the head, with nothing to catch up with\n"));
        assert!(!text.contains("booking-events          0"), "{text}");
    }
}
