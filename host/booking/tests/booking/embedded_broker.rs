//! The relay, the bus's own producer and its embedded broker.

use std::time::Duration;

use carillon_booking::{Booking, RelaySettings};
use carillon_bus::{
    Cluster, ConsumerConfig, LogRecord, PartitionId, Producer, ProducerConfig, ReaderPool, Record,
};
use carillon_events::{Topic, decode};
use tokio::sync::watch;

use crate::relay::all_sent;
use crate::running::{NOON_MS, Running, until, wish};

/// Events of the one booking of this test.
const EVENTS: usize = 3;

/// Sends the outbox to a new embedded broker and answers the first events of one booking that
/// its log holds.
async fn send_to_a_new_broker(booking: &Booking, id: &str) -> Vec<LogRecord> {
    let cluster = Cluster::embedded().unwrap();
    let topics = Topic::ALL.map(|topic| topic.name().to_owned());
    let reading = ConsumerConfig::default();
    cluster.ensure_topics(&reading, &topics).await.unwrap();
    let producer = Producer::new(&cluster, &ProducerConfig::default()).unwrap();
    // The key decides the partition, so a record of the same key says which one to read.
    let probe = Record {
        topic: Topic::BookingEvents.name().to_owned(),
        key: Some(id.as_bytes().to_vec()),
        ..Record::default()
    };
    let before = producer.send(probe).await.unwrap();
    let partition = PartitionId {
        topic: Topic::BookingEvents.name().into(),
        partition: before.partition,
    };
    let (stop, stopped) = watch::channel(false);
    let relay = tokio::spawn(booking.relay(producer, RelaySettings::default(), stopped));
    let pool = ReaderPool::new(&cluster, &reading, 1);
    let records = until("the events of the booking", async || {
        let stretch = pool
            .read(&partition, before.offset + 1, i64::MAX, EVENTS, 1 << 20)
            .await
            .unwrap();
        (stretch.records.len() == EVENTS).then_some(stretch.records)
    })
    .await;
    all_sent(booking).await;
    stop.send(true).unwrap();
    relay.await.unwrap();
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_embedded_broker_holds_every_booking_event_in_order_with_its_first_time() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running.clock.forward(Duration::from_secs(60));
    running.step(&id, "check-in").await;
    running.step(&id, "check-out").await;
    for _ in 0..2 {
        let records = send_to_a_new_broker(&running.booking, &id).await;
        let told: Vec<_> = records
            .iter()
            .map(|record| {
                assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
                let event = decode(record.value.as_deref().unwrap()).unwrap();
                (event.kind.to_string(), record.timestamp_ms)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("booking.created".to_owned(), NOON_MS),
                ("booking.checked_in".to_owned(), NOON_MS + 60_000),
                ("booking.checked_out".to_owned(), NOON_MS + 60_000),
            ]
        );
    }
}
