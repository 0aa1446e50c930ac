//! `carillon plugin replay`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use carillon_pipeline::{ReplayDifference, ReplayStatus};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal;

use super::client::Client;
use super::progress::Progress;
use super::{differences, print, words};
use crate::arguments::ReplayOptions;

/// The time between two looks at a replay.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Begun {
    id: u64,
}

pub(crate) async fn replay(options: &ReplayOptions) -> Result<()> {
    let client = Client::find(&options.plugin.remote)?;
    let wanted = json!({
        "from": options.from, "to": options.to,
        "dryRun": options.dry_run, "withState": options.with_state,
    });
    let request = client
        .post(&["plugins", &options.plugin.name, "replay"])
        .json(&wanted);
    let Begun { id } = client.value(request).await?;
    let status = tokio::select! {
        status = watch(&client, id) => status?,
        _ = signal::ctrl_c() => cancel(&client, id).await?,
    };
    if client.json() {
        print::line(&serde_json::to_string(&status)?)?;
    } else {
        print::text(&told(&status))?;
    }
    match status.state.as_str() {
        "done" => Ok(()),
        "cancelled" => bail!("the replay was cancelled where it stood"),
        _ => bail!(
            "the replay failed: {}",
            status
                .error
                .as_deref()
                .unwrap_or("the host does not say why")
        ),
    }
}

/// Looks at the replay until it has ended.
async fn watch(client: &Client, id: u64) -> Result<ReplayStatus> {
    let mut progress = Progress::new("replaying");
    loop {
        let status = look(client, Method::GET, id).await?;
        if status.state != "running" {
            return Ok(status);
        }
        progress.draw(status.read, status.records);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends it, and waits until it has ended: what was under way is still counted.
async fn cancel(client: &Client, id: u64) -> Result<ReplayStatus> {
    look(client, Method::DELETE, id).await?;
    watch(client, id).await
}

async fn look(client: &Client, method: Method, id: u64) -> Result<ReplayStatus> {
    let id = id.to_string();
    client
        .value(client.request(method, &["replays", &id]))
        .await
}

fn told(status: &ReplayStatus) -> String {
    let mut text = String::new();
    for difference in &status.differences {
        text.push_str(&diff(difference));
    }
    let listed = status.differences.len() as u64;
    let different = status.changed + status.new + status.missing;
    // Writing to a string cannot fail, here and below.
    if different > listed {
        let _ = writeln!(
            text,
            "… and {} more that differ\n",
            words::count(different - listed)
        );
    }
    let _ = writeln!(
        text,
        "{} {} from {} to {}: {} read, {} handled, {} failed",
        status.plugin,
        status.version,
        words::time(status.from_ms),
        words::time(status.to_ms),
        words::counted(status.read, "record"),
        words::counted(status.handled, "event"),
        words::count(status.failed),
    );
    let _ = writeln!(text, "{}", totals(status));
    for failure in &status.failures {
        let _ = writeln!(text, "failed: {failure}");
    }
    text
}

fn totals(status: &ReplayStatus) -> String {
    let sent = if status.dry_run {
        "a replay would send these"
    } else {
        "now sent"
    };
    format!(
        "notifications: {} as they were sent, {} changed, {} new ({sent}), {} that would not be sent now",
        words::count(status.same),
        words::count(status.changed),
        words::count(status.new),
        words::count(status.missing)
    )
}

/// One notification: what was sent with `-`, what would be sent now with `+`.
fn diff(difference: &ReplayDifference) -> String {
    let mut text = format!(
        "{} {} in {} (event {})\n",
        difference.what, difference.id, difference.stream, difference.event_id
    );
    let side = |side: &Option<Value>| side.clone().unwrap_or(Value::Null);
    let fields = differences::between(&side(&difference.sent), &side(&difference.now));
    for field in fields {
        for (sign, value) in [('-', &field.left), ('+', &field.right)] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {sign} {}: {}", field.field, words::cut(value, 200));
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_notification_is_shown_as_a_diff() {
        let difference = ReplayDifference {
            what: "changed".to_owned(),
            id: "n1".to_owned(),
            event_id: "e1".to_owned(),
            stream: "user:ada".to_owned(),
            sent: Some(json!({ "title": "Hello", "body": "x" })),
            now: Some(json!({ "title": "Good day", "body": "x" })),
        };
        assert_eq!(
            diff(&difference),
            "changed n1 in user:ada (event e1)\n  - title: Hello\n  + title: Good day\n\n"
        );
        let new = ReplayDifference {
            what: "new".to_owned(),
            sent: None,
            ..difference
        };
        assert_eq!(
            diff(&new),
            "new n1 in user:ada (event e1)\n  + body: x\n  + title: Good day\n\n"
        );
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        let status = ReplayStatus {
            plugin: "greeter".to_owned(),
            version: "2.0.0".to_owned(),
            dry_run: true,
            read: 10_000,
            handled: 9_000,
            same: 8_000,
            changed: 900,
            new: 100,
            ..ReplayStatus::default()
        };
        let text = told(&status);
        assert!(text.starts_with("… and 1,000 more that differ\n"), "{text}");
        assert!(
            text.contains("10,000 records read, 9,000 events handled, 0 failed"),
            "{text}"
        );
        assert!(
            text.contains("100 new (a replay would send these)"),
            "{text}"
        );
    }
}
