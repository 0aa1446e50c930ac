//! What `make bench` measures of plugins in operators' hands: many of them, and how soon one that
//! is loaded handles its first event. Prints a Markdown table. `OPERATIONS_PLUGINS` and
//! `OPERATIONS_EVENTS` change the size.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use carillon_tests::child::wait_until;
use carillon_tests::events::{self, Numbered, TOPICS};
use carillon_tests::host::{Host, Setup, guest, shipped};
use carillon_tests::kafka::{Kafka, Record};
use carillon_tests::measure::{Table, from_environment, rate_into_store, resident_bytes};
use carillon_tests::operate::Operator;
use carillon_tests::pace::Flow;
use carillon_tests::store::{Contents, progress};
use serde_json::{Value, json};
use tempfile::TempDir;

const PARTITIONS: i32 = 4;
/// Longer than any measurement needs: a stuck host ends the program.
const BOUND: Duration = Duration::from_secs(600);
/// What stands in the guest `numbered`, and is rewritten for each plugin.
const NAME: &[u8; 13] = b"numbered-0000";
/// What the numbered plugins subscribe to.
const THEIR_KIND: &str = "numbered.called";
/// What nobody subscribes to.
const QUIET_KIND: &str = "analytics.viewed";
/// The plugins that ship.
const SHIPPED: [&str; 3] = ["booking-updates", "waitlist-updates", "conflict-alerts"];
/// So that the first event after a load is never waited for.
const EVENTS_A_SECOND: u32 = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let plugins = from_environment("OPERATIONS_PLUGINS", 500)?;
    let events = from_environment("OPERATIONS_EVENTS", 300_000)?;
    let kafka = Kafka::start().await?;
    for topic in TOPICS {
        kafka.create_topic(topic, PARTITIONS).await?;
    }
    let mut table = Table::default();
    first_events(&kafka, &mut table).await?;
    many_plugins(&kafka, plugins, events, &mut table).await?;
    println!("\n{table}");
    Ok(())
}

/// What one plugin costs where there are many.
async fn many_plugins(kafka: &Kafka, plugins: u32, events: u32, table: &mut Table) -> Result<()> {
    let files = Files::write(plugins)?;
    let mut one = Crowd::start(kafka, "one", &files.paths[..1]).await?;
    let mut many = Crowd::start(kafka, "many", &files.paths).await?;
    table.add(
        format!("first start with {plugins} files in the folder, until ready (with 1)"),
        times(many.started_in, one.started_in),
    );
    many.forget_compiled_code()?;
    let cold = many.restart().await?;
    let (beside, cached) = (one.restart().await?, many.restart().await?);
    table.add(
        format!("restart with {plugins} plugins, until ready: compiled anew / from the cache (with 1, from the cache)"),
        format!("{} / {}", seconds(cold), times(cached, beside)),
    );

    // Nothing was compiled by these processes, which would leave memory behind.
    let loaded = (one.resident().await?, many.resident().await?);
    kafka.produce(calls()).await?;
    let warm = (one.called(1).await?, many.called(plugins).await?);
    for (what, (one, many)) in [("loaded", loaded), ("each with a warm instance", warm)] {
        table.add(
            format!("resident memory a plugin at {plugins}, {what}"),
            kibibytes(many.saturating_sub(one), plugins - 1),
        );
    }

    one.host.stop()?;
    many.host.stop()?;
    kafka.produce(quiet_events(events)).await?;
    let (beside_one, beside_many) = (one.rate(events).await?, many.rate(events).await?);
    table.add(
        format!("events/s that nobody subscribes to, with {plugins} plugins (with 1; ratio)"),
        format!(
            "{beside_many:.0} ({beside_one:.0}; {:.2})",
            beside_many / beside_one
        ),
    );
    Ok(())
}

/// One binary for each number.
struct Files {
    _folder: TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    fn write(count: u32) -> Result<Self> {
        let binary = std::fs::read(guest("numbered"))?;
        let mut found = binary.windows(NAME.len()).enumerate();
        let place = found.find(|(_, bytes)| bytes == NAME);
        let (place, _) = place.context("the guest `numbered` does not hold its name")?;
        let folder = tempfile::tempdir()?;
        let write = |number: u32| {
            let name = format!("numbered-{number:04}");
            let mut own = binary.clone();
            own[place..place + NAME.len()].copy_from_slice(name.as_bytes());
            let path = folder.path().join(format!("{name}.wasm"));
            std::fs::write(&path, own)?;
            Ok(path)
        };
        let paths = (1..=count).map(write).collect::<Result<_>>()?;
        Ok(Self {
            _folder: folder,
            paths,
        })
    }
}

/// A host with numbered plugins.
struct Crowd {
    host: Host,
    started_in: Duration,
}

impl Crowd {
    async fn start(kafka: &Kafka, group: &str, files: &[PathBuf]) -> Result<Self> {
        let setup = Setup::host(kafka)
            .config(&format!("group_id = \"{group}\"\n"))
            .ready_bound(BOUND);
        let setup = files
            .iter()
            .fold(setup, |setup, file| setup.plugin(file.clone()));
        let start = Instant::now();
        let host = setup.start().await?;
        Ok(Self {
            host,
            started_in: start.elapsed(),
        })
    }

    async fn restart(&mut self) -> Result<Duration> {
        let code = self.host.stop()?;
        ensure!(code == 0, "{}", self.host.log_tail());
        let start = Instant::now();
        self.host.restart().await?;
        Ok(start.elapsed())
    }

    fn forget_compiled_code(&self) -> Result<()> {
        let cache = self.host.data().join("cache");
        std::fs::remove_dir_all(&cache).with_context(|| format!("no cache at {}", cache.display()))
    }

    /// Memory once nothing happens any more: what a start needed for a moment is given back late.
    async fn resident(&self) -> Result<u64> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        resident_bytes(self.host.pid())
    }

    /// Memory once each plugin has handled an event of its kind.
    async fn called(&self, plugins: u32) -> Result<u64> {
        let data = self.host.data();
        wait_until("every plugin to be called", BOUND, async || {
            let contents = Contents::read(&data).await?;
            Ok((contents.decisions.len() >= plugins as usize).then_some(()))
        })
        .await?;
        self.resident().await
    }

    /// Records a second from where it was stopped.
    async fn rate(&mut self, count: u32) -> Result<f64> {
        let before = progress(&self.host.data()).await?;
        self.host.launch_again()?;
        let rate = rate_into_store(&self.host, before, before + i64::from(count)).await?;
        self.host.stop()?;
        Ok(rate)
    }
}

/// One event of the kind that the numbered plugins subscribe to.
fn calls() -> Vec<Record> {
    vec![of_kind(0, THEIR_KIND)]
}

fn quiet_events(count: u32) -> Vec<Record> {
    (1..=count)
        .map(|number| of_kind(number, QUIET_KIND))
        .collect()
}

fn of_kind(number: u32, kind: &str) -> Record {
    let events = Numbered {
        topic: "booking-events".to_owned(),
        keys: 200,
        users: 40,
    };
    let mut record = events.record(number);
    if let Ok(mut value) = serde_json::from_slice::<Value>(&record.value) {
        value["eventType"] = json!(kind);
        record.value = value.to_string().into_bytes();
    }
    record
}

/// From the command to the first event that the plugin has handled, while its events flow.
async fn first_events(kafka: &Kafka, table: &mut Table) -> Result<()> {
    let mut host = Setup::host(kafka)
        .config("group_id = \"first\"\n")
        .start()
        .await?;
    let operator = Operator::of(&host)?;
    let samples = events::samples()?;
    let flow = Flow::start(kafka, EVENTS_A_SECOND, move |number| {
        let place = number as usize % samples.len();
        let mut record = samples[place].clone();
        if let Ok(mut value) = serde_json::from_slice::<Value>(&record.value) {
            value["eventId"] = json!(format!("flow-{number}"));
            record.value = value.to_string().into_bytes();
        }
        record
    })?;
    // What every first load of a process pays: threads, the engine, the command itself.
    first_event(&operator, "echo", &guest("echo")).await?;
    let mut cold = Vec::new();
    for name in SHIPPED {
        cold.push(first_event(&operator, name, &shipped(name)).await?);
        operator.ask(&["plugin", "remove", name]).await?;
    }
    host.stop()?;
    host.restart().await?;
    operator.ask(&["plugin", "remove", "echo"]).await?;
    first_event(&operator, "greeter", &guest("greeter-v1")).await?;
    for (name, cold) in SHIPPED.into_iter().zip(cold) {
        let cached = first_event(&operator, name, &shipped(name)).await?;
        table.add(
            format!("`plugin load {name}.wasm` to its first event handled: cold / from the cache"),
            format!("{cold} / {cached}"),
        );
    }
    flow.end().await?;
    host.stop()?;
    Ok(())
}

/// Loads a plugin; answers the time to its first event, and how much of it the host needed until
/// the plugin was ready.
async fn first_event(operator: &Operator, name: &str, file: &Path) -> Result<String> {
    let start = Instant::now();
    let loading = operator.load(file, &[]);
    let handled = wait_until("the first event", BOUND, async || {
        let plugin = operator.plugin(name).await?;
        Ok((plugin["handled"] != 0).then(|| start.elapsed()))
    });
    let (outcome, took) = tokio::join!(loading, handled);
    Ok(format!(
        "{} ms (ready in {} ms)",
        took?.as_millis(),
        outcome?["readyMs"]
    ))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn times(many: Duration, one: Duration) -> String {
    format!("{} ({})", seconds(many), seconds(one))
}

fn kibibytes(bytes: u64, plugins: u32) -> String {
    format!("{:.0} KiB", bytes as f64 / f64::from(plugins) / 1024.0)
}
