//! Candidates beside the active version: shadows and canaries.

use std::collections::{BTreeMap, BTreeSet};

use carillon_tests::child::wait_until;
use carillon_tests::events::Numbered;
use carillon_tests::host::guest;
use carillon_tests::kafka::Record;
use carillon_tests::operate::{HOST_BOUND, Operator};
use carillon_tests::store::Contents;
use serde_json::Value;

use crate::stage::{Stage, size, titles, told_once};

/// The bookings of the canary's test.
const KEYS: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_diff_of_a_shadow_names_exactly_the_events_that_differ_and_nobody_hears_of_it() {
    let events = size(1_000, 10_000);
    let stage = Stage::new("shadow", 4).await;
    let setup = stage.setup("").plugin(guest("greeter-v1"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let loaded = operator
        .load(&guest("greeter-v2"), &["--shadow"])
        .await
        .unwrap();
    assert_eq!(loaded["runsAs"], "shadow", "{loaded}");

    stage.produce(0..events).await;
    let report = wait_until("the shadow to have seen all", HOST_BOUND, async || {
        let report = operator.ask(&["plugin", "diff", "greeter"]).await?;
        Ok((report["compared"] == events).then_some(report))
    })
    .await
    .unwrap();
    let named = differences(&operator).await;
    let tenth: BTreeSet<u32> = (0..events).step_by(10).collect();
    assert_eq!(named, tenth);
    assert_eq!(report["different"], tenth.len());
    assert_eq!(report["equal"], events as usize - tenth.len());
    let contents = stage.settled(&host).await;
    told_once(&contents, "greeter", 0..events);
    assert_eq!(wordings(&contents, "Welcome:").count(), 0);

    let promoted = operator
        .ask(&["plugin", "promote", "greeter"])
        .await
        .unwrap();
    assert_eq!(
        (&promoted["version"], &promoted["replaced"]),
        (&"2.0.0".into(), &"1.0.0".into())
    );
    stage.produce(events..events + 20).await;
    let contents = stage.settled(&host).await;
    let welcomed: Vec<u32> = wordings(&contents, "Welcome:").collect();
    assert_eq!(welcomed, [events, events + 10]);
    println!(
        "shadow: {} events compared, the diff names {} and exactly those that differ; nobody was told in the shadow's words; \
         calls {} and {}, faults {} and {}, p99 {} and {} ms (active and candidate)",
        report["compared"],
        named.len(),
        report["active"]["calls"],
        report["candidate"]["calls"],
        report["active"]["faults"],
        report["candidate"]["faults"],
        report["active"]["p99Ms"],
        report["candidate"]["p99Ms"]
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// All pages of the diff, as numbers of events.
async fn differences(operator: &Operator) -> BTreeSet<u32> {
    let mut named = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = ["plugin", "diff", "greeter", "--limit", "300"];
        let next: Vec<&str> = match &after {
            Some(after) => vec!["--after", after],
            None => Vec::new(),
        };
        let report = operator.ask(&[&page[..], &next].concat()).await.unwrap();
        for difference in report["differences"].as_array().unwrap() {
            assert_ne!(
                difference["active"]["actions"],
                difference["candidate"]["actions"]
            );
            let id = difference["eventId"].as_str().unwrap();
            assert!(named.insert(Numbered::number(id).unwrap()), "{id} twice");
        }
        after = report["next"].as_str().map(ToOwned::to_owned);
        if after.is_none() {
            return named;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_of_the_keys_and_always_the_same_ones() {
    let stage = Stage::with("canary", 4, KEYS, 40).await;
    let setup = stage.setup("").plugin(guest("greeter-v2"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    operator
        .load(&guest("greeter-v1"), &["--canary", "10"])
        .await
        .unwrap();
    // Two events of each key, and two more after a restart. The versions differ in what they say
    // of every tenth number, so only those are sent.
    let rounds = KEYS * 2;
    stage.produce_these(tenths(&stage, 0, rounds)).await;
    stage.settled(&host).await;
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    host.restart().await.unwrap();
    stage
        .produce_these(tenths(&stage, rounds, 2 * rounds))
        .await;
    let contents = stage.settled(&host).await;

    let mut versions: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (number, titles) in titles(&contents, "greeter") {
        assert_eq!(titles.len(), 1, "{number}");
        versions
            .entry(number / 10 % KEYS)
            .or_default()
            .extend(titles);
    }
    let torn = versions.values().filter(|titles| titles.len() > 1).count();
    let canary = versions
        .values()
        .filter(|titles| titles.iter().any(|title| title.starts_with("Hello:")))
        .count();
    assert_eq!((versions.len(), torn), (KEYS as usize, 0));
    let percent = 100.0 * canary as f64 / f64::from(KEYS);
    println!(
        "canary: asked for 10 %, got {canary} of {KEYS} keys ({percent:.1} %); keys that met both versions over 4 events and a restart: {torn}"
    );
    // Four standard deviations of 2,000 draws.
    assert!((7.3..=12.7).contains(&percent), "{percent} %");
    let active = operator.plugin("greeter").await.unwrap();
    assert_eq!(active["candidate"]["mode"], "canary", "{active}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// Events with the numbers 10 × `from` to 10 × `to`, each key in turn.
fn tenths(stage: &Stage, from: u32, to: u32) -> Vec<Record> {
    let event = |turn: u32| {
        let mut record = stage.events.record(10 * turn);
        record.key = Some(format!("key-{}", turn % KEYS).into_bytes());
        record
    };
    (from..to).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_is_taken_away_by_itself_and_every_event_is_told_of() {
    const EVENTS: u32 = 400;
    let stage = Stage::with("failing-canary", 2, EVENTS, 8).await;
    let setup = stage.setup("").plugin(guest("greeter-v1"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    operator
        .load(
            &guest("greeter-traps"),
            &["--canary", "10", "--abort-after", "5"],
        )
        .await
        .unwrap();
    stage.produce(0..EVENTS).await;
    let contents = stage.settled(&host).await;

    told_once(&contents, "greeter", 0..EVENTS);
    assert_eq!(
        contents.dead_letters.len(),
        0,
        "{:#?}",
        contents.dead_letters
    );
    let plugin = operator
        .plugin_that("greeter", "without a candidate", |plugin| {
            plugin["candidate"] == Value::Null
        })
        .await
        .unwrap();
    assert_eq!(
        (&plugin["state"], &plugin["version"]),
        (&"active".into(), &"1.0.0".into())
    );
    let audit = operator.audit().await.unwrap();
    let aborted = audit.iter().find(|record| record["action"] == "abort");
    let reason = aborted.unwrap()["detail"]["reason"].as_str().unwrap();
    println!("failing canary: taken away by itself ({reason}); all {EVENTS} events told of once");
    assert!(reason.starts_with("5 faults"), "{reason}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// The numbers of the events that the greeter spoke of in these words.
fn wordings<'a>(contents: &'a Contents, word: &'a str) -> impl Iterator<Item = u32> + 'a {
    let titles = titles(contents, "greeter").into_iter();
    let spoken =
        titles.filter(move |(_, titles)| titles.iter().any(|title| title.starts_with(word)));
    spoken.map(|(number, _)| number)
}
