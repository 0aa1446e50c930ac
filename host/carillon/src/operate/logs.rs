//! `carillon plugin logs`.

use anyhow::{Result, bail};
use carillon_pipeline::LogEntry;
use reqwest::Response;
use serde::Deserialize;

use super::client::{Client, Items};
use super::{print, words};
use crate::arguments::LogsOptions;

/// The longest event that is read. A log line is far shorter.
const MAX_EVENT_BYTES: usize = 1 << 20;

pub(crate) async fn logs(options: &LogsOptions) -> Result<()> {
    let client = Client::find(&options.plugin.remote)?;
    let request = client
        .get(&["plugins", &options.plugin.name, "logs"])
        .query(&[("tail", options.tail)]);
    if options.follow {
        let request = request
            .query(&[("follow", true)])
            // As long as the host runs.
            .timeout(std::time::Duration::MAX);
        return follow(&client, client.response(request).await?).await;
    }
    let entries: Items<LogEntry> = client.value(request).await?;
    entries
        .items
        .iter()
        .try_for_each(|entry| tell(&client, entry))
}

/// A line of JSON, or a line in words.
fn tell(client: &Client, entry: &LogEntry) -> Result<()> {
    if client.json() {
        return print::line(&serde_json::to_string(entry)?);
    }
    print::line(&in_words(entry))
}

fn in_words(entry: &LogEntry) -> String {
    let from = match entry.from.as_str() {
        "plugin" => entry.version.clone(),
        from => from.to_owned(),
    };
    let event = entry
        .event_id
        .as_ref()
        .map_or_else(String::new, |id| format!("  (event {id})"));
    format!(
        "{}  {:<5}  {from}  {}{event}",
        words::exact_time(entry.at_ms),
        entry.level,
        entry.text
    )
}

/// Prints until the host ends the stream; then that is an error, since more was wanted.
async fn follow(client: &Client, mut response: Response) -> Result<()> {
    let mut events = Events::default();
    while let Ok(Some(chunk)) = response.chunk().await {
        events.add(&chunk)?;
        while let Some(event) = events.next() {
            match event {
                Event::Line(entry) => tell(client, &entry)?,
                Event::Missed { lines } => eprintln!(
                    "{} not shown: they came faster than they were read",
                    words::counted(lines, "line")
                ),
                Event::Closing { reason } => bail!("the host has ended the log: {reason}"),
            }
        }
    }
    bail!("the host is gone, and its log with it; begin again once it runs")
}

/// What the host says on the event stream.
#[derive(Debug, PartialEq)]
enum Event {
    Line(Box<LogEntry>),
    Missed { lines: u64 },
    Closing { reason: String },
}

/// An event stream, as far as it has come (WHATWG HTML, section 9.2.6).
#[derive(Debug, Default)]
struct Events {
    text: Vec<u8>,
}

impl Events {
    fn add(&mut self, chunk: &[u8]) -> Result<()> {
        self.text.extend_from_slice(chunk);
        if self.text.len() > MAX_EVENT_BYTES {
            bail!("the host sends what is no log");
        }
        Ok(())
    }

    /// The next whole event. Comments, and what a later host may say more, are passed over.
    fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.text.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                return Some(event);
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    #[derive(Deserialize)]
    struct Missed {
        lines: u64,
    }
    #[derive(Deserialize)]
    struct Closing {
        reason: String,
    }
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let data = field("data")?;
    match field("event")? {
        "line" => serde_json::from_str(data).ok().map(Event::Line),
        "missed" => serde_json::from_str(data)
            .ok()
            .map(|Missed { lines }| Event::Missed { lines }),
        "closing" => serde_json::from_str(data)
            .ok()
            .map(|Closing { reason }| Event::Closing { reason }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let text = ":\n\nevent: missed\ndata: {\"lines\":3}\n\nevent: later\ndata: 1\n\n\
                    event: closing\ndata: {\"reason\":\"größe\"}\n\n";
        for size in [1, 7, 1_000] {
            let mut events = Events::default();
            let mut seen = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                events.add(chunk).unwrap();
                seen.extend(std::iter::from_fn(|| events.next()));
            }
            let closing = Event::Closing {
                reason: "größe".to_owned(),
            };
            assert_eq!(seen, [Event::Missed { lines: 3 }, closing]);
        }
    }

    #[test]
    fn a_line_says_when_how_bad_and_about_which_event() {
        let entry = LogEntry {
            number: 1,
            at_ms: 1_755_600_000_500,
            level: "warn".to_owned(),
            from: "plugin".to_owned(),
            version: "1.0.0".to_owned(),
            event_id: Some("e1".to_owned()),
            correlation_id: None,
            text: "no title".to_owned(),
        };
        assert_eq!(
            in_words(&entry),
            "2025-08-19T10:40:00.500Z  warn   1.0.0  no title  (event e1)"
        );
    }
}
