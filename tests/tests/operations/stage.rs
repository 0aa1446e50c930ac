//! Where a test takes place: one broker for all, and a topic of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::ensure;
use carillon_tests::child::wait_until;
use carillon_tests::events::Numbered;
use carillon_tests::host::{Host, Setup};
use carillon_tests::kafka::{Kafka, Record};
use carillon_tests::pace::Flow;
use carillon_tests::store::{Contents, progress};
use tokio::sync::OnceCell;

/// Longer than any test needs to come to its end: a stuck host fails it.
const BOUND: Duration = Duration::from_secs(180);

static KAFKA: OnceCell<Kafka> = OnceCell::const_new();

/// The size of something: in the short form, or in the long one.
pub(crate) fn size(short: u32, long: u32) -> u32 {
    match std::env::var("OPERATIONS").as_deref() {
        Ok("long") => long,
        _ => short,
    }
}

/// A topic, and who speaks there.
pub(crate) struct Stage {
    pub(crate) kafka: &'static Kafka,
    pub(crate) events: Numbered,
}

impl Stage {
    /// 40 bookings of 8 users, on a topic of this name.
    pub(crate) async fn new(name: &str, partitions: i32) -> Self {
        Self::with(name, partitions, 40, 8).await
    }

    pub(crate) async fn with(name: &str, partitions: i32, keys: u32, users: u32) -> Self {
        let kafka = KAFKA
            .get_or_init(async || Kafka::start().await.unwrap())
            .await;
        kafka.create_topic(name, partitions).await.unwrap();
        Self {
            kafka,
            events: Numbered {
                topic: name.to_owned(),
                keys,
                users,
            },
        }
    }

    /// A host that reads the topic. `config` may go on with keys of `[pipeline]`, and further
    /// tables.
    pub(crate) fn setup(&self, config: &str) -> Setup {
        let topic = &self.events.topic;
        // Short pauses, and a session that ends soon after a kill: the tests are not about patience.
        Setup::host(self.kafka).config(&format!(
            "group_id = \"{topic}\"\nsession_timeout_ms = 1000\nheartbeat_interval_ms = 300\n\n\
             [notification_service.kafka.topics]\nbooking_events = \"{topic}\"\n\n\
             [pipeline]\nretry_backoff_ms = 20\nmax_retry_backoff_ms = 100\n{config}\n"
        ))
    }

    /// Numbered events from 0 on, until they are ended.
    pub(crate) fn flow(&self, a_second: u32) -> Flow {
        let events = self.events.clone();
        Flow::start(self.kafka, a_second, move |number| events.record(number)).unwrap()
    }

    pub(crate) async fn produce(&self, numbers: Range<u32>) {
        let records = self.events.records(numbers);
        self.kafka.produce(records).await.unwrap();
    }

    pub(crate) async fn produce_these(&self, records: Vec<Record>) {
        self.kafka.produce(records).await.unwrap();
    }

    /// The store once every lane has passed the last record.
    pub(crate) async fn settled(&self, host: &Host) -> Contents {
        let topic = &self.events.topic;
        let ends = self.kafka.ends(topic).await.unwrap();
        self.at_end(host, "every lane to reach the end", |contents| {
            contents.has_reached(topic, &ends)
        })
        .await
    }

    /// The store once one plugin has decided on so many events; others may stand still.
    pub(crate) async fn decided(&self, host: &Host, plugin: &str, count: u32) -> Contents {
        let what = format!("{plugin} to decide on {count} events");
        self.at_end(host, &what, |contents| {
            decisions(contents, plugin) >= count as usize
        })
        .await
    }

    /// First asks the cheap question, where the head stands; then the expensive one.
    async fn at_end(&self, host: &Host, what: &str, is_so: impl Fn(&Contents) -> bool) -> Contents {
        let data = host.data();
        let end: i64 = self
            .kafka
            .ends(&self.events.topic)
            .await
            .unwrap()
            .iter()
            .sum();
        let waited = async {
            wait_until("the head to reach the end", BOUND, async || {
                Ok((progress(&data).await? >= end).then_some(()))
            })
            .await?;
            wait_until(what, BOUND, async || {
                let contents = Contents::read(&data).await?;
                ensure!(is_so(&contents), "cursors: {:?}", contents.cursors);
                Ok(Some(contents))
            })
            .await
        };
        waited
            .await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
    }
}

/// How many events a plugin has decided on.
pub(crate) fn decisions(contents: &Contents, plugin: &str) -> usize {
    let decided = contents.decisions.iter();
    decided.filter(|(by, ..)| by == plugin).count()
}

/// The titles that a plugin has sent about each numbered event.
pub(crate) fn titles(contents: &Contents, plugin: &str) -> BTreeMap<u32, Vec<String>> {
    let mut titles: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for entry in contents.entries().filter(|entry| entry.plugin == plugin) {
        let number = Numbered::number(&entry.event_id).unwrap();
        titles.entry(number).or_default().push(entry.title.clone());
    }
    titles
}

/// Holds that a plugin has told once of each of these events, and of no other.
pub(crate) fn told_once(contents: &Contents, plugin: &str, numbers: Range<u32>) {
    let titles = titles(contents, plugin);
    let missing = numbers
        .clone()
        .filter(|number| !titles.contains_key(number));
    let told = titles.iter();
    let doubled = told.clone().filter(|(_, titles)| titles.len() > 1);
    let others = told.filter(|(number, _)| !numbers.contains(number));
    let wrong = [
        ("missing", missing.collect::<Vec<u32>>()),
        (
            "told of twice",
            doubled.map(|(number, _)| *number).collect(),
        ),
        ("not expected", others.map(|(number, _)| *number).collect()),
    ];
    for (what, found) in wrong {
        let first: Vec<&u32> = found.iter().take(10).collect();
        assert!(
            found.is_empty(),
            "{plugin}: {} events of {numbers:?} are {what}: {first:?} …",
            found.len()
        );
    }
}

/// Holds that the offsets of every stream have no gap, and that each partition's notifications of
/// a plugin stand in the order of its records, and so each key's.
pub(crate) fn in_order(contents: &Contents) {
    assert_eq!(contents.gaps(), Vec::<String>::new(), "streams with a gap");
    for (stream, entries) in &contents.streams {
        let mut last: BTreeMap<_, i64> = BTreeMap::new();
        for entry in entries.values() {
            let lane = (entry.plugin.as_str(), &entry.partition);
            let before = last.insert(lane, entry.record_offset);
            assert!(
                before.is_none_or(|before| before <= entry.record_offset),
                "{stream}: {entry:?} stands after offset {before:?}"
            );
        }
    }
}
