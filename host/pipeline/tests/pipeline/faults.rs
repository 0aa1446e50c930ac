//! Plugins that fail: quarantine, probes, quotas, and what an event's story says.

use std::collections::BTreeMap;

use carillon_pipeline::RunAs;
use serde_json::{Value, json};

use crate::rig::{Rig, TOPIC, by, event, events, eventually, field, numbered, somebody};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_traps_is_quarantined_and_the_mended_one_catches_up() {
    let rig = Rig::start(&["greeter-v1", "echo"], &[]).await;
    rig.send(numbered(0..5)).await;
    rig.stream("u", 10).await;
    rig.load("greeter-traps", RunAs::Active).await.unwrap();
    rig.send(numbered(5..100)).await;
    rig.quarantined("greeter").await;
    eventually("echo to hear everything", async || {
        let entries = rig.store.history("user:u", 0, 10_000).await.unwrap();
        let echoed = entries
            .iter()
            .filter(|entry| entry.json.contains("\"echo\""));
        (echoed.count() == 100).then_some(())
    })
    .await;
    rig.load("greeter-v1", RunAs::Active).await.unwrap();
    assert_eq!(rig.plugin("greeter").state, "active");
    let letters = eventually("all to be handled or dead", async || {
        let entries = rig.stream("u", 100).await;
        let letters = rig.given_up().await;
        (by(&entries, "greeter").len() + letters.len() == 100).then_some(letters)
    })
    .await;
    assert!(
        letters.len() <= 10,
        "{} events were given up",
        letters.len()
    );
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    if !ids.is_empty() {
        let replayed = rig
            .operations()
            .replay_dead_letters(&ids, None, &somebody())
            .await
            .unwrap();
        assert!(
            replayed.iter().all(|letter| letter.outcome == "handled"),
            "{replayed:?}"
        );
    }
    let entries = rig.stream("u", 200).await;
    let mut heard: Vec<&str> = by(&entries, "greeter")
        .iter()
        .map(|entry| entry["eventId"].as_str().unwrap())
        .collect();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!((heard.len(), entries.len()), (100, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_plugin_that_works_again_is_noticed_by_a_probe() {
    // It asks for more attempts than there are, and then for none.
    let rig = Rig::start(&["retry-then-ok"], &[("retry-then-ok", "attempts", "1")]).await;
    rig.send((0..3).map(|n| event(&format!("bad{n}"), "u", json!({"attempts": 99}))))
        .await;
    rig.send([event("good", "u", json!({}))]).await;
    rig.quarantined("retry-then-ok").await;
    let letters = rig.given_up().await;
    assert_eq!(letters.len(), 2, "ten faults are two events and a half");
    rig.probes_failed("retry-then-ok", 3).await;
    let still = rig.given_up().await;
    assert_eq!(still.len(), 2, "probes take no attempts");
    // The operator takes the event away that stands in its way.
    rig.operations()
        .resume("retry-then-ok", &somebody())
        .await
        .unwrap();
    let entries = rig.stream("u", 1).await;
    assert_eq!(field(&entries, "eventId"), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_state_is_told_to_the_guest() {
    let rig = Rig::start(&["state-filler"], &[]).await;
    let bytes = 60_000;
    // 16 MiB is the default quota.
    let count = (16 << 20) / bytes + 10;
    rig.send((0..count).map(|n| event(&format!("e{n}"), "u", json!({ "bytes": bytes }))))
        .await;
    let entries = rig.stream("u", count as usize).await;
    let titles: BTreeMap<&str, usize> =
        field(&entries, "title")
            .into_iter()
            .fold(BTreeMap::new(), |mut all, title| {
                *all.entry(title).or_default() += 1;
                all
            });
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(
        titles.keys().any(|title| title.contains("space is full")),
        "{titles:?}"
    );
    let shown = rig.operations().show("state-filler").await.unwrap();
    let total = shown
        .limits
        .iter()
        .find(|limit| limit.limit == "state_total_bytes")
        .unwrap();
    assert!(total.highest.unwrap() <= total.granted);
    assert!(total.highest.unwrap() > total.granted - 2 * bytes as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_explains_what_every_plugin_did_with_it() {
    let rig = Rig::start(&["echo", "rejecter", "greeter-v1"], &[]).await;
    rig.operations()
        .pause("greeter", &somebody())
        .await
        .unwrap();
    rig.send(events(0..1)).await;
    let entries = rig.stream("u", 1).await;
    rig.dead_letters(1).await;
    let explained = rig.operations().explain("e0").await.unwrap();
    let outcomes: BTreeMap<&str, &str> = explained
        .plugins
        .iter()
        .map(|story| (story.plugin.as_str(), story.outcome.as_str()))
        .collect();
    assert_eq!(
        outcomes,
        BTreeMap::from([
            ("carillon.direct", "not-subscribed"),
            ("echo", "handled"),
            ("greeter", "paused"),
            ("rejecter", "dead-letter"),
        ]),
        "{explained:#?}"
    );
    let id = entries[0]["id"].as_str().unwrap();
    let notification = rig.operations().explain(id).await.unwrap();
    assert_eq!(notification.subject, "notification");
    let story = notification.story.join("\n");
    for word in [
        "plugin echo",
        "e0",
        "user:u",
        "loaded",
        "by somebody from echo.wasm",
    ] {
        assert!(story.contains(word), "{word}: {story}");
    }
    let unknown = rig.operations().explain("never-seen").await.unwrap_err();
    assert!(
        unknown.to_string().contains("nothing is known"),
        "{unknown}"
    );
    let value: Value = notification.record.unwrap();
    assert_eq!(value["topic"], TOPIC);
}
