//! Every sample of both seed documents, and every malformed record, through Apache Kafka and the
//! plugins that ship.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use carillon_tests::child::wait_until;
use carillon_tests::events::{self, TOPICS};
use carillon_tests::host::{Setup, guest};
use carillon_tests::kafka::{Kafka, Record};
use carillon_tests::store::Contents;
use serde_json::Value;

const DEAD_LETTERS: &str = "carillon.dead-letters";

/// Spellings of the first seed, and the kinds that they mean.
const ALIASES: [(&str, &str); 4] = [
    ("booking.checkedin", "booking.checked_in"),
    ("booking.checkedout", "booking.checked_out"),
    ("booking.noshow", "booking.no_show"),
    ("waitlist.added", "waitlist.joined"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_handled_and_every_malformed_record_becomes_a_dead_letter() {
    let kafka = Kafka::start().await.unwrap();
    for topic in TOPICS {
        kafka.create_topic(topic, 3).await.unwrap();
    }
    let samples = events::samples().unwrap();
    let malformed = events::malformed().unwrap();
    kafka.produce(samples.clone()).await.unwrap();
    let bad = malformed
        .iter()
        .map(|(name, value)| Record::new("booking-events", name, value.as_str()));
    kafka.produce(bad.collect()).await.unwrap();

    let host = Setup::host(&kafka)
        .shipped_plugins()
        .plugin(guest("echo"))
        .start()
        .await
        .unwrap();
    let mut ends = Vec::new();
    for topic in TOPICS {
        ends.push((topic, kafka.ends(topic).await.unwrap()));
    }
    let data = host.data();
    let contents = wait_until(
        "all samples to be handled",
        Duration::from_secs(60),
        async || {
            let contents = Contents::read(&data).await?;
            Ok(ends
                .iter()
                .all(|(topic, ends)| contents.has_reached(topic, ends))
                .then_some(contents))
        },
    )
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));

    // `echo` hears everything: the samples and the one well-formed record among the malformed.
    let by_echo = contents
        .decisions
        .iter()
        .filter(|(plugin, ..)| plugin == "echo")
        .count();
    assert_eq!(by_echo, samples.len() + 1);
    aliases_are_resolved(&samples, &contents);
    shipped_plugins_decided_on_their_topics(&contents, &samples);
    let teleported = |entry: &&carillon_tests::store::Entry| entry.event_id == "a5";
    assert!(
        contents
            .decisions
            .iter()
            .filter(|(plugin, ..)| plugin == "booking-updates")
            .count()
            > 0
            && contents.entries().any(|entry| teleported(&entry)),
        "the unknown kind reaches the plugins that subscribe to booking.*"
    );
    dead_letters_have_reasons(&kafka, &malformed, &contents).await;
    println!(
        "{} samples handled, {} malformed records dead-lettered",
        samples.len(),
        contents.dead_letters.len()
    );
}

fn aliases_are_resolved(samples: &[Record], contents: &Contents) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for sample in samples {
        let value: Value = serde_json::from_slice(&sample.value).unwrap();
        let (id, spelled) = (
            value["eventId"].as_str().unwrap(),
            value["eventType"].as_str().unwrap(),
        );
        let found = ALIASES.iter().find(|(alias, _)| *alias == spelled);
        let kind = found.map_or(spelled, |(_, kind)| kind);
        seen.extend(found.map(|(alias, _)| *alias));
        let kinds: BTreeSet<_> = contents
            .entries()
            .filter(|entry| entry.event_id == id)
            .map(|entry| entry.kind.as_str())
            .collect();
        assert_eq!(kinds, BTreeSet::from([kind]), "{spelled}");
    }
    assert_eq!(seen.len(), ALIASES.len(), "the samples hold every alias");
}

fn shipped_plugins_decided_on_their_topics(contents: &Contents, samples: &[Record]) {
    for (plugin, topic, unknown_kinds) in [
        ("booking-updates", "booking-events", 1),
        ("waitlist-updates", "waitlist-events", 0),
        ("conflict-alerts", "conflict-events", 0),
    ] {
        let decided = contents
            .decisions
            .iter()
            .filter(|(by, _, _, _, (on, _), _)| by == plugin && on == topic)
            .count();
        let sent = samples
            .iter()
            .filter(|sample| sample.topic == topic)
            .count();
        assert_eq!(decided, sent + unknown_kinds, "{plugin} on {topic}");
    }
}

async fn dead_letters_have_reasons(
    kafka: &Kafka,
    malformed: &[(String, String)],
    contents: &Contents,
) {
    let expected: Vec<_> = malformed
        .iter()
        .filter(|(name, _)| name != "unknown-kind")
        .collect();
    assert_eq!(
        contents.dead_letters.len(),
        expected.len(),
        "{:#?}",
        contents.dead_letters
    );
    let relayed = wait_until(
        "the dead-letter topic to be filled",
        Duration::from_secs(30),
        async || {
            let relayed = kafka.read_all(DEAD_LETTERS).await?;
            Ok((relayed.len() >= expected.len()).then_some(relayed))
        },
    )
    .await
    .unwrap();
    for (name, value) in expected {
        let letter = relayed
            .iter()
            .find(|letter| letter.value == value.as_bytes())
            .unwrap_or_else(|| panic!("{name} is not in {DEAD_LETTERS}"));
        let reason = letter.header("carillon-reason");
        println!("{name}: {reason:?}");
        // A person understands a sentence, not a code.
        assert!(
            reason.is_some_and(|reason| reason.split(' ').count() >= 3),
            "{name}: {:?}",
            letter.headers
        );
    }
}
