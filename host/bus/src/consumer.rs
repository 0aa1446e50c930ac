//! The group consumer: joins the group, hands partitions out and takes them back.
//!
//! One thread polls librdkafka. Within its rebalance callback it asks [`Positions`] where
//! each new partition starts, and on a revocation it waits, for a bounded time, until the
//! work on the partitions is drained. Work that has not drained by then is fenced by the
//! store's compare-and-set.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::config::ConsumerConfig;
use crate::error::BusError;
use crate::partition::Partition;
use crate::record::LogRecord;

/// How long a revocation waits for work on its partitions. Well below the five minutes of
/// `max.poll.interval.ms` after which the group would expel this host.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
/// A queue that stays silent for this long is empty.
const SILENCE: Duration = Duration::from_millis(5);

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What a partition holds: from `low` up to but not including `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset.
    pub low: i64,
    /// The offset after the last.
    pub high: i64,
}

/// Where a partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(i64),
    /// Nowhere: it waits for the operator, for this reason.
    Stopped(String),
}

/// Knows where partitions start. Called on the consumer's own thread; may block.
pub trait Positions: Send + Sync + 'static {
    /// Where `partition`, which holds `watermarks`, starts.
    ///
    /// # Errors
    /// In words, when it cannot be said at the moment; it is asked again.
    fn start(&self, partition: &PartitionId, watermarks: Watermarks) -> Result<Start, String>;
}

/// A partition that was given to this host.
#[derive(Debug)]
pub struct Assigned {
    /// Its records.
    pub partition: Partition,
    /// What it held when it was assigned.
    pub watermarks: Watermarks,
    /// Turns true when the partition is taken away: finish what is running, then drop this.
    pub revoked: watch::Receiver<bool>,
    /// Dropped when work on the partition has ended; a revocation waits for it.
    pub working: Working,
}

/// Proof of work on a partition, see [`Assigned::working`].
#[derive(Debug)]
pub struct Working(#[allow(dead_code)] Arc<()>);

/// What the consumer tells.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A partition was given to this host.
    Assigned(Box<Assigned>),
    /// A partition waits for the operator.
    Stopped(PartitionId, String),
}

/// The group consumer. Dropping it leaves the group.
pub struct Consumer {
    client: Arc<BaseConsumer<GroupContext>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// Joins the group for `topics` (names, or patterns that begin with `^`).
    ///
    /// # Errors
    /// When a setting is refused or no broker answers.
    pub fn join(
        cluster: &Cluster,
        config: &ConsumerConfig,
        topics: &[String],
        positions: Arc<dyn Positions>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ConsumerEvent>), BusError> {
        let partitions = cluster.partitions(config, topics)?;
        let context = GroupContext { positions, state: Mutex::default() };
        let client: BaseConsumer<GroupContext> =
            config.client(cluster.bootstrap_servers(), cluster.is_embedded(), partitions)?.create_with_context(context)?;
        if let Some(unread) = cluster.unread() {
            unread.track(topics);
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&names)?;
        let client = Arc::new(client);
        let stop = Arc::new(AtomicBool::new(false));
        // Bounded by the number of partitions: one event an assignment.
        let (events, receiver) = mpsc::unbounded_channel();
        let poller = Poller {
            client: Arc::clone(&client),
            cluster: cluster.clone(),
            events,
            early: HashMap::new(),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("kafka-consumer".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| BusError::Config {
                section: "notification_service.kafka",
                reason: format!("the consumer's thread could not be started: {error}"),
            })?;
        Ok((Self { client, stop, thread: Some(thread) }, receiver))
    }

    /// Commits offsets to Kafka, for those who watch lag. Failures are logged: the store's
    /// cursors are the truth.
    pub fn commit(&self, positions: &[(PartitionId, i64)]) {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (id, next) in positions {
            if let Err(error) = list.add_partition_offset(&id.topic, id.partition, Offset::Offset(*next)) {
                tracing::warn!(partition = %id, %error, "an offset cannot be committed to Kafka");
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.client.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets were not committed to Kafka");
        }
    }

    /// Leaves the group: partitions are revoked and drained first. Blocks.
    pub fn leave(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What librdkafka calls back into.
pub(crate) struct GroupContext {
    positions: Arc<dyn Positions>,
    state: Mutex<GroupState>,
}

#[derive(Default)]
struct GroupState {
    /// Assigned within the callback, not yet handed out.
    fresh: Vec<(PartitionId, i64, Watermarks)>,
    stopped: Vec<(PartitionId, String)>,
    working: HashMap<PartitionId, (watch::Sender<bool>, std::sync::Weak<()>)>,
}

impl GroupContext {
    fn state(&self) -> std::sync::MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, client: &BaseConsumer<Self>, offered: &TopicPartitionList) {
        let mut list = TopicPartitionList::new();
        for element in offered.elements() {
            let id = PartitionId { topic: element.topic().into(), partition: element.partition() };
            let (start, watermarks) = self.start(client, &id);
            match start {
                Start::At(offset) => {
                    if let Err(error) = list.add_partition_offset(&id.topic, id.partition, Offset::Offset(offset)) {
                        self.state().stopped.push((id, error.to_string()));
                        continue;
                    }
                    self.state().fresh.push((id, offset, watermarks));
                }
                Start::Stopped(reason) => self.state().stopped.push((id, reason)),
            }
        }
        if let Err(error) = client.assign(&list) {
            tracing::error!(%error, "librdkafka refused an assignment");
        }
    }

    /// Asks until there is an answer: reading from a wrong place would lose events, and
    /// giving the partition back would only hand the trouble to another host.
    fn start(&self, client: &BaseConsumer<Self>, id: &PartitionId) -> (Start, Watermarks) {
        let mut pause = Duration::from_millis(100);
        let began = Instant::now();
        loop {
            let answer = client
                .fetch_watermarks(&id.topic, id.partition, Duration::from_secs(10))
                .map_err(|error| error.to_string())
                .map(|(low, high)| Watermarks { low, high })
                .and_then(|watermarks| Ok((self.positions.start(id, watermarks)?, watermarks)));
            match answer {
                Ok(answer) => return answer,
                Err(reason) if began.elapsed() > Duration::from_secs(120) => {
                    let nowhere = Watermarks { low: 0, high: 0 };
                    return (Start::Stopped(format!("its start could not be found: {reason}")), nowhere);
                }
                Err(reason) => {
                    tracing::warn!(partition = %id, reason, "the start of a partition cannot be found yet");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    fn revoke(&self, revoked: &TopicPartitionList) {
        let ids: HashSet<PartitionId> = revoked
            .elements()
            .iter()
            .map(|element| PartitionId { topic: element.topic().into(), partition: element.partition() })
            .collect();
        let waiting: Vec<_> = {
            let mut state = self.state();
            state.fresh.retain(|(id, ..)| !ids.contains(id));
            state.stopped.retain(|(id, _)| !ids.contains(id));
            ids.iter().filter_map(|id| state.working.remove(id).map(|work| (id.clone(), work))).collect()
        };
        for (_, (revoked, _)) in &waiting {
            revoked.send_replace(true);
        }
        let deadline = Instant::now() + DRAIN_PATIENCE;
        for (id, (_, working)) in &waiting {
            while working.strong_count() > 0 {
                if Instant::now() > deadline {
                    tracing::warn!(partition = %id, "work on a revoked partition has not drained; the store fences it");
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        tracing::info!(partitions = ids.len(), "partitions were taken back by the group");
    }
}

impl ClientContext for GroupContext {
    fn error(&self, error: KafkaError, reason: &str) {
        metrics::counter!("carillon_kafka_errors_total", "client" => "consumer").increment(1);
        tracing::warn!(%error, reason, "Kafka consumer");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, client: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(client, list),
            other => {
                if other != RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS {
                    tracing::warn!(error = %RDKafkaErrorCode::from(other), "rebalance");
                }
                self.revoke(list);
                if let Err(error) = client.unassign() {
                    tracing::warn!(%error, "librdkafka refused to give partitions back");
                }
            }
        }
    }
}

struct Poller {
    client: Arc<BaseConsumer<GroupContext>>,
    cluster: Cluster,
    events: mpsc::UnboundedSender<ConsumerEvent>,
    /// Records that came before their partition had a queue of its own.
    early: HashMap<PartitionId, VecDeque<LogRecord>>,
    stop: Arc<AtomicBool>,
}

impl Poller {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.poll_once(POLL);
            self.hand_out();
        }
        self.client.unsubscribe();
        // The revocation comes through the callback.
        let deadline = Instant::now() + DRAIN_PATIENCE + Duration::from_secs(5);
        while !self.client.context().state().working.is_empty() && Instant::now() < deadline {
            self.poll_once(POLL);
        }
    }

    /// Answers whether a record came.
    fn poll_once(&mut self, patience: Duration) -> bool {
        match self.client.poll(patience) {
            None => false,
            Some(Ok(message)) => {
                let id = PartitionId { topic: message.topic().into(), partition: message.partition() };
                self.early.entry(id).or_default().push_back(LogRecord::from_message(&message));
                true
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                tracing::error!(error = %code, "the Kafka consumer has failed for good");
                true
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "reading from Kafka");
                true
            }
        }
    }

    /// Gives each new partition a queue of its own and hands it out.
    fn hand_out(&mut self) {
        let (fresh, stopped) = {
            let mut state = self.client.context().state();
            (std::mem::take(&mut state.fresh), std::mem::take(&mut state.stopped))
        };
        for (id, reason) in stopped {
            tracing::error!(partition = %id, reason, "a partition is stopped and waits for the operator");
            let _ = self.events.send(ConsumerEvent::Stopped(id, reason));
        }
        if fresh.is_empty() {
            return;
        }
        tracing::info!(partitions = fresh.len(), "partitions were given to this host by the group");
        let split: Vec<_> = fresh
            .into_iter()
            .map(|(id, next, watermarks)| {
                let queue = self.client.split_partition_queue(&id.topic, id.partition);
                (id, next, watermarks, queue)
            })
            .collect();
        // From here on nothing new comes by the common queue; what still stands in it comes
        // before everything in the partitions' own.
        while self.poll_once(SILENCE) {}
        for (id, next, watermarks, queue) in split {
            let early = self.early.remove(&id).unwrap_or_default();
            let Some(queue) = queue else {
                let _ = self.events.send(ConsumerEvent::Stopped(id, "librdkafka gave it no queue".to_owned()));
                continue;
            };
            let (revoke, revoked) = watch::channel(false);
            let token = Arc::new(());
            self.client.context().state().working.insert(id.clone(), (revoke, Arc::downgrade(&token)));
            let partition = Partition::new(id, next, early, queue, self.cluster.clone());
            let assigned = Assigned { partition, watermarks, revoked, working: Working(token) };
            if self.events.send(ConsumerEvent::Assigned(Box::new(assigned))).is_err() {
                self.stop.store(true, Ordering::Release);
            }
        }
        self.early.clear();
    }
}
