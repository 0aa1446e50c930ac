//! The bus over the broker in this process: a real socket and the real protocol.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{
    Assigned, Cluster, Consumer, ConsumerConfig, ConsumerEvent, PartitionId, Positions, Producer,
    ProducerConfig, ReadError, ReaderPool, Record, Start, Watermarks,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(30);

struct FromTheStart;

impl Positions for FromTheStart {
    fn starts(&self, partitions: &[(PartitionId, Watermarks)]) -> Result<Vec<Start>, String> {
        Ok(partitions
            .iter()
            .map(|(_, watermarks)| Start::At(watermarks.low))
            .collect())
    }
}

struct Stopped;

impl Positions for Stopped {
    fn starts(&self, partitions: &[(PartitionId, Watermarks)]) -> Result<Vec<Start>, String> {
        Ok(partitions
            .iter()
            .map(|_| Start::Stopped("the operator has to choose".to_owned()))
            .collect())
    }
}

async fn cluster(topics: &[&str]) -> (Cluster, ConsumerConfig, Producer) {
    let cluster = Cluster::embedded().unwrap();
    let config = ConsumerConfig::default();
    let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
    cluster.ensure_topics(&config, &topics).await.unwrap();
    let producer = Producer::new(
        &cluster,
        &ProducerConfig {
            linger_ms: 0,
            ..ProducerConfig::default()
        },
    )
    .unwrap();
    (cluster, config, producer)
}

fn record(topic: &str, key: &str, value: &[u8]) -> Record {
    Record {
        topic: topic.to_owned(),
        key: Some(key.as_bytes().to_vec()),
        value: value.to_vec(),
        timestamp_ms: Some(1_755_600_000_000),
        headers: vec![("trace".to_owned(), b"t-1".to_vec())],
    }
}

async fn next_assigned(events: &mut UnboundedReceiver<ConsumerEvent>) -> Assigned {
    match timeout(BOUND, events.recv())
        .await
        .expect("an assignment comes")
        .unwrap()
    {
        ConsumerEvent::Assigned(assigned) => *assigned,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_whole_and_in_the_order_of_their_key() {
    let (cluster, config, producer) = cluster(&["booking-events", "extra-1"]).await;
    let mut deliveries = Vec::new();
    for number in 0..400_u32 {
        let topic = if number % 2 == 0 {
            "booking-events"
        } else {
            "extra-1"
        };
        let record = record(
            topic,
            &format!("key-{}", number % 10),
            number.to_string().as_bytes(),
        );
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    // One topic by name, one by pattern.
    let topics = ["booking-events".to_owned(), "^extra-.*".to_owned()];
    let (_consumer, mut events) =
        Consumer::join(&cluster, &config, &topics, Arc::new(FromTheStart)).unwrap();
    let (sender, mut records) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..8 {
        let mut assigned = next_assigned(&mut events).await;
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut expected = assigned.partition.next_offset();
            loop {
                for record in assigned.partition.next_batch(7, 1 << 20).await.unwrap() {
                    assert_eq!(
                        record.offset,
                        expected,
                        "no gap within {}",
                        assigned.partition.id()
                    );
                    expected += 1;
                    if sender.send(record).is_err() {
                        return;
                    }
                }
            }
        });
    }
    let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
    for _ in 0..400 {
        let record = timeout(BOUND, records.recv())
            .await
            .expect("all records come")
            .unwrap();
        assert_eq!(record.timestamp_ms, 1_755_600_000_000);
        assert_eq!(record.headers, [("trace".to_owned(), b"t-1".to_vec())]);
        let number: u32 = String::from_utf8(record.value.unwrap())
            .unwrap()
            .parse()
            .unwrap();
        if let Some(before) = last.insert(record.key.unwrap(), number) {
            assert!(before < number, "the records of a key keep their order");
        }
    }
    assert_eq!(last.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_until_the_work_on_a_partition_has_ended() {
    let (cluster, config, _producer) = cluster(&["one"]).await;
    let (mut consumer, mut events) = Consumer::join(
        &cluster,
        &config,
        &["one".to_owned()],
        Arc::new(FromTheStart),
    )
    .unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next_assigned(&mut events).await);
    }
    let leaving = tokio::task::spawn_blocking(move || consumer.leave());
    for assigned in &mut held {
        timeout(BOUND, assigned.revoked.wait_for(|revoked| *revoked))
            .await
            .expect("it is told")
            .unwrap();
    }
    assert!(!leaving.is_finished(), "the group waits for the work");
    drop(held);
    timeout(BOUND, leaving)
        .await
        .expect("it leaves once the work has ended")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_start_is_reported_and_not_read() {
    let (cluster, config, producer) = cluster(&["one"]).await;
    producer.send(record("one", "k", b"unread")).await.unwrap();
    let (_consumer, mut events) =
        Consumer::join(&cluster, &config, &["one".to_owned()], Arc::new(Stopped)).unwrap();
    for _ in 0..4 {
        match timeout(BOUND, events.recv())
            .await
            .expect("it is reported")
            .unwrap()
        {
            ConsumerEvent::Stopped(_, reason) => assert!(reason.contains("operator")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_from_any_offset_and_says_when_there_is_none() {
    let (cluster, config, producer) = cluster(&["one"]).await;
    let mut partition = 0;
    for number in 0..50_u32 {
        partition = producer
            .send(record("one", "same", number.to_string().as_bytes()))
            .await
            .unwrap()
            .partition;
    }
    let id = PartitionId {
        topic: "one".into(),
        partition,
    };
    let pool = ReaderPool::new(&cluster, &config, 2);
    let mut next = 20;
    let mut seen = Vec::new();
    while next < 45 {
        let stretch = pool.read(&id, next, 45, 10, 1 << 20).await.unwrap();
        seen.extend(stretch.records.iter().map(|record| record.offset));
        next = stretch.next;
    }
    assert_eq!(
        seen,
        (20..45).collect::<Vec<i64>>(),
        "up to the bound and not beyond"
    );
    let again = pool.read(&id, 3, 50, 4, 1 << 20).await.unwrap();
    assert_eq!(
        again
            .records
            .iter()
            .map(|record| record.offset)
            .collect::<Vec<_>>(),
        [3, 4, 5, 6]
    );
    match pool.read(&id, 60, 100, 10, 1 << 20).await {
        Err(ReadError::OutOfRange {
            offset: 60,
            low: 0,
            high: 50,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_waits_before_the_embedded_broker_would_drop_what_nobody_has_read() {
    let (cluster, config, producer) = cluster(&["one"]).await;
    let (_consumer, mut events) = Consumer::join(
        &cluster,
        &config,
        &["one".to_owned()],
        Arc::new(FromTheStart),
    )
    .unwrap();
    let mut assigned = Vec::new();
    for _ in 0..4 {
        assigned.push(next_assigned(&mut events).await);
    }
    let filling = producer.clone();
    let total = 20_u32;
    let mut filler = tokio::spawn(async move {
        let mut partition = 0;
        for number in 0..total {
            let mut value = vec![b'x'; 900_000];
            value[..4].copy_from_slice(&number.to_be_bytes());
            partition = filling
                .send(record("one", "same", &value))
                .await
                .unwrap()
                .partition;
        }
        partition
    });
    // 18 MB do not fit into 5: it waits for somebody to read.
    assert!(
        timeout(Duration::from_secs(2), &mut filler).await.is_err(),
        "the producer is held back"
    );
    let mut seen = Vec::new();
    while seen.len() < total as usize {
        let batches = assigned
            .iter_mut()
            .map(|assigned| Box::pin(assigned.partition.next_batch(10, 1 << 20)));
        let batch = timeout(BOUND, futures_util::future::select_all(batches))
            .await
            .expect("nothing was dropped")
            .0;
        for record in batch.unwrap() {
            let value = record.value.unwrap();
            seen.push(u32::from_be_bytes(value[..4].try_into().unwrap()));
        }
        for assigned in &assigned {
            assigned
                .partition
                .release()
                .up_to(assigned.partition.next_offset());
        }
    }
    assert_eq!(seen, (0..total).collect::<Vec<_>>());
    filler.await.unwrap();
}
