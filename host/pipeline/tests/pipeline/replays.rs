//! Replays.

use carillon_pipeline::{ReplayEffects, ReplayRequest, ReplayState, ReplayStatus, RunAs};
use carillon_store::{Effect, NewNotification, NotificationId, Share, Source};
use serde_json::json;

use crate::rig::{Rig, START_MS, by, event, events, eventually, numbered, somebody};

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
async fn a_replay_settles_the_dead_letters_of_what_it_handles() {
    let rig = Rig::start(&["greeter-traps"], &[]).await;
    rig.send(events(0..1)).await;
    let letters = async || rig.given_up().await.len();
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
