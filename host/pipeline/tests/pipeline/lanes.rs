//! Lanes at work.

use carillon_bus::Record;
use carillon_events::{Draft, Kind};
use serde_json::{Value, json};

use crate::rig::{Rig, START_MS, TOPIC, by, event, events, eventually, field, somebody, subjects};

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_handled_once_and_in_order() {
    let rig = Rig::start(&["echo"], &[]).await;
    rig.send(events(0..300)).await;
    let entries = rig.stream("u", 300).await;
    assert_eq!(field(&entries, "body"), subjects(300));
    let offsets: Vec<u64> = entries
        .iter()
        .map(|entry| entry["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(
        offsets,
        (1..=300).collect::<Vec<_>>(),
        "offsets have no gap"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_sent_twice_is_handled_once_and_an_impostor_is_a_dead_letter() {
    let rig = Rig::start(&["echo", "counter"], &[]).await;
    // Twice in one batch, twice over batches, and another event under the same id.
    rig.send([
        event("a", "u", json!({})),
        event("a", "u", json!({})),
        event("b", "u", json!({})),
    ])
    .await;
    rig.stream("u", 2).await;
    rig.send([
        event("b", "u", json!({})),
        event("a", "u", json!({"other": "content"})),
        event("c", "u", json!({})),
    ])
    .await;
    let entries = rig.stream("u", 3).await;
    assert_eq!(field(&entries, "eventId"), ["a", "b", "c"]);
    let letters = rig.dead_letters(2).await;
    assert!(
        letters
            .iter()
            .all(|letter| letter["carillon-code"] == "duplicate-id"),
        "{letters:?}"
    );
    eventually("the counter to have counted each once", async || {
        (rig.counted("counter", "count").await == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_retries_keeps_its_order_and_holds_up_nobody() {
    let rig = Rig::start(
        &["echo", "retry-then-ok"],
        &[("retry-then-ok", "attempts", "1")],
    )
    .await;
    // The fifth needs three attempts; those behind it wait in this lane, and not in the other.
    let data = |number: u32| {
        if number == 5 {
            json!({"attempts": 3})
        } else {
            json!({})
        }
    };
    rig.send((0..40).map(|number| event(&format!("e{number}"), "u", data(number))))
        .await;
    let entries = rig.stream("u", 80).await;
    let retried = by(&entries, "retry-then-ok");
    let ids: Vec<&str> = retried
        .iter()
        .map(|entry| entry["eventId"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        (0..40)
            .map(|number| format!("e{number}"))
            .collect::<Vec<_>>()
    );
    // What failed attempts wrote to the state is gone: each event finds it empty.
    assert_eq!(retried[5]["body"], "attempt 3, written 1");
    assert_eq!(retried[6]["body"], "attempt 1, written 1");
    assert_eq!(by(&entries, "echo").len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_never_succeeds_is_given_up_and_the_next_ones_are_handled() {
    let rig = Rig::start(&["retry-then-ok"], &[("retry-then-ok", "attempts", "1")]).await;
    rig.send([
        event("bad", "u", json!({"attempts": 99})),
        event("good", "u", json!({})),
    ])
    .await;
    let entries = rig.stream("u", 1).await;
    assert_eq!(field(&entries, "eventId"), ["good"]);
    let letters = rig.dead_letters(1).await;
    assert_eq!(letters[0]["carillon-event-id"], "bad");
    assert_eq!(letters[0]["carillon-attempts"], "4");
    assert!(
        letters[0]["carillon-reason"].starts_with("given up after 4 attempts"),
        "{letters:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_lane_leaves_the_head_and_comes_back() {
    let rig = Rig::start(&["echo", "slow"], &[]).await;
    rig.send(events(0..100)).await;
    // About two seconds of work for one of them, and none for the other.
    let entries = rig.stream("u", 200).await;
    let echoed: Vec<usize> = (0..200)
        .filter(|index| entries[*index]["plugin"] == "echo")
        .collect();
    let slow: Vec<usize> = (0..200)
        .filter(|index| entries[*index]["plugin"] == "slow")
        .collect();
    assert!(
        echoed[99] < slow[50],
        "the quick one is done before the slow one is half through"
    );
    for plugin in ["echo", "slow"] {
        let ids: Vec<&str> = by(&entries, plugin)
            .iter()
            .map(|entry| entry["eventId"].as_str().unwrap())
            .collect();
        assert_eq!(
            ids,
            (0..100)
                .map(|number| format!("e{number}"))
                .collect::<Vec<_>>()
        );
    }
    // Caught up, it handles what comes now with the others.
    rig.send(events(100..103)).await;
    let entries = rig.stream("u", 206).await;
    assert_eq!(by(&entries, "slow").len(), 103);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_what_calls_one_after_another_leave_over_all_partitions() {
    let rig = Rig::start(&["counter", "echo"], &[]).await;
    let mut deliveries = Vec::new();
    for number in 0..2_000_u32 {
        let record = Record {
            topic: TOPIC.to_owned(),
            key: Some(format!("key-{number}").into_bytes()),
            value: event(&format!("e{number}"), "u", json!({})),
            timestamp_ms: Some(START_MS),
            headers: Vec::new(),
        };
        deliveries.push(rig.producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    eventually("all to be counted", async || {
        (rig.counted("counter", "count").await == 2_000).then_some(())
    })
    .await;
    assert_eq!(rig.counted("counter", "resource:room-1").await, 2_000);
    rig.stream("u", 2_000).await;
    assert_eq!(
        rig.counted("counter", "count").await,
        2_000,
        "and none twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_was_paused_catches_up_over_a_restart_and_a_new_one_starts_at_the_head() {
    let rig = Rig::start(&["echo"], &[]).await;
    rig.send(events(0..5)).await;
    rig.stream("u", 5).await;
    rig.operations().pause("echo", &somebody()).await.unwrap();
    let rig = rig.restart(&["counter"], &[]).await;
    rig.send(events(5..10)).await;
    eventually("the new plugin to count", async || {
        (rig.counted("counter", "count").await == 5).then_some(())
    })
    .await;
    assert_eq!(rig.stream("u", 5).await.len(), 5, "the paused one waits");
    let rig = rig.restart(&[], &[]).await;
    rig.operations().resume("echo", &somebody()).await.unwrap();
    rig.send(events(10..12)).await;
    let entries = rig.stream("u", 12).await;
    assert_eq!(field(&entries, "body"), subjects(12));
    eventually("both to have come to the end", async || {
        (rig.counted("counter", "count").await == 7).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_a_dead_letter_of_intake_with_the_whole_record() {
    let rig = Rig::start(&["echo"], &[]).await;
    rig.send([b"hello".to_vec(), event("good", "u", json!({}))])
        .await;
    assert_eq!(rig.stream("u", 1).await.len(), 1);
    let letters = rig.dead_letters(1).await;
    assert_eq!(letters[0]["carillon-plugin"], "intake");
    assert_eq!(letters[0]["carillon-topic"], TOPIC);
    assert!(
        letters[0]["carillon-reason"].contains("not JSON"),
        "{letters:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_request_becomes_a_notification_and_a_wrong_one_a_dead_letter() {
    let rig = Rig::start(&[], &[]).await;
    let request = |id: &str, data: Value| {
        Draft::new(Kind::parse("notification.requested").unwrap(), START_MS)
            .id(id)
            .user("u")
            .data(data)
            .unwrap()
            .to_json()
    };
    rig.send([
        request("a", json!({"title": "Lift out of service", "body": "Please use the stairs.", "channels": ["in-app"]})),
        request("b", json!({"body": "no title"})),
        request("c", json!({"title": "x", "channels": ["pigeon"]})),
    ])
    .await;
    let entries = rig.stream("u", 1).await;
    assert_eq!(entries[0]["title"], "Lift out of service");
    assert_eq!(entries[0]["plugin"], "carillon.direct");
    let letters = rig.dead_letters(2).await;
    assert!(
        letters
            .iter()
            .any(|letter| letter["carillon-reason"].contains("pigeon")),
        "{letters:?}"
    );
}
