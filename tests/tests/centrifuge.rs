//! The published `centrifuge` client for JavaScript, unchanged, over a network that is cut.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use carillon_tests::child::wait_until;
use carillon_tests::events;
use carillon_tests::host::{Host, Setup};
use carillon_tests::kafka::Kafka;
use carillon_tests::node::Script;
use carillon_tests::proxy::Proxy;
use carillon_tests::store::Contents;
use serde_json::Value;
use sqlx::Connection;

const USER: &str = "user-1";
const STREAM: &str = "user:user-1";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_cut_off_has_everything_once_and_in_order_or_is_told_that_it_has_not() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("booking-events", 3).await.unwrap();
    let mut host = Setup::host(&kafka).shipped_plugins().start().await.unwrap();
    let proxy = Proxy::start(&host.gateway().unwrap()).await.unwrap();
    let token = host.token(USER).unwrap();
    let mut client = Script::start("centrifuge/client.mjs", &[&proxy.url(), &token]).unwrap();
    client.next_event("connected").await.unwrap();

    kafka
        .produce(events::bookings_of(USER, 0..10))
        .await
        .unwrap();
    let mut seen = publications(&mut client, 10).await;

    proxy.cut();
    client.next_event("connecting").await.unwrap();
    kafka
        .produce(events::bookings_of(USER, 10..110))
        .await
        .unwrap();
    stream_holds(&host, 110).await;
    proxy.mend(&host.gateway().unwrap()).unwrap();
    let subscribed = client.next_event("subscribed").await.unwrap();
    seen.extend(publications(&mut client, 100).await);

    assert_eq!(subscribed["recovered"], true, "{subscribed}");
    let offsets: Vec<u64> = seen
        .iter()
        .filter_map(|line| line["offset"].as_u64())
        .collect();
    assert_eq!(offsets, (1..=110).collect::<Vec<u64>>());
    let mut ids: Vec<&str> = seen
        .iter()
        .filter_map(|line| line["data"]["eventId"].as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 110, "each event was seen once");
    println!(
        "cut off while 100 notifications arrived: {} received, once each, in order",
        seen.len()
    );

    proxy.cut();
    client.next_event("connecting").await.unwrap();
    kafka
        .produce(events::bookings_of(USER, 110..130))
        .await
        .unwrap();
    stream_holds(&host, 130).await;
    host.stop().unwrap();
    trim(&host, 120).await;
    host.restart().await.unwrap();
    proxy.mend(&host.gateway().unwrap()).unwrap();

    let subscribed = client.next_event("subscribed").await.unwrap();

    assert_eq!(subscribed["channel"], STREAM);
    assert_eq!(subscribed["wasRecovering"], true, "{subscribed}");
    assert_eq!(subscribed["recovered"], false, "{subscribed}");
    println!(
        "history trimmed while cut off: told recovered = {}",
        subscribed["recovered"]
    );
}

async fn publications(client: &mut Script, count: usize) -> Vec<Value> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        let line = client.next_event("publication").await.unwrap();
        assert_eq!(line["channel"], STREAM);
        seen.push(line);
    }
    seen
}

async fn stream_holds(host: &Host, entries: usize) {
    let data = host.data();
    wait_until(
        "the notifications to be stored",
        Duration::from_secs(60),
        async || {
            let contents = Contents::read(&data).await?;
            let stored = contents
                .streams
                .get(STREAM)
                .map_or(0, |stream| stream.len());
            Ok((stored == entries).then_some(()))
        },
    )
    .await
    .unwrap();
}

/// Forgets the oldest entries of the stream, as retention does.
async fn trim(host: &Host, through: i64) {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(host.data().join("carillon.db"));
    let mut database = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    for statement in [
        "DELETE FROM notifications WHERE stream_offset <= ?1 AND stream_id = (SELECT id FROM streams WHERE name = ?2)",
        "UPDATE streams SET trimmed_through = ?1 WHERE name = ?2",
    ] {
        sqlx::query(statement)
            .bind(through)
            .bind(STREAM)
            .execute(&mut database)
            .await
            .unwrap();
    }
    database.close().await.unwrap();
}
