//! What operators do while events flow.

use std::collections::BTreeMap;

use carillon_pipeline::{
    DeadLetterQuery, LoadRequest, OperationError, ReplayEffects, ReplayRequest, ReplayState,
    ReplayStatus, RunAs, StartAt, StateFate,
};
use carillon_store::{Effect, NewNotification, NotificationId, Share, Source};
use serde_json::{Value, json};

use crate::rig::{Rig, START_MS, by, event, events, eventually, field, request, somebody};

fn numbered(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Vec<u8>> {
    numbers.map(|number| event(&format!("e{number}"), "u", json!({ "number": number })))
}

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
async fn a_version_that_traps_is_quarantined_and_the_mended_one_catches_up() {
    let rig = Rig::start(&["greeter-v1", "echo"], &[]).await;
    rig.send(numbered(0..5)).await;
    rig.stream("u", 10).await;
    rig.load("greeter-traps", RunAs::Active).await.unwrap();
    rig.send(numbered(5..100)).await;
    eventually("the plugin to be quarantined", async || {
        (rig.plugin("greeter").state == "quarantined").then_some(())
    })
    .await;
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
        let letters = rig
            .operations()
            .dead_letters(&DeadLetterQuery::default(), None, 100)
            .await
            .unwrap();
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
    eventually("the plugin to be quarantined", async || {
        (rig.plugin("retry-then-ok").state == "quarantined").then_some(())
    })
    .await;
    let letters = rig
        .operations()
        .dead_letters(&DeadLetterQuery::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(letters.len(), 2, "ten faults are two events and a half");
    eventually("three probes to fail", async || {
        let reason = rig.plugin("retry-then-ok").reason.unwrap();
        let (_, probes) = reason.rsplit_once("; ").unwrap();
        let probes = probes.strip_suffix(" probes failed since")?;
        (probes.parse::<u32>().unwrap() >= 3).then_some(())
    })
    .await;
    let still = rig
        .operations()
        .dead_letters(&DeadLetterQuery::default(), None, 10)
        .await
        .unwrap();
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
async fn a_shadow_is_compared_event_by_event_and_nobody_hears_of_it() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    let shadow = rig
        .load("greeter-v2", RunAs::Shadow { abort_after: None })
        .await
        .unwrap();
    assert_eq!(shadow.runs_as, "shadow");
    rig.send(numbered(0..300)).await;
    rig.stream("u", 300).await;
    let report = eventually("both to have answered all", async || {
        let report = rig.operations().diff("greeter", None, 1_000).await.unwrap();
        (report.compared == 300).then_some(report)
    })
    .await;
    assert_eq!((report.equal, report.different), (270, 30));
    let mut ids: Vec<&str> = report
        .differences
        .iter()
        .map(|difference| difference["eventId"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let mut wanted: Vec<String> = (0..30).map(|n| format!("e{}", n * 10)).collect();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    assert_eq!(rig.stream("u", 300).await.len(), 300);
    let promoted = rig
        .operations()
        .promote("greeter", &somebody())
        .await
        .unwrap();
    assert_eq!(promoted.version, "2.0.0");
    rig.send(numbered(300..310)).await;
    let entries = rig.stream("u", 310).await;
    assert_ne!(entries[300]["title"], entries[301]["title"]);
    assert_eq!(rig.plugin("greeter").candidate.map(|c| c.version), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_faults_is_taken_away_and_no_event_is_lost() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    let run_as = RunAs::Canary {
        percent: 50,
        abort_after: Some(3),
    };
    rig.load("greeter-traps", run_as).await.unwrap();
    // Each event has a key of its own.
    for number in 0..60 {
        let record = carillon_bus::Record {
            topic: crate::rig::TOPIC.to_owned(),
            key: Some(format!("key-{number}").into_bytes()),
            value: event(&format!("e{number}"), "u", json!({"number": number})),
            timestamp_ms: Some(START_MS),
            headers: Vec::new(),
        };
        rig.producer.send(record).await.unwrap();
    }
    rig.stream("u", 60).await;
    eventually("the canary to be gone", async || {
        rig.plugin("greeter").candidate.is_none().then_some(())
    })
    .await;
    assert_eq!(
        rig.plugin("greeter").state,
        "active",
        "its faults are its own"
    );
    assert_eq!(rig.stream("u", 60).await.len(), 60);
    let audit = rig
        .operations()
        .audit(Some("greeter"), None, 10)
        .await
        .unwrap();
    assert!(
        audit
            .iter()
            .any(|record| record.action == "abort" && record.who == "rule of the trial")
    );
}

/// The replay's status once it has ended.
async fn replayed(rig: &Rig, plugin: &str, request: ReplayRequest) -> ReplayStatus {
    let id = rig.operations().replay(plugin, request, &somebody()).await;
    let id = id.unwrap();
    eventually("the replay to end", async || {
        let status = rig.operations().replay_status(id).unwrap();
        (status.state != "running").then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_for_a_record_that_is_no_event_any_more_is_not_missing() {
    let rig = Rig::start(&["echo"], &[]).await;
    let [first, last] = ["first", "last"].map(|id| event(id, "u", json!({})));
    rig.send([first, b"no event".to_vec(), last]).await;
    let entries = rig.stream("u", 2).await;
    let id = entries[0]["id"].as_str().unwrap().parse().unwrap();
    let sent = rig.store.notification(id).await.unwrap().unwrap();
    // An earlier release, which knew its kind, told of the record after it.
    let mut share = Share::without_cursor();
    share.effects.push(Effect::Notify(Box::new(NewNotification {
        id: NotificationId::derive(START_MS, "middle", "echo", "user:u", "test", None, 0),
        stream: sent.stream,
        plugin: sent.plugin,
        plugin_name: sent.plugin_name,
        version: sent.version_id,
        event_id: "middle".to_owned(),
        kind: "booking.forgotten".to_owned(),
        source: Source {
            log: sent.log,
            partition: sent.partition,
            offset: sent.offset + 1,
            logged_at_ms: START_MS,
        },
        category: "test".to_owned(),
        title: "middle".to_owned(),
        body: String::new(),
        data: None,
        link: None,
        channels: None,
        priority: sent.priority,
        collapse_key: None,
        deliver_at_ms: None,
        expires_at_ms: None,
        digest_key: None,
        digest_window_ms: None,
        correlation_id: None,
    })));
    rig.store.commit(&[share]).await.remove(0).unwrap();
    let dry = ReplayRequest {
        from_ms: START_MS - 1_000,
        to_ms: START_MS + 1_000,
        effects: ReplayEffects::Compare,
        state: ReplayState::Leave,
    };
    let dry = replayed(&rig, "echo", dry).await;
    assert_eq!((dry.state.as_str(), dry.same, dry.missing), ("done", 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_what_would_be_different_and_a_replay_sends_what_was_not() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    rig.send(numbered(0..50)).await;
    rig.stream("u", 50).await;
    rig.load("greeter-v2", RunAs::Active).await.unwrap();
    let all = ReplayRequest {
        from_ms: START_MS - 1_000,
        to_ms: START_MS + 1_000,
        effects: ReplayEffects::Compare,
        state: ReplayState::Leave,
    };
    let replay = async |plugin: &str, request| replayed(&rig, plugin, request).await;
    let dry = replay("greeter", all).await;
    assert_eq!(dry.state, "done", "{dry:?}");
    assert_eq!(
        (dry.handled, dry.same, dry.changed, dry.new, dry.missing),
        (50, 45, 5, 0, 0)
    );
    assert_eq!(rig.stream("u", 50).await.len(), 50);

    rig.load("echo", RunAs::Active).await.unwrap();
    rig.load("counter", RunAs::Active).await.unwrap();
    let apply = ReplayRequest {
        effects: ReplayEffects::Apply,
        ..all
    };
    let first = replay("echo", apply).await;
    assert_eq!((first.handled, first.new), (50, 50));
    assert_eq!(by(&rig.stream("u", 100).await, "echo").len(), 50);
    let again = replay("echo", apply).await;
    assert_eq!((again.handled, again.new, again.same), (50, 0, 50));
    assert_eq!(rig.stream("u", 100).await.len(), 100, "and none twice");
    let without = replay("counter", apply).await;
    assert_eq!(
        (without.handled, rig.counted("counter", "count").await),
        (50, 0)
    );
    let with = ReplayRequest {
        state: ReplayState::Write,
        ..apply
    };
    let with = replay("counter", with).await;
    assert_eq!(
        (with.handled, rig.counted("counter", "count").await),
        (50, 50)
    );
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
    assert_eq!(value["topic"], crate::rig::TOPIC);
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
            topic: crate::rig::TOPIC.to_owned(),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_settles_the_dead_letters_of_what_it_handles() {
    let rig = Rig::start(&["greeter-traps"], &[]).await;
    rig.send(events(0..1)).await;
    let letters = async || {
        rig.operations()
            .dead_letters(&DeadLetterQuery::default(), None, 10)
            .await
            .unwrap()
            .len()
    };
    eventually("the event to be given up", async || {
        (letters().await == 1).then_some(())
    })
    .await;
    rig.load("greeter-v1", RunAs::Active).await.unwrap();
    let request = ReplayRequest {
        from_ms: START_MS - 1_000,
        to_ms: START_MS + 1_000,
        effects: ReplayEffects::Apply,
        state: ReplayState::Leave,
    };
    rig.operations()
        .replay("greeter", request, &somebody())
        .await
        .unwrap();
    assert_eq!(rig.stream("u", 1).await.len(), 1);
    eventually("the letter to be settled", async || {
        (letters().await == 0).then_some(())
    })
    .await;
}
