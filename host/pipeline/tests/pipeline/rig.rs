//! A host without its faces: the embedded broker, a real store, and guests in the sandbox.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use carillon_bus::{
    Cluster, ConsumerConfig, PartitionId, Producer, ProducerConfig, ReaderPool, Record,
};
use carillon_events::{Draft, Kind};
use carillon_pipeline::{
    DeadLetterQuery, DeadLetterView, LoadOutcome, LoadRequest, OperationError, Operations,
    Operator, Pipeline, PipelineConfig, PipelineParts, PluginConfig, PluginSummary, RunAs, StartAt,
    TrustConfig,
};
use carillon_sandbox::{Sandbox, SandboxConfig};
use carillon_store::{Store, StoreConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) const BOUND: Duration = Duration::from_secs(60);
pub(crate) const TOPIC: &str = "booking-events";
pub(crate) const START_MS: i64 = 1_755_600_000_000;

/// A host without its faces. The broker outlives the host within a test.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    cluster: Cluster,
    pub(crate) producer: Producer,
    pub(crate) store: Store,
    pub(crate) pipeline: Pipeline,
}

impl Rig {
    pub(crate) async fn start(guests: &[&str], settings: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::embedded().unwrap();
        let producer = Producer::new(
            &cluster,
            &ProducerConfig {
                linger_ms: 0,
                ..ProducerConfig::default()
            },
        )
        .unwrap();
        let store = Store::open(folder.path(), StoreConfig::default())
            .await
            .unwrap();
        let pipeline = pipeline(&cluster, &store, guests, settings).await;
        Self {
            folder,
            cluster,
            producer,
            store,
            pipeline,
        }
    }

    /// Stops the host and starts it again with other plugins, on the same log and data.
    pub(crate) async fn restart(
        mut self,
        guests: &[&str],
        settings: &[(&str, &str, &str)],
    ) -> Self {
        self.pipeline.stop().await;
        drop(self.pipeline);
        drop(self.store);
        let store = Store::open(self.folder.path(), StoreConfig::default())
            .await
            .unwrap();
        let pipeline = pipeline(&self.cluster, &store, guests, settings).await;
        Self {
            folder: self.folder,
            cluster: self.cluster,
            producer: self.producer,
            store,
            pipeline,
        }
    }

    pub(crate) async fn send(&self, events: impl IntoIterator<Item = Vec<u8>>) {
        for value in events {
            let record = Record {
                topic: TOPIC.to_owned(),
                // One key, so one partition: order is to be seen.
                key: Some(b"one".to_vec()),
                value,
                timestamp_ms: Some(START_MS),
                headers: Vec::new(),
            };
            self.producer.send(record).await.unwrap();
        }
    }

    /// Waits until `user` has as many entries as asked for, and answers them.
    pub(crate) async fn stream(&self, user: &str, count: usize) -> Vec<Value> {
        let name = format!("user:{user}");
        eventually(&format!("{count} entries of {name}"), async || {
            let entries = self.store.history(&name, 0, 10_000).await.unwrap();
            let entries: Vec<Value> = entries
                .iter()
                .map(|entry| serde_json::from_str(&entry.json).unwrap())
                .collect();
            (entries.len() >= count).then_some(entries)
        })
        .await
    }

    /// Waits for as many dead letters as asked for; answers the headers of each.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<HashMap<String, String>> {
        let config = ConsumerConfig::default();
        let readers = ReaderPool::new(&self.cluster, &config, 1);
        let partitions: Vec<PartitionId> = (0..4)
            .map(|partition| PartitionId {
                topic: config.dead_letter_topic.as_str().into(),
                partition,
            })
            .collect();
        eventually(&format!("{count} dead letters"), async || {
            let mut letters = Vec::new();
            for partition in &partitions {
                // Reads up to the end of the log, whatever is asked for.
                let stretch = readers
                    .read(partition, 0, i64::MAX, 1_000, 1 << 20)
                    .await
                    .unwrap();
                letters.extend(stretch.records.into_iter().map(|record| {
                    let text = |(name, value): (String, Vec<u8>)| {
                        (name, String::from_utf8(value).unwrap())
                    };
                    record
                        .headers
                        .into_iter()
                        .map(text)
                        .collect::<HashMap<_, _>>()
                }));
            }
            (letters.len() >= count).then_some(letters)
        })
        .await
    }

    pub(crate) async fn counted(&self, plugin: &str, key: &str) -> i64 {
        let plugin = self.store.plugin(plugin).await.unwrap();
        let value = self.store.state_value(plugin, key).await.unwrap().value;
        value.map_or(0, |(bytes, _)| {
            String::from_utf8(bytes).unwrap().parse().unwrap()
        })
    }

    pub(crate) fn operations(&self) -> Operations {
        self.pipeline.operations()
    }

    /// Loads a guest as an operator would.
    pub(crate) async fn load(
        &self,
        guest: &str,
        run_as: RunAs,
    ) -> Result<LoadOutcome, OperationError> {
        let request = LoadRequest {
            run_as,
            ..request(guest)
        };
        self.operations().load(request, &somebody()).await
    }

    /// What was given up so far, as an operator sees it.
    pub(crate) async fn given_up(&self) -> Vec<DeadLetterView> {
        self.operations()
            .dead_letters(&DeadLetterQuery::default(), None, 100)
            .await
            .unwrap()
    }

    pub(crate) async fn quarantined(&self, plugin: &str) {
        eventually("the plugin to be quarantined", async || {
            (self.plugin(plugin).state == "quarantined").then_some(())
        })
        .await;
    }

    /// Waits until this many probes of a quarantined plugin have failed.
    pub(crate) async fn probes_failed(&self, plugin: &str, count: u32) {
        eventually(&format!("{count} probes to fail"), async || {
            let reason = self.plugin(plugin).reason?;
            let (_, probes) = reason.rsplit_once("; ")?;
            let probes = probes.strip_suffix(" probes failed since")?;
            (probes.parse::<u32>().unwrap() >= count).then_some(())
        })
        .await;
    }

    pub(crate) fn plugin(&self, name: &str) -> PluginSummary {
        let list = self.operations().list();
        list.into_iter().find(|plugin| plugin.name == name).unwrap()
    }
}

pub(crate) fn somebody() -> Operator {
    Operator {
        who: "somebody".to_owned(),
        from: None,
    }
}

pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/guests/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `bash plugins/build.sh --guests`",
            path.display()
        )
    })
}

pub(crate) fn request(name: &str) -> LoadRequest {
    LoadRequest {
        name: None,
        binary: guest(name),
        signature: None,
        origin: format!("{name}.wasm"),
        start: StartAt::Latest,
        run_as: RunAs::Active,
    }
}

async fn pipeline(
    cluster: &Cluster,
    store: &Store,
    guests: &[&str],
    settings: &[(&str, &str, &str)],
) -> Pipeline {
    let config = PipelineConfig {
        max_attempts: 4,
        retry_backoff_ms: 20,
        max_retry_backoff_ms: 50,
        probe_backoff_ms: 200,
        max_probe_backoff_ms: 500,
        ..PipelineConfig::default()
    };
    let mut plugins: HashMap<String, PluginConfig> = HashMap::new();
    for (plugin, key, value) in settings {
        plugins
            .entry((*plugin).to_owned())
            .or_default()
            .settings
            .insert((*key).to_owned(), (*value).to_owned());
    }
    let sandbox = Sandbox::new(
        SandboxConfig {
            max_instances: 50,
            ..SandboxConfig::default()
        },
        None,
    )
    .unwrap();
    // The embedded broker lets a group wait for the session of a member that has left; in a host
    // it ends with its only member.
    let consumer = ConsumerConfig {
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 1_000,
        ..ConsumerConfig::default()
    };
    let mut pipeline = Pipeline::new(PipelineParts {
        store: store.clone(),
        cluster: cluster.clone(),
        sandbox,
        consumer,
        config,
        plugins,
        trust: TrustConfig::default(),
        watch: None,
    })
    .unwrap();
    for guest in guests {
        let loaded = pipeline
            .operations()
            .load(request(guest), &somebody())
            .await;
        loaded.unwrap();
    }
    pipeline.start().await.unwrap();
    pipeline
}

pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: waited for {BOUND:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn event(id: &str, user: &str, data: Value) -> Vec<u8> {
    let draft = Draft::new(Kind::parse("booking.created").unwrap(), START_MS);
    draft
        .id(id)
        .user(user)
        .resource("room-1")
        .subject(format!("subject-{id}"))
        .data(data)
        .unwrap()
        .to_json()
}

pub(crate) fn events(ids: std::ops::Range<u32>) -> impl Iterator<Item = Vec<u8>> {
    ids.map(|number| event(&format!("e{number}"), "u", json!({})))
}

/// Events of one user, `e0` and so on, each with its number.
pub(crate) fn numbered(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Vec<u8>> {
    numbers.map(|number| event(&format!("e{number}"), "u", json!({ "number": number })))
}

pub(crate) fn field<'a>(entries: &'a [Value], name: &str) -> Vec<&'a str> {
    entries
        .iter()
        .map(|entry| entry[name].as_str().unwrap_or_default())
        .collect()
}

pub(crate) fn by<'a>(entries: &'a [Value], plugin: &str) -> Vec<&'a Value> {
    entries
        .iter()
        .filter(|entry| entry["plugin"] == plugin)
        .collect()
}

pub(crate) fn subjects(count: u32) -> Vec<String> {
    (0..count)
        .map(|number| format!("subject-e{number}"))
        .collect()
}
