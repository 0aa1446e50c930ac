//! The pipeline as a whole: plugins go in, partitions come and go, lanes run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_bus::{
    BusError, Cluster, Consumer, ConsumerConfig, ConsumerEvent, EMBEDDED_CLUSTER_PREFIX, Producer,
    ProducerConfig, ReaderPool,
};
use carillon_events::Subscription;
use carillon_sandbox::{Refusal, Sandbox};
use carillon_store::{Store, StoreError, VersionId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::backoff::now_ms;
use crate::committer::Committer;
use crate::config::{PipelineConfig, PluginConfig};
use crate::context::Context;
use crate::dead_letter_relay;
use crate::direct;
use crate::head::Head;
use crate::health::Health;
use crate::offsets::Offsets;
use crate::plugins::{Code, Counters, Handler, PluginStatus, PluginTable};
use crate::positions::StoredPositions;
use crate::state_space::StateSpace;
use crate::workers::Workers;

/// How long the brokers may take to answer at the start.
const BROKER_PATIENCE: Duration = Duration::from_secs(60);

/// How long leaving the group may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(20);

/// Why the pipeline does not run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugin is refused.
    #[error("{origin}: {refusal}")]
    Refused {
        /// Where the binary comes from.
        origin: String,
        /// Why.
        refusal: Refusal,
    },
    /// Two binaries have one name.
    #[error(
        "{origin}: a plugin named {name} is loaded already, from {other}; remove one of the two"
    )]
    NameTaken {
        /// Where the binary comes from.
        origin: String,
        /// The name.
        name: String,
        /// Where the first one came from.
        other: String,
    },
    /// The system has no thread to give.
    #[error("the threads that run plugins could not be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// Loads plugins, then runs their lanes.
pub struct Pipeline {
    store: Store,
    cluster: Cluster,
    sandbox: Sandbox,
    consumer_config: ConsumerConfig,
    config: PipelineConfig,
    plugin_configs: HashMap<String, PluginConfig>,
    plugins: PluginTable,
    origins: HashMap<String, String>,
    voided: Arc<Notify>,
    running: Option<Running>,
    health: Arc<Health>,
}

struct Running {
    consumer: Arc<Mutex<Consumer>>,
    tasks: Vec<JoinHandle<()>>,
    heads: JoinHandle<()>,
    offsets: Offsets,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("plugins", &self.plugins)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// A pipeline without plugins, that does not run yet.
    #[must_use]
    pub fn new(
        store: Store,
        cluster: Cluster,
        sandbox: Sandbox,
        consumer_config: ConsumerConfig,
        config: PipelineConfig,
        plugin_configs: HashMap<String, PluginConfig>,
    ) -> Self {
        Self {
            store,
            cluster,
            sandbox,
            consumer_config,
            config,
            plugin_configs,
            plugins: PluginTable::default(),
            origins: HashMap::new(),
            voided: Arc::new(Notify::new()),
            running: None,
            health: Arc::default(),
        }
    }

    /// Loads a binary that comes from `origin`.
    ///
    /// # Errors
    /// When it is refused, or the store cannot register it.
    pub async fn load(
        &mut self,
        bytes: &[u8],
        origin: &str,
    ) -> Result<PluginStatus, PipelineError> {
        let configs = &self.plugin_configs;
        let plugin = self
            .sandbox
            .load(bytes, |name| {
                let config = configs.get(name).cloned().unwrap_or_default();
                (config.limits, config.settings)
            })
            .map_err(|refusal| PipelineError::Refused {
                origin: origin.to_owned(),
                refusal,
            })?;
        let name = plugin.name().to_string();
        if let Some(other) = self.origins.get(&name) {
            return Err(PipelineError::NameTaken {
                origin: origin.to_owned(),
                name,
                other: other.clone(),
            });
        }
        let id = self.store.plugin(&name).await?;
        let description = plugin.description();
        let version = self
            .store
            .plugin_version(id, &description.version, plugin.sha256(), now_ms())
            .await?;
        let state = plugin.imports_state().then(|| {
            Arc::new(StateSpace::new(
                id,
                self.store.clone(),
                Handle::current(),
                self.config.state_cache_bytes,
                Arc::clone(&self.voided),
            ))
        });
        self.plugins.insert(Handler {
            id,
            name: Arc::clone(plugin.name()),
            version,
            subscriptions: description.subscriptions.clone(),
            code: Code::Sandboxed(plugin.clone()),
            state,
            counters: Counters::new(&name),
        });
        self.origins.insert(name.clone(), origin.to_owned());
        let status = self
            .plugins
            .list()
            .into_iter()
            .find(|status| status.name == name);
        // It was inserted above.
        status.ok_or_else(|| {
            StoreError::Unreadable {
                what: "plugin",
                detail: name,
            }
            .into()
        })
    }

    /// What is loaded.
    #[must_use]
    pub fn plugins(&self) -> PluginTable {
        self.plugins.clone()
    }

    /// Joins the consumer group and begins to work.
    ///
    /// # Errors
    /// When no broker answers, topics cannot be made, or the store fails.
    pub async fn start(&mut self) -> Result<(), PipelineError> {
        self.load_direct().await?;
        let topics = self.topics();
        let named: Vec<String> = topics
            .iter()
            .filter(|topic| !topic.starts_with('^'))
            .cloned()
            .collect();
        let mut to_ensure = named;
        to_ensure.push(self.consumer_config.dead_letter_topic.clone());
        self.cluster
            .ensure_topics(&self.consumer_config, &to_ensure)
            .await?;
        let cluster_id: Arc<str> = {
            let (cluster, config) = (self.cluster.clone(), self.consumer_config.clone());
            let id =
                tokio::task::spawn_blocking(move || cluster.id(&config, BROKER_PATIENCE)).await;
            id.unwrap_or_else(|error| {
                Err(BusError::Config {
                    section: "notification_service.kafka",
                    reason: error.to_string(),
                })
            })?
            .into()
        };
        if self.cluster.is_embedded() {
            self.store
                .forget_ended_logs(EMBEDDED_CLUSTER_PREFIX, &cluster_id)
                .await?;
        }
        let positions = Arc::new(StoredPositions {
            store: self.store.clone(),
            runtime: Handle::current(),
            cluster: Arc::clone(&cluster_id),
            embedded: self.cluster.is_embedded(),
            reset: self.consumer_config.auto_offset_reset,
            unknown: self.consumer_config.unknown_position,
        });
        let (consumer, events) =
            Consumer::join(&self.cluster, &self.consumer_config, &topics, positions)?;
        let context = Arc::new(Context {
            store: self.store.clone(),
            committer: Committer::start(
                self.store.clone(),
                self.config.group_shares,
                Arc::clone(&self.voided),
            ),
            workers: Workers::start(self.config.workers)?,
            plugins: self.plugins.clone(),
            readers: ReaderPool::new(&self.cluster, &self.consumer_config, self.config.readers),
            offsets: Offsets::default(),
            again: consumer.again(),
            health: Arc::clone(&self.health),
            unknown_position: self.consumer_config.unknown_position,
            config: self.config.clone(),
        });
        let consumer = Arc::new(Mutex::new(consumer));
        let heads = tokio::spawn(take_partitions(
            Arc::clone(&context),
            cluster_id,
            events,
            Arc::clone(&self.health),
        ));
        let mut tasks = vec![tokio::spawn(dead_letter_relay::run(
            self.store.clone(),
            self.dead_letter_producer()?,
            self.consumer_config.dead_letter_topic.as_str().into(),
        ))];
        if self.consumer_config.enable_auto_commit {
            let interval = Duration::from_millis(u64::from(
                self.consumer_config.auto_commit_interval_ms.max(10),
            ));
            tasks.push(tokio::spawn(commit_offsets(
                context.offsets.clone(),
                Arc::clone(&consumer),
                interval,
            )));
        }
        self.health.started();
        self.running = Some(Running {
            consumer,
            tasks,
            heads,
            offsets: context.offsets.clone(),
        });
        Ok(())
    }

    /// Whether events are being handled; otherwise why not.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn ready(&self) -> Result<(), String> {
        self.readiness()()
    }

    /// [`Self::ready`] for those who cannot hold the pipeline.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let health = Arc::clone(&self.health);
        move || health.ready()
    }

    /// Leaves the group: what runs is finished and committed, within a bound.
    pub async fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        for task in &running.tasks {
            task.abort();
        }
        let consumer = Arc::clone(&running.consumer);
        let offsets = running.offsets.clone();
        let left = tokio::task::spawn_blocking(move || {
            let mut consumer = consumer.lock().unwrap_or_else(PoisonError::into_inner);
            consumer.commit(&offsets.take());
            consumer.leave();
        });
        match tokio::time::timeout(LEAVE_PATIENCE, left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leaving the consumer group failed"),
            Err(_) => tracing::warn!(
                "leaving the consumer group takes too long; the group will notice by itself"
            ),
        }
        if tokio::time::timeout(Duration::from_secs(5), running.heads)
            .await
            .is_err()
        {
            tracing::warn!(
                "some partitions did not end in time; the store knows how far they came"
            );
        }
    }

    fn topics(&self) -> Vec<String> {
        let mut topics = self.consumer_config.topics.all();
        topics.extend(self.consumer_config.extra_topics.iter().cloned());
        topics
    }

    /// The lane that is built in for direct requests.
    async fn load_direct(&self) -> Result<(), StoreError> {
        let id = self.store.plugin(direct::NAME).await?;
        let subscription =
            Subscription::parse(direct::KIND).map_err(|error| StoreError::Unreadable {
                what: "subscription",
                detail: error.to_string(),
            })?;
        self.plugins.insert(Handler {
            id,
            name: direct::NAME.into(),
            version: VersionId(0),
            subscriptions: vec![subscription],
            code: Code::DirectRequests,
            state: None,
            counters: Counters::new(direct::NAME),
        });
        Ok(())
    }

    fn dead_letter_producer(&self) -> Result<Producer, BusError> {
        let config = ProducerConfig {
            client_id: format!("{}.dead-letters", self.consumer_config.client_id),
            properties: self.consumer_config.properties.clone(),
            ..ProducerConfig::default()
        };
        Producer::new(&self.cluster, &config)
    }
}

async fn take_partitions(
    context: Arc<Context>,
    cluster_id: Arc<str>,
    mut events: mpsc::UnboundedReceiver<ConsumerEvent>,
    health: Arc<Health>,
) {
    let mut heads = JoinSet::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                None => break,
                Some(ConsumerEvent::Assigned(assigned)) => {
                    let context = Arc::clone(&context);
                    let cluster_id = Arc::clone(&cluster_id);
                    health.assigned();
                    let id = assigned.partition.id().clone();
                    health.forget(std::slice::from_ref(&id));
                    heads.spawn(async move {
                        match context.store.log(&cluster_id, &id.topic, now_ms()).await {
                            Ok(log) => Head::new(context, log, *assigned).run().await,
                            Err(error) => {
                                tracing::warn!(partition = %id, %error, "a partition could not be taken up yet");
                                context.again.take_up();
                            }
                        }
                    });
                }
                Some(ConsumerEvent::Stopped(id, reason)) => {
                    health.assigned();
                    health.stopped(&id, None, reason);
                }
                Some(ConsumerEvent::Revoked(ids)) => health.forget(&ids),
                Some(ConsumerEvent::Failed(reason)) => {
                    health.failed(reason);
                }
            },
            Some(ended) = heads.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a partition has failed; it is taken up again");
                    context.again.take_up();
                }
            }
        }
    }
    while heads.join_next().await.is_some() {}
}

async fn commit_offsets(offsets: Offsets, consumer: Arc<Mutex<Consumer>>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        let stored = offsets.take();
        if !stored.is_empty() {
            consumer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .commit(&stored);
        }
    }
}
