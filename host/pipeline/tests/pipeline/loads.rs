//! What operators load, roll back, pause and remove while events flow.

use carillon_pipeline::{LoadRequest, OperationError, RunAs, StartAt, StateFate};
use serde_json::json;

use crate::rig::{
    Rig, START_MS, TOPIC, by, event, events, eventually, field, numbered, request, somebody,
};

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_swapped_while_events_flow_and_each_event_is_handled_once() {
    let rig = Rig::start(&["greeter-v1", "echo"], &[]).await;
    for round in 0..10_u32 {
        rig.send(numbered(round * 50..round * 50 + 50)).await;
        let version = if round % 2 == 0 {
            "greeter-v2"
        } else {
            "greeter-v1"
        };
        let outcome = rig.load(version, RunAs::Active).await.unwrap();
        assert!(!outcome.is_new);
    }
    let entries = rig.stream("u", 1_000).await;
    for plugin in ["greeter", "echo"] {
        let ids: Vec<&str> = by(&entries, plugin)
            .iter()
            .map(|entry| entry["eventId"].as_str().unwrap())
            .collect();
        let wanted: Vec<String> = (0..500).map(|number| format!("e{number}")).collect();
        assert_eq!(ids, wanted, "{plugin}");
    }
    let versions = rig.operations().versions("greeter").await.unwrap();
    assert_eq!(versions.len(), 10, "no more than the bound are kept");
    assert_eq!(rig.plugin("greeter").version, "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_leaves_the_old_version_running_and_is_written_down() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    for (bad, word) in [
        ("wrong-world", "made for another world"),
        ("trap-in-describe", "could not describe itself"),
        ("plain-module", "without component types"),
        ("newer-interface", "was made for"),
    ] {
        let refused = rig.load(bad, RunAs::Active).await.unwrap_err();
        assert!(
            matches!(&refused, OperationError::Refused(reason) if reason.contains(word)),
            "{bad}: {refused}"
        );
    }
    let misnamed = LoadRequest {
        name: Some("greeter".to_owned()),
        ..request("echo")
    };
    let refused = rig.operations().load(misnamed, &somebody()).await;
    assert!(refused.unwrap_err().to_string().contains("echo"));
    rig.send(numbered(0..3)).await;
    assert_eq!(rig.stream("u", 3).await.len(), 3);
    let audit = rig.operations().audit(None, None, 100).await.unwrap();
    let refused = audit
        .iter()
        .filter(|record| record.outcome != "done")
        .count();
    assert_eq!(refused, 5, "{audit:#?}");
    assert!(audit.iter().all(|record| record.who == "somebody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_back_brings_the_earlier_binary_and_stays_over_a_restart() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    rig.load("greeter-v2", RunAs::Active).await.unwrap();
    let back = rig
        .operations()
        .rollback("greeter", None, &somebody())
        .await
        .unwrap();
    assert_eq!(
        (back.version.as_str(), back.replaced.as_deref()),
        ("1.0.0", Some("2.0.0"))
    );
    let rig = rig.restart(&[], &[]).await;
    assert_eq!(rig.plugin("greeter").version, "1.0.0");
    let by_version = rig
        .operations()
        .rollback("greeter", Some("2.0.0"), &somebody())
        .await
        .unwrap();
    assert_eq!(by_version.version, "2.0.0");
    let nothing = rig
        .operations()
        .rollback("greeter", Some("9.9.9"), &somebody())
        .await
        .unwrap_err();
    assert!(nothing.to_string().contains("(version 2.0.0)"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_plugin_keeps_its_place_and_comes_back_to_the_head() {
    let rig = Rig::start(&["greeter-v1", "echo"], &[]).await;
    rig.send(numbered(0..10)).await;
    rig.stream("u", 20).await;
    let paused = rig
        .operations()
        .pause("greeter", &somebody())
        .await
        .unwrap();
    assert_eq!(paused.state, "paused");
    rig.send(numbered(10..200)).await;
    eventually("echo to go on", async || {
        (by(&rig.stream("u", 210).await, "echo").len() == 200).then_some(())
    })
    .await;
    eventually("the lag to be seen", async || {
        (rig.plugin("greeter").lag == 190).then_some(())
    })
    .await;
    rig.operations()
        .resume("greeter", &somebody())
        .await
        .unwrap();
    let entries = rig.stream("u", 400).await;
    let ids: Vec<String> = by(&entries, "greeter")
        .iter()
        .map(|entry| entry["eventId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..200).map(|n| format!("e{n}")).collect::<Vec<_>>());
    eventually("all lanes to stand at the head again", async || {
        let lanes = rig.operations().lanes();
        lanes.iter().all(|lane| lane.place == "head").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_begins_where_the_operator_says() {
    let rig = Rig::start(&["echo"], &[]).await;
    rig.send(events(0..20)).await;
    rig.stream("u", 20).await;
    let earliest = LoadRequest {
        start: StartAt::Earliest,
        ..request("greeter-v1")
    };
    rig.operations().load(earliest, &somebody()).await.unwrap();
    assert_eq!(by(&rig.stream("u", 40).await, "greeter").len(), 20);
    let later = LoadRequest {
        start: StartAt::Time(START_MS + 1),
        ..request("counter")
    };
    rig.operations().load(later, &somebody()).await.unwrap();
    rig.send(events(20..22)).await;
    eventually("only the new ones to be counted", async || {
        (rig.counted("counter", "count").await == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_removed_is_gone_and_begins_anew_when_it_is_loaded_again() {
    let rig = Rig::start(&["counter", "echo"], &[]).await;
    rig.send(events(0..5)).await;
    rig.stream("u", 5).await;
    eventually("all to be counted", async || {
        (rig.counted("counter", "count").await == 5).then_some(())
    })
    .await;
    rig.operations()
        .remove("counter", StateFate::Delete, &somebody())
        .await
        .unwrap();
    rig.send(events(5..8)).await;
    rig.stream("u", 8).await;
    assert!(rig.operations().show("counter").await.is_err());
    rig.load("counter", RunAs::Active).await.unwrap();
    rig.send(events(8..9)).await;
    eventually("the new one to be counted", async || {
        (rig.counted("counter", "count").await == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_embedded_broker_gets_again_is_not_heard_by_a_plugin_that_came_later() {
    let rig = Rig::start(&["echo"], &[]).await;
    rig.send(events(0..3)).await;
    rig.stream("u", 3).await;
    rig.load("counter", RunAs::Active).await.unwrap();
    let rig = rig.restart(&[], &[]).await;
    // As the relay sends what the log lost, and what it never held.
    for (number, again) in [(0, true), (3, true), (4, false)] {
        let headers = again.then(|| (carillon_bus::SENT_AGAIN.to_owned(), Vec::new()));
        let record = carillon_bus::Record {
            topic: TOPIC.to_owned(),
            key: Some(b"one".to_vec()),
            value: event(&format!("e{number}"), "u", json!({})),
            timestamp_ms: Some(START_MS),
            headers: headers.into_iter().collect(),
        };
        rig.producer.send(record).await.unwrap();
    }
    eventually("what came later to be counted", async || {
        (rig.counted("counter", "count").await == 1).then_some(())
    })
    .await;
    // The other was there before all of them, as far as the store knows.
    let ids = rig.stream("u", 4).await;
    assert_eq!(field(&ids, "eventId").last(), Some(&"e4"));
    assert_eq!(rig.counted("counter", "count").await, 1);
}
