//! What `make bench` measures of the whole line, on one machine with Apache Kafka: records a second
//! into the store and to sockets beside a bare consumer, push latency, memory per idle connection.
//! Prints a Markdown table. `LOAD_EVENTS` and `LOAD_CONNECTIONS` change the size, and `LOAD_PARTS`
//! chooses among `throughput`, `latency` and `memory`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use carillon_tests::child::wait_until;
use carillon_tests::client::Client;
use carillon_tests::events::{self, TOPICS};
use carillon_tests::host::{Host, Setup};
use carillon_tests::kafka::Kafka;
use carillon_tests::measure::{
    Table, from_environment, per_second, rate_into_store, resident_bytes,
};
use carillon_tests::pace::{self, SendTimes, quantiles};
use carillon_tests::store::progress;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::JoinSet;

const TOPIC: &str = "booking-events";
const PARTITIONS: i32 = 4;
/// The users of [`events::series`].
const USERS: u32 = 40;
/// The rate of the latency measurement.
const EVENTS_A_SECOND: u32 = 1_000;
/// Its length.
const LATENCY_SECONDS: u32 = 20;
/// How long the broker's own code takes to be compiled by its virtual machine.
const WARM_UP_SECONDS: u32 = 20;
/// Longer than any measurement needs: a stuck host ends the program.
const BOUND: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Result<()> {
    raise_file_limit()?;
    let count = from_environment("LOAD_EVENTS", 300_000)?;
    let connections = from_environment("LOAD_CONNECTIONS", 5_000)?;
    let mut table = Table::default();
    let parts =
        std::env::var("LOAD_PARTS").unwrap_or_else(|_| "throughput latency memory".to_owned());
    if parts.contains("throughput") {
        throughput(count, &mut table).await?;
    }
    if parts.contains("latency") {
        latency(&mut table).await?;
    }
    if parts.contains("memory") {
        idle_memory(connections, &mut table).await?;
    }
    println!("\n{table}");
    Ok(())
}

/// Both ends of 5,000 connections, of which this process and its child each hold one.
fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}

async fn broker() -> Result<Kafka> {
    let kafka = Kafka::start().await?;
    for topic in TOPICS {
        kafka.create_topic(topic, PARTITIONS).await?;
    }
    Ok(kafka)
}

async fn throughput(count: u32, table: &mut Table) -> Result<()> {
    let kafka = broker().await?;
    kafka.produce(events::series(1, count)).await?;

    let bare = bare_consumer(&kafka, i64::from(count)).await?;
    table.add("bare rdkafka consumer, records/s", format!("{bare:.0}"));
    let host = Setup::host(&kafka).shipped_plugins().start().await?;
    let stored = rate_into_store(&host, 0, i64::from(count)).await?;
    table.add(
        "Kafka → plugin → store, records/s (share of the bare consumer)",
        format!("{stored:.0} ({:.0} %)", 100.0 * stored / bare),
    );

    let sockets = rate_to_sockets(&kafka, &host, count / 3).await?;
    table.add(
        format!(
            "Kafka → plugin → store → {USERS} sockets, notifications/s (share of the bare consumer)"
        ),
        format!("{sockets:.0} ({:.0} %)", 100.0 * sockets / bare),
    );
    Ok(())
}

/// Records a second of a consumer that does nothing with them, from the first to the last.
async fn bare_consumer(kafka: &Kafka, count: i64) -> Result<f64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    let measured = tokio::task::spawn_blocking(move || {
        consumer.assign(&list)?;
        let mut start = None;
        for _ in 0..count {
            let message = consumer.poll(BOUND).context("no record came")?;
            message?;
            start.get_or_insert_with(Instant::now);
        }
        Ok(per_second(count, start.context("no record")?.elapsed()))
    });
    measured.await?
}

/// Every user is connected; from the first push to the last. What a plugin does not turn into a
/// notification does not count.
async fn rate_to_sockets(kafka: &Kafka, host: &Host, count: u32) -> Result<f64> {
    let mut readers = JoinSet::new();
    let ready = Arc::new(tokio::sync::Barrier::new(USERS as usize + 1));
    for number in 0..USERS {
        let mut client = connect(host, &format!("user-{number}")).await?;
        let ready = Arc::clone(&ready);
        readers.spawn(async move {
            ready.wait().await;
            let mut seen: Option<(Instant, Instant, i64)> = None;
            // The end of the series is silence.
            while let Ok(next) = tokio::time::timeout(Duration::from_secs(5), client.next()).await {
                next?;
                let now = Instant::now();
                let entry = seen.get_or_insert((now, now, 0));
                entry.1 = now;
                entry.2 += 1;
            }
            anyhow::Ok(seen)
        });
    }
    ready.wait().await;
    kafka.produce(events::series(2, count)).await?;
    let mut total: Option<(Instant, Instant, i64)> = None;
    while let Some(seen) = readers.join_next().await {
        if let Some((first, last, number)) = seen?? {
            let entry = total.get_or_insert((first, last, 0));
            *entry = (entry.0.min(first), entry.1.max(last), entry.2 + number);
        }
    }
    let (first, last, number) = total.context("no push came")?;
    Ok(per_second(number, last - first))
}

async fn latency(table: &mut Table) -> Result<()> {
    let kafka = broker().await?;
    let host = Setup::host(&kafka).shipped_plugins().start().await?;
    let sent = SendTimes::default();
    let mut readers = JoinSet::new();
    for number in 0..USERS {
        let mut client = connect(&host, &format!("user-{number}")).await?;
        let sent = sent.clone();
        readers.spawn(async move {
            let mut times = Vec::new();
            while let Ok(next) = tokio::time::timeout(Duration::from_secs(10), client.next()).await
            {
                let (data, now) = (next?.data, Instant::now());
                let id = data["eventId"].as_str().unwrap_or_default();
                times.extend(sent.of(id).map(|start| now - start));
            }
            anyhow::Ok(times)
        });
    }
    // Joining the group, the first connections and a broker whose code is not compiled yet are not
    // what is measured.
    let producer = kafka.prompt_producer()?;
    let warm_up = EVENTS_A_SECOND * WARM_UP_SECONDS;
    let unmeasured = SendTimes::default();
    let producer = tokio::task::spawn_blocking(move || {
        pace::produce(
            &producer,
            events::series(4, warm_up),
            EVENTS_A_SECOND,
            &unmeasured,
        )?;
        anyhow::Ok(producer)
    })
    .await??;
    let data = host.data();
    wait_until("the warm-up", BOUND, async || {
        Ok((progress(&data).await? >= i64::from(warm_up)).then_some(()))
    })
    .await?;
    let records = events::series(3, EVENTS_A_SECOND * LATENCY_SECONDS);
    let bare = bare_latencies(&kafka, records.len(), sent.clone())?;
    tokio::task::spawn_blocking(move || pace::produce(&producer, records, EVENTS_A_SECOND, &sent))
        .await??;
    let mut times = Vec::new();
    while let Some(more) = readers.join_next().await {
        times.extend(more??);
    }
    table.add(
        format!("at {EVENTS_A_SECOND} events/s, producer → bare consumer, p50 / p99 / max"),
        quantiles(bare.await??)?,
    );
    table.add(
        format!("at {EVENTS_A_SECOND} events/s, producer → socket, p50 / p99 / max"),
        quantiles(times)?,
    );
    Ok(())
}

/// When a consumer that does nothing else has the same events: what of the latency is Kafka's.
fn bare_latencies(
    kafka: &Kafka,
    count: usize,
    sent: SendTimes,
) -> Result<tokio::task::JoinHandle<Result<Vec<Duration>>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "bare-latency")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::End)?;
    }
    consumer.assign(&list)?;
    // Offsets are looked up with the first poll; nothing is sent yet.
    while consumer.poll(Duration::from_secs(2)).is_some() {}
    Ok(tokio::task::spawn_blocking(move || {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let message = consumer.poll(BOUND).context("no record came")??;
            let now = Instant::now();
            let value: serde_json::Value =
                serde_json::from_slice(message.payload().unwrap_or_default())?;
            let id = value["eventId"].as_str().unwrap_or_default();
            times.extend(sent.of(id).map(|start| now - start));
        }
        Ok(times)
    }))
}

async fn idle_memory(connections: u32, table: &mut Table) -> Result<()> {
    /// Connections share users, as people have several devices; a token is a process to make.
    const IDLE_USERS: u32 = 500;
    // Without plugins: what compiling them leaves behind would be used again by connections, and
    // they would seem to cost nothing.
    let host = Setup::run().start().await?;
    let mut clients = Vec::new();
    // The first connections warm up what every host needs once.
    for number in 0..50 {
        clients.push(connect(&host, &format!("warm-{number}")).await?);
    }
    let before = resident_bytes(host.pid())?;
    let mut tokens = BTreeMap::new();
    for number in 0..connections {
        let user = format!("idle-{}", number % IDLE_USERS);
        let token = match tokens.get(&user) {
            Some(token) => token,
            None => tokens.entry(user.clone()).or_insert(host.token(&user)?),
        };
        clients.push(Client::connect(&host.gateway()?, token, &BTreeMap::new()).await?);
    }
    let after = resident_bytes(host.pid())?;
    let each = after.saturating_sub(before) / u64::from(connections);
    table.add(
        format!(
            "resident memory per idle WebSocket at {} connections",
            clients.len()
        ),
        format!("{:.1} KiB", each as f64 / 1024.0),
    );
    Ok(())
}

async fn connect(host: &Host, user: &str) -> Result<Client> {
    Client::connect(&host.gateway()?, &host.token(user)?, &BTreeMap::new()).await
}
