//! The pipeline as a whole: plugins go in, partitions come and go, lanes run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_bus::{
    BusError, Cluster, Consumer, ConsumerConfig, ConsumerEvent, EMBEDDED_CLUSTER_PREFIX, Places,
    Producer, ProducerConfig, ReaderPool,
};
use carillon_events::Subscription;
use carillon_sandbox::Sandbox;
use carillon_store::{RunState, Store, StoreError, VersionId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::backoff::now_ms;
use crate::board::Board;
use crate::committer::Committer;
use crate::config::{PipelineConfig, PluginConfig, WatchConfig};
use crate::context::Context;
use crate::dead_letter_relay;
use crate::direct;
use crate::folder::Folder;
use crate::gate::{Gate, GateRules, REPORTS, Report};
use crate::handler::{Activity, Code, Counters, Handler, PluginShared, Role};
use crate::head::Head;
use crate::health::Health;
use crate::offsets::Offsets;
use crate::operations::{Operations, OperationsParts};
use crate::positions::StoredPositions;
use crate::stats::Stats;
use crate::table::PluginTable;
use crate::trust::{Trust, TrustConfig};
use crate::workers::Workers;

/// How long the brokers may take to answer at the start.
const BROKER_PATIENCE: Duration = Duration::from_secs(60);

/// How long leaving the group may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(20);

/// How often the ends of the partitions are asked for, and the gauges of the plugins set.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why the pipeline does not run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value of the configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// The folder of plugins cannot be used.
    #[error("the folder of plugins {folder} cannot be used: {error}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system has no thread to give.
    #[error("the threads that run plugins could not be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// What a pipeline is made of.
#[derive(Debug)]
pub struct PipelineParts {
    /// Where everything is kept.
    pub store: Store,
    /// Where the log lives.
    pub cluster: Cluster,
    /// Where plugins run.
    pub sandbox: Sandbox,
    /// `[notification_service.kafka]`.
    pub consumer: ConsumerConfig,
    /// `[pipeline]`.
    pub config: PipelineConfig,
    /// `[plugins.NAME]`, by name.
    pub plugins: HashMap<String, PluginConfig>,
    /// `[trust]`.
    pub trust: TrustConfig,
    /// The folder that plugins are dropped into, and how it is looked at.
    pub watch: Option<(PathBuf, WatchConfig)>,
}

/// Loads plugins, and runs their lanes.
pub struct Pipeline {
    store: Store,
    cluster: Cluster,
    consumer_config: ConsumerConfig,
    config: PipelineConfig,
    watch: Option<(PathBuf, WatchConfig)>,
    table: PluginTable,
    operations: Operations,
    board: Arc<Board>,
    places: Places,
    voided: Arc<Notify>,
    reports: Option<mpsc::Receiver<Report>>,
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
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// A pipeline that does not run yet.
    ///
    /// # Errors
    /// When a value of the configuration makes no sense.
    pub fn new(parts: PipelineParts) -> Result<Self, PipelineError> {
        let PipelineParts {
            store,
            cluster,
            sandbox,
            consumer,
            config,
            plugins,
            trust,
            watch,
        } = parts;
        let trust = Trust::new(&trust).map_err(PipelineError::Config)?;
        let table = PluginTable::default();
        let board = Arc::new(Board::default());
        let places = Places::new(&cluster, &consumer);
        let voided = Arc::new(Notify::new());
        let health = Arc::default();
        let (sender, reports) = mpsc::channel(REPORTS);
        let operations = Operations::new(OperationsParts {
            store: store.clone(),
            sandbox,
            table: table.clone(),
            config: config.clone(),
            configs: plugins,
            trust,
            board: Arc::clone(&board),
            places: places.clone(),
            readers: ReaderPool::new(&cluster, &consumer, 1),
            voided: Arc::clone(&voided),
            reports: sender,
            health: Arc::clone(&health),
            embedded: cluster.is_embedded(),
        });
        Ok(Self {
            store,
            cluster,
            consumer_config: consumer,
            config,
            watch,
            table,
            operations,
            board,
            places,
            voided,
            reports: Some(reports),
            running: None,
            health,
        })
    }

    /// What operators do and see.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.operations.clone()
    }

    /// Joins the consumer group and begins to work.
    ///
    /// # Errors
    /// When no broker answers, topics cannot be made, the store fails, or the folder of plugins
    /// cannot be used.
    pub async fn start(&mut self) -> Result<(), PipelineError> {
        self.load_direct().await?;
        self.operations.restore().await?;
        let folder = self.take_in_folder().await?;
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
            workers: Workers::start("plugin", self.config.workers, self.config.catch_up_share)?,
            http_workers: Workers::start(
                "http-plugin",
                self.config.http_workers.max(2),
                self.config.catch_up_share,
            )?,
            board: Arc::clone(&self.board),
            plugins: self.table.clone(),
            readers: ReaderPool::new(&self.cluster, &self.consumer_config, self.config.readers),
            offsets: Offsets::default(),
            again: consumer.again(),
            health: Arc::clone(&self.health),
            unknown_position: self.consumer_config.unknown_position,
            config: self.config.clone(),
        });
        self.operations
            .started(Arc::clone(&context), Arc::clone(&cluster_id));
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
        tasks.push(tokio::spawn(look(
            self.operations.clone(),
            Arc::clone(&self.board),
            self.places.clone(),
        )));
        if let Some(reports) = self.reports.take() {
            tasks.push(tokio::spawn(hear(self.operations.clone(), reports)));
        }
        tasks.extend(folder.map(|folder| tokio::spawn(folder.watch())));
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
        self.operations.stopped();
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

    /// What lies in the folder already is loaded before the first event is read.
    async fn take_in_folder(&self) -> Result<Option<Folder>, PipelineError> {
        let Some((path, config)) = &self.watch else {
            return Ok(None);
        };
        let mut folder =
            Folder::open(path, config.clone(), self.operations.clone()).map_err(|error| {
                PipelineError::Folder {
                    folder: path.clone(),
                    error,
                }
            })?;
        folder.take_in().await;
        if self.operations.list().is_empty() {
            tracing::warn!(
                "no plugin is loaded: events are handled, but nobody hears of them; drop .wasm files into {}, or use `carillon plugin load`",
                path.display()
            );
        }
        Ok(config.enabled.then_some(folder))
    }

    /// The lane that is built in for direct requests.
    async fn load_direct(&self) -> Result<(), StoreError> {
        let id = self.store.builtin_plugin(direct::NAME).await?;
        let subscription =
            Subscription::parse(direct::KIND).map_err(|error| StoreError::Unreadable {
                what: "subscription",
                detail: error.to_string(),
            })?;
        // It never faults, so nobody hears its reports.
        let (reports, _) = mpsc::channel(1);
        let never = GateRules {
            quarantine_after: u32::MAX,
            probe_backoff: Duration::from_secs(1),
            max_probe_backoff: Duration::from_secs(1),
        };
        self.table.put(vec![Handler {
            id,
            name: direct::NAME.into(),
            version: VersionId(0),
            label: env!("CARGO_PKG_VERSION").into(),
            subscriptions: vec![subscription],
            code: Code::DirectRequests,
            state: None,
            role: Role::Active,
            not_before_ms: 0,
            plugin: Arc::new(PluginShared {
                gate: Gate::new(id, direct::NAME, RunState::Active, never, reports),
                stats: Arc::new(Stats::default()),
                counters: Counters::new(direct::NAME),
                book: Arc::default(),
            }),
            activity: Activity::default(),
        }]);
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

/// Looks from time to time at where the partitions end, and sets the gauges.
async fn look(operations: Operations, board: Arc<Board>, places: Places) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let partitions: Vec<_> = board.look().into_iter().map(|(id, _)| id).collect();
        match places.ends(&partitions).await {
            Ok(ends) => {
                for (partition, end) in ends {
                    board.end(&partition, end);
                }
            }
            Err(error) => tracing::debug!(%error, "the ends of partitions are not known"),
        }
        operations.measure();
    }
}

/// Lets take effect what gates and trials report.
async fn hear(operations: Operations, mut reports: mpsc::Receiver<Report>) {
    while let Some(report) = reports.recv().await {
        operations.hear(report).await;
    }
}
