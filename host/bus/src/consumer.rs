//! The group consumer: joins the group, hands partitions out and takes them back.
//!
//! One thread polls librdkafka. When the group gives partitions to this host, it asks
//! [`Positions`] where they start, gives each a queue of its own, and only then lets
//! librdkafka fetch. On a revocation it waits, for a bounded time, until the work on the
//! partitions is drained. Work that has not drained by then is fenced by the store's
//! compare-and-set.

use std::collections::{HashMap, HashSet};
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

/// How long a revocation waits for work on its partitions. Well below the five minutes of
/// `max.poll.interval.ms` after which the group would expel this host.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
/// How long until a start that could not be found is asked for again, and until partitions
/// are taken up again after trouble.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// Where these partitions, with what they hold, start; one answer each, in order.
    ///
    /// # Errors
    /// In words, when it cannot be said at the moment; it is asked again.
    fn starts(&self, partitions: &[(PartitionId, Watermarks)]) -> Result<Vec<Start>, String>;
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
    /// These partitions are no longer this host's.
    Revoked(Vec<PartitionId>),
    /// The client has failed for good; only a restart helps.
    Failed(String),
}

/// The group consumer. Dropping it leaves the group.
pub struct Consumer {
    /// Gone once the group was left: closing the client is what tells the group.
    client: Option<Arc<BaseConsumer<GroupContext>>>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the polling thread is told.
#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    take_up_again: AtomicBool,
}

/// Asks for the partitions to be taken up again, see [`Consumer::again`].
#[derive(Clone)]
pub struct Again(Arc<Orders>);

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").finish_non_exhaustive()
    }
}

impl Again {
    /// All partitions of this host are drained and taken up again from their stored positions,
    /// after a pause.
    pub fn take_up(&self) {
        self.0.take_up_again.store(true, Ordering::Release);
    }
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
        // Bounded by the number of partitions: a few events an assignment.
        let (events, receiver) = mpsc::unbounded_channel();
        let context = GroupContext {
            state: Mutex::default(),
            events: events.clone(),
        };
        let client: BaseConsumer<GroupContext> = config
            .client(
                cluster.bootstrap_servers(),
                cluster.is_embedded(),
                partitions,
            )?
            .create_with_context(context)?;
        if let Some(unread) = cluster.unread() {
            unread.track(topics);
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&names)?;
        let client = Arc::new(client);
        let orders = Arc::new(Orders::default());
        let poller = Poller {
            client: Arc::clone(&client),
            cluster: cluster.clone(),
            positions,
            events,
            orders: Arc::clone(&orders),
            not_before: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("kafka-consumer".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| BusError::Config {
                section: "notification_service.kafka",
                reason: format!("the consumer's thread could not be started: {error}"),
            })?;
        Ok((
            Self {
                client: Some(client),
                orders,
                thread: Some(thread),
            },
            receiver,
        ))
    }

    /// Commits offsets to Kafka, for those who watch lag. Failures are logged: the store's
    /// cursors are the truth.
    pub fn commit(&self, positions: &[(PartitionId, i64)]) {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (id, next) in positions {
            if let Err(error) =
                list.add_partition_offset(&id.topic, id.partition, Offset::Offset(*next))
            {
                tracing::warn!(partition = %id, %error, "an offset cannot be committed to Kafka");
            }
        }
        if list.count() == 0 {
            return;
        }
        let Some(client) = &self.client else { return };
        if let Err(error) = client.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets were not committed to Kafka");
        }
    }

    /// For those who find that a partition cannot go on as it was taken up.
    #[must_use]
    pub fn again(&self) -> Again {
        Again(Arc::clone(&self.orders))
    }

    /// Leaves the group: partitions are revoked and drained first. Blocks.
    pub fn leave(&mut self) {
        self.orders.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
        self.client = None;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What librdkafka calls back into.
pub(crate) struct GroupContext {
    state: Mutex<GroupState>,
    events: mpsc::UnboundedSender<ConsumerEvent>,
}

#[derive(Default)]
struct GroupState {
    /// What the group has given to this host and is not taken up yet.
    given: Option<Vec<PartitionId>>,
    /// What was taken up, whether it is read or stopped.
    owned: Vec<PartitionId>,
    working: HashMap<PartitionId, (watch::Sender<bool>, std::sync::Weak<()>)>,
}

impl GroupContext {
    fn state(&self) -> std::sync::MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the work on these partitions to end and waits until it has.
    fn drain(&self, ids: &HashSet<PartitionId>) {
        let waiting: Vec<_> = {
            let mut state = self.state();
            state.owned.retain(|id| !ids.contains(id));
            ids.iter()
                .filter_map(|id| state.working.remove(id).map(|work| (id.clone(), work)))
                .collect()
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
        // Nobody listens while the process ends.
        let _ = self
            .events
            .send(ConsumerEvent::Revoked(ids.iter().cloned().collect()));
    }
}

fn ids(list: &TopicPartitionList) -> Vec<PartitionId> {
    let elements = list.elements();
    elements
        .iter()
        .map(|element| PartitionId {
            topic: element.topic().into(),
            partition: element.partition(),
        })
        .collect()
}

impl ClientContext for GroupContext {
    fn error(&self, error: KafkaError, reason: &str) {
        metrics::counter!("carillon_kafka_errors_total", "client" => "consumer").increment(1);
        tracing::warn!(%error, reason, "Kafka consumer");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Taken up by the polling thread: it may have to ask several times where to start,
            // and must go on polling meanwhile.
            self.state().given = Some(ids(list));
            return;
        }
        if event != RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS {
            tracing::warn!(error = %RDKafkaErrorCode::from(event), "rebalance");
        }
        self.state().given = None;
        let revoked: HashSet<PartitionId> = ids(list).into_iter().collect();
        self.drain(&revoked);
        tracing::info!(
            partitions = revoked.len(),
            "partitions were taken back by the group"
        );
        if let Err(error) = client.unassign() {
            tracing::warn!(%error, "librdkafka refused to give partitions back");
        }
    }
}

/// A partition and what it holds.
type Held = (PartitionId, Watermarks);

struct Poller {
    client: Arc<BaseConsumer<GroupContext>>,
    cluster: Cluster,
    positions: Arc<dyn Positions>,
    events: mpsc::UnboundedSender<ConsumerEvent>,
    orders: Arc<Orders>,
    /// Nothing is taken up before this time.
    not_before: Instant,
}

impl Poller {
    fn run(mut self) {
        while !self.orders.stop.load(Ordering::Acquire) {
            self.poll();
            if self.orders.take_up_again.swap(false, Ordering::AcqRel) {
                self.give_up_all();
            }
            self.take_up();
        }
        self.client.unsubscribe();
        // The revocation comes through the callback.
        let deadline = Instant::now() + DRAIN_PATIENCE + Duration::from_secs(5);
        while !self.client.context().state().owned.is_empty() && Instant::now() < deadline {
            self.poll();
        }
    }

    fn poll(&self) {
        match self.client.poll(POLL) {
            None => {}
            // Each partition has a queue of its own before anything is fetched for it, so this
            // does not happen; if it does, the record must not be missing.
            Some(Ok(message)) => {
                tracing::error!(
                    topic = message.topic(),
                    partition = message.partition(),
                    offset = message.offset(),
                    "a record came by the common queue; its partition is taken up again"
                );
                self.orders.take_up_again.store(true, Ordering::Release);
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                let reason =
                    format!("the Kafka consumer has failed for good ({code}); restart the host");
                tracing::error!(reason);
                let _ = self.events.send(ConsumerEvent::Failed(reason));
            }
            Some(Err(error)) => tracing::warn!(%error, "reading from Kafka"),
        }
    }

    /// As if the group had taken all partitions away and given them back.
    fn give_up_all(&mut self) {
        let owned = self.client.context().state().owned.clone();
        if owned.is_empty() {
            return;
        }
        tracing::warn!(
            partitions = owned.len(),
            "partitions are taken up again from their stored positions"
        );
        self.client
            .context()
            .drain(&owned.iter().cloned().collect());
        if let Err(error) = self.client.unassign() {
            tracing::warn!(%error, "librdkafka refused to give partitions back");
        }
        let mut state = self.client.context().state();
        if state.given.is_none() {
            state.given = Some(owned);
        }
        self.not_before = Instant::now() + PAUSE;
    }

    /// Takes up what the group has given, once it is known where to start.
    fn take_up(&mut self) {
        let Some(given) = self.client.context().state().given.clone() else {
            return;
        };
        if Instant::now() < self.not_before {
            return;
        }
        let starts = match self.starts(&given) {
            Ok(starts) => starts,
            Err(reason) => {
                tracing::warn!(reason, "it is not known yet where partitions start");
                self.not_before = Instant::now() + PAUSE;
                return;
            }
        };
        let mut list = TopicPartitionList::new();
        let mut stopped = Vec::new();
        let mut ready = Vec::new();
        for ((id, watermarks), start) in starts {
            match start {
                Start::Stopped(reason) => stopped.push((id, reason)),
                Start::At(offset) => {
                    let added =
                        list.add_partition_offset(&id.topic, id.partition, Offset::Offset(offset));
                    // Taken before anything is fetched: no record can go astray.
                    let queue = self.client.split_partition_queue(&id.topic, id.partition);
                    match (added, queue) {
                        (Ok(()), Some(queue)) => ready.push((id, offset, watermarks, queue)),
                        (added, _) => {
                            stopped.push((id, format!("librdkafka gave it no queue ({added:?})")))
                        }
                    }
                }
            }
        }
        if let Err(error) = self.client.assign(&list) {
            tracing::error!(%error, "librdkafka refused an assignment; it is tried again");
            self.not_before = Instant::now() + PAUSE;
            return;
        }
        {
            let mut state = self.client.context().state();
            state.given = None;
            state.owned = given;
        }
        tracing::info!(
            partitions = ready.len(),
            "partitions were given to this host by the group"
        );
        for (id, reason) in stopped {
            tracing::error!(partition = %id, reason, "a partition is stopped and waits for the operator");
            let _ = self.events.send(ConsumerEvent::Stopped(id, reason));
        }
        for (id, next, watermarks, queue) in ready {
            if let Some(unread) = self.cluster.unread() {
                unread.track(&[id.topic.to_string()]);
            }
            let (revoke, revoked) = watch::channel(false);
            let token = Arc::new(());
            self.client
                .context()
                .state()
                .working
                .insert(id.clone(), (revoke, Arc::downgrade(&token)));
            let partition = Partition::new(id, next, queue, self.cluster.clone());
            let assigned = Assigned {
                partition,
                watermarks,
                revoked,
                working: Working(token),
            };
            // Nobody listens while the process ends.
            let _ = self
                .events
                .send(ConsumerEvent::Assigned(Box::new(assigned)));
        }
    }

    fn starts(&self, given: &[PartitionId]) -> Result<Vec<(Held, Start)>, String> {
        let mut held = Vec::with_capacity(given.len());
        for id in given {
            let (low, high) = self
                .client
                .fetch_watermarks(&id.topic, id.partition, Duration::from_secs(5))
                .map_err(|error| format!("{id}: {error}"))?;
            held.push((id.clone(), Watermarks { low, high }));
        }
        let starts = self.positions.starts(&held)?;
        Ok(held.into_iter().zip(starts).collect())
    }
}
