//! Guests that misbehave, each beside the honest guest `echo` on the same partition: `echo` hears
//! everything, the offender's events end as dead letters or the offender is not let in at all, and
//! the operator's log says what happened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod network;
mod quotas;

use std::time::Duration;

use carillon_tests::child::wait_until;
use carillon_tests::events;
use carillon_tests::host::{Host, Setup, guest};
use carillon_tests::kafka::{Kafka, Record};
use carillon_tests::store::Contents;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Enough to show that the lane goes on after each.
const EVENTS: u32 = 3;

/// What becomes of a guest.
enum Fate {
    /// It is not loaded.
    Refused,
    /// Every event becomes a dead letter of its own, with a reason that holds this word.
    DeadLetters(&'static str),
    /// It works; what exceeds a limit is dropped.
    Tolerated,
}

static KAFKA: OnceCell<Kafka> = OnceCell::const_new();

/// One broker for all cases: they read the same records, each with a group of its own.
async fn kafka() -> &'static Kafka {
    KAFKA
        .get_or_init(async || {
            let kafka = Kafka::start().await.unwrap();
            kafka.create_topic("booking-events", 1).await.unwrap();
            kafka
                .produce(events::bookings_of("user-1", 0..EVENTS))
                .await
                .unwrap();
            kafka
        })
        .await
}

async fn check(name: &str, fate: Fate, log_words: &[&str]) {
    let kafka = kafka().await;
    // Two attempts and short pauses: the test is about limits, not about patience.
    let mut host = Setup::host(kafka)
        .config(&format!(
            "group_id = \"hostile-{name}\"\n\n[pipeline]\nmax_attempts = 2\nretry_backoff_ms = 20\nmax_retry_backoff_ms = 50\n"
        ))
        .plugin(guest("echo"))
        .plugin(guest(name))
        .start()
        .await
        .unwrap();

    let contents = settled(&host, kafka, "booking-events").await;

    let echoed = contents
        .decisions
        .iter()
        .filter(|(plugin, ..)| plugin == "echo")
        .count();
    assert_eq!(echoed, EVENTS as usize, "echo heard every event");
    let letters: Vec<_> = contents
        .dead_letters
        .iter()
        .filter(|letter| letter.plugin == name)
        .collect();
    match fate {
        Fate::Refused => {
            let decided = contents
                .decisions
                .iter()
                .filter(|(plugin, ..)| plugin == name)
                .count();
            assert_eq!((decided, letters.len()), (0, 0));
        }
        Fate::DeadLetters(word) => {
            assert_eq!(letters.len(), EVENTS as usize, "{letters:?}");
            assert!(
                letters.iter().all(|letter| letter.reason.contains(word)),
                "{letters:#?}"
            );
        }
        Fate::Tolerated => assert_eq!(letters.len(), 0, "{letters:?}"),
    }
    let words: Vec<&str> = [name]
        .into_iter()
        .chain(log_words.iter().copied())
        .collect();
    let line = host.log_line(&words).await.unwrap();
    println!("{name}: echo heard {echoed} of {EVENTS}; the operator reads: {line}");
    assert_eq!(
        host.stop().unwrap(),
        0,
        "the host stops in order:\n{}",
        host.log_tail()
    );
}

/// A guest beside `echo` on a topic of its own, with as many events as it needs, each with what
/// the guest is to do.
struct Case {
    name: &'static str,
    guest: &'static str,
    /// Tables of the configuration.
    config: String,
    /// What each event's `eventData` has besides.
    data: Vec<Value>,
}

/// How a case came out.
struct Outcome {
    host: Host,
    contents: Contents,
    /// What the guest told of each event, in order.
    titles: Vec<String>,
}

impl Case {
    async fn run(self) -> Outcome {
        let kafka = kafka().await;
        let name = self.name;
        kafka.create_topic(name, 1).await.unwrap();
        let records: Vec<Record> = (0..)
            .zip(&self.data)
            .map(|(n, data)| asking(name, n, data))
            .collect();
        let count = records.len();
        kafka.produce(records).await.unwrap();
        let config = self.config;
        let host = Setup::host(kafka)
            .config(&format!(
                "group_id = \"{name}\"\n[notification_service.kafka.topics]\nbooking_events = \"{name}\"\n{config}\n"
            ))
            .plugin(guest("echo"))
            .plugin(guest(self.guest))
            .start()
            .await
            .unwrap();
        let contents = settled(&host, kafka, name).await;
        let echoed = contents.decisions.iter().filter(|(by, ..)| by == "echo");
        assert_eq!(echoed.count(), count, "echo heard every event");
        let own = contents
            .entries()
            .filter(|entry| entry.plugin == self.guest);
        let mut own: Vec<_> = own.collect();
        own.sort_by_key(|entry| entry.record_offset);
        let titles = own.iter().map(|entry| entry.title.clone()).collect();
        Outcome {
            host,
            contents,
            titles,
        }
    }
}

/// An event with further fields in its `eventData`.
fn asking(topic: &str, number: u32, data: &Value) -> Record {
    let mut record = events::bookings_of("user-1", number..number + 1).remove(0);
    let mut value: Value = serde_json::from_slice(&record.value).unwrap();
    for (key, field) in data.as_object().unwrap() {
        value["eventData"][key] = json!(field);
    }
    record.topic = topic.to_owned();
    record.value = value.to_string().into_bytes();
    record
}

/// The store once every lane has passed the last record.
async fn settled(host: &Host, kafka: &Kafka, topic: &str) -> Contents {
    let ends = kafka.ends(topic).await.unwrap();
    let data = host.data();
    let reached = wait_until(
        "every lane to pass the last record",
        Duration::from_secs(60),
        async || {
            let contents = Contents::read(&data).await?;
            Ok(contents.has_reached(topic, &ends).then_some(contents))
        },
    );
    reached
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_ended_by_the_time_limit() {
    check(
        "endless-loop",
        Fate::DeadLetters("time"),
        &["processor time"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_is_stopped_at_its_limit() {
    check(
        "memory-bomb",
        Fate::DeadLetters("memory"),
        &["bytes of memory"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn table_growth_is_stopped_at_its_limit() {
    check(
        "table-growth",
        Fate::DeadLetters("table"),
        &["table elements"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unbounded_recursion_meets_the_end_of_its_stack() {
    check(
        "recursion",
        Fate::DeadLetters("stack"),
        &["stack overflowed"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_bomb_is_refused_before_it_is_lifted() {
    check(
        "output-bomb",
        Fate::DeadLetters("answer"),
        &["answer is larger"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_counted_and_dropped() {
    check("log-flood", Fate::Tolerated, &["dropped"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_on_every_event_costs_the_plugin_its_own_events_only() {
    check("trap-always", Fate::DeadLetters("trapped"), &["trapped"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zero_character_in_a_text_is_the_plugins_own_fault() {
    check("nul-text", Fate::DeadLetters("not valid"), &["not valid"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_rejects_says_why() {
    check(
        "rejecter",
        Fate::DeadLetters("this guest rejects"),
        &["rejects"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_traps_in_describe_is_not_loaded() {
    check("trap-in-describe", Fate::Refused, &["describe"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_another_world_is_refused_with_the_name_of_what_is_missing() {
    check("wrong-world", Fate::Refused, &["carillon:plugin/handler"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_the_host_does_not_have_is_refused_by_name() {
    check(
        "unknown-import",
        Fate::Refused,
        &["carillon:plugin/teleport"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_refused_by_name_until_a_host_is_granted() {
    let table = "[plugins.http-caller.http] allow";
    check(
        "http-caller",
        Fate::Refused,
        &["carillon:plugin/http", table],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_no_plugin_is_refused() {
    check("plain-module", Fate::Refused, &[]).await;
}
