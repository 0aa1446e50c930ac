//! What is read to explain a notification, a record or an event.

use carillon_store::{
    Effect, NewNotification, NotificationId, Outcome, Priority, Share, Source, event_key,
};
use serde_json::value::RawValue;

use crate::world::{FAR_MS, THEN_MS, World};

#[tokio::test]
async fn a_notification_is_told_with_everything_that_is_stored_of_it() {
    let world = World::new().await;
    let version = world
        .store
        .plugin_version(world.plugins[0], "1.2.3", "cafe", THEN_MS)
        .await
        .unwrap();
    let new = NewNotification {
        version,
        source: world.source(42),
        data: Some(RawValue::from_string("{\"room\":1}".to_owned()).unwrap()),
        link: Some("/bookings/1".to_owned()),
        channels: Some("email,push".to_owned()),
        priority: Priority::High,
        collapse_key: Some("booking:1".to_owned()),
        expires_at_ms: Some(FAR_MS),
        digest_key: Some("daily".to_owned()),
        digest_window_ms: Some(60_000),
        correlation_id: Some("request-1".to_owned()),
        ..world.notification("a")
    };
    let id = new.id;
    world.effects(0, vec![Effect::Notify(Box::new(new))]).await;
    let record = world.store.notification(id).await.unwrap().unwrap();
    let visible_ms = record.visible_ms.unwrap();
    assert!(visible_ms > THEN_MS);
    assert_eq!(
        serde_json::to_value(&record).unwrap(),
        serde_json::json!({
            "id": id, "stream": "user:ada", "streamOffset": 1, "withdraws": false,
            "plugin": world.plugins[0], "pluginName": "one", "versionId": version, "version": "1.2.3",
            "sha256": "cafe", "eventId": "a", "kind": "booking.created", "log": world.log,
            "cluster": "cluster", "topic": "booking-events", "partition": 0, "offset": 42,
            "category": "bookings", "title": "Room 1 is yours (a)", "body": "Tomorrow from nine to ten.",
            "data": { "room": 1 }, "link": "/bookings/1", "channels": "email,push", "priority": "high",
            "collapseKey": "booking:1", "deliverAtMs": null, "expiresAtMs": FAR_MS, "digestKey": "daily",
            "digestWindowMs": 60_000, "createdMs": THEN_MS, "visibleMs": visible_ms,
            "correlationId": "request-1", "hidden": false,
        })
    );
    let nobody = NotificationId::derive(THEN_MS, "b", "one", "user:ada", "bookings", None, 0);
    assert!(world.store.notification(nobody).await.unwrap().is_none());
}

#[tokio::test]
async fn all_that_follows_from_a_record_is_told_seen_or_not() {
    let world = World::new().await;
    let of = |event: &str, source: Source, deliver_at_ms| {
        Effect::Notify(Box::new(NewNotification {
            source,
            deliver_at_ms,
            collapse_key: Some(event.to_owned()),
            ..world.notification(event)
        }))
    };
    let elsewhere = Source {
        partition: 3,
        ..world.source(7)
    };
    world
        .effects(
            0,
            vec![
                of("seen", world.source(7), None),
                of("waits", world.source(7), Some(FAR_MS)),
                of("another record", world.source(8), None),
                of("another partition", elsewhere, None),
            ],
        )
        .await;
    world.effects(1, vec![world.withdraw("gone", "seen")]).await;
    let told = async |offset| {
        let records = world
            .store
            .notifications_of_record(world.log, 0, offset)
            .await
            .unwrap();
        records
            .into_iter()
            .map(|record| (record.event_id, record.stream_offset, record.hidden))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(7).await,
        [
            ("waits".to_owned(), None, false),
            ("seen".to_owned(), Some(1), true),
        ]
    );
    // The withdrawal follows from the record at 0.
    let records = world
        .store
        .notifications_of_record(world.log, 0, 0)
        .await
        .unwrap();
    assert_eq!(records.len(), 1);
    assert!(records[0].withdraws);
    assert_eq!(records[0].collapse_key.as_deref(), Some("seen"));
    assert_eq!(told(9).await, []);
}

#[tokio::test]
async fn what_a_plugin_sent_for_a_stretch_is_told_in_portions_without_what_it_withdrew() {
    let world = World::new().await;
    let of = |event: &str, offset, bytes| {
        Effect::Notify(Box::new(NewNotification {
            source: world.source(offset),
            body: "x".repeat(bytes),
            ..world.notification(event)
        }))
    };
    let sent = vec![
        of("too early", 6, 1),
        of("one", 7, 3 << 20),
        of("two", 9, 3 << 20),
        of("three", 12, 3 << 20),
        of("four", 13, 9 << 20),
        of("too late", 20, 1),
    ];
    world.effects(0, sent).await;
    world.effects(1, vec![world.withdraw("gone", "seen")]).await;
    let told = async |offsets: std::ops::Range<i64>| {
        let stretch = world
            .store
            .notifications_between(world.plugins[0], world.log, 0, offsets);
        let (records, end) = stretch.await.unwrap();
        let events = records.into_iter().map(|record| record.event_id);
        (events.collect::<Vec<_>>(), end)
    };
    assert_eq!(
        told(7..20).await,
        (vec!["one".to_owned(), "two".to_owned()], 12)
    );
    assert_eq!(told(12..20).await, (vec!["three".to_owned()], 13));
    assert_eq!(told(13..20).await, (vec!["four".to_owned()], 20));
    // The withdrawal follows from the record at 0.
    assert_eq!(told(0..6).await, (vec![], 6));
    let other = world.plugins[1];
    let nothing = world
        .store
        .notifications_between(other, world.log, 0, 0..20);
    assert_eq!(nothing.await.unwrap().1, 20);
}

#[tokio::test]
async fn the_decisions_on_an_event_are_told_with_names_and_versions() {
    let world = World::new().await;
    let mut share = world.share(0, None, 9);
    let mut built_in = world.decision("a", THEN_MS);
    built_in.plugin = world.plugins[1];
    built_in.version = carillon_store::VersionId(0);
    built_in.outcome = Outcome::DeadLettered;
    built_in.attempts = 5;
    built_in.actions = 0;
    share.decisions = vec![
        built_in,
        world.decision("a", THEN_MS),
        world.decision("b", THEN_MS),
    ];
    world.commit_one(share).await.unwrap();
    let told = world.store.decisions_of(event_key("a")).await.unwrap();
    assert_eq!(
        serde_json::to_value(&told).unwrap(),
        serde_json::json!([
            {
                "plugin": world.plugins[0], "pluginName": "one", "versionId": world.version, "version": "1.0.0",
                "sha256": "abc", "outcome": "handled", "actions": 1, "attempts": 1, "log": world.log,
                "topic": "booking-events", "partition": 0, "offset": 0, "loggedAtMs": THEN_MS,
            },
            {
                "plugin": world.plugins[1], "pluginName": "two", "versionId": 0, "version": "",
                "sha256": "", "outcome": "dead-lettered", "actions": 0, "attempts": 5, "log": world.log,
                "topic": "booking-events", "partition": 0, "offset": 0, "loggedAtMs": THEN_MS,
            },
        ])
    );
    assert!(
        world
            .store
            .decisions_of(event_key("nothing"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_log_is_found_by_its_topic_and_only_on_its_cluster() {
    let world = World::new().await;
    let found = async |cluster, topic| world.store.log_by_topic(cluster, topic).await.unwrap();
    assert_eq!(found("cluster", "booking-events").await, Some(world.log));
    assert_eq!(found("another", "booking-events").await, None);
    assert_eq!(found("cluster", "user-events").await, None);
}

#[tokio::test]
async fn the_head_of_every_partition_of_a_cluster_is_told() {
    let world = World::new().await;
    let other = world
        .store
        .log("cluster", "user-events", THEN_MS)
        .await
        .unwrap();
    let elsewhere = world
        .store
        .log("another", "user-events", THEN_MS)
        .await
        .unwrap();
    let on = |log, partition, next| {
        let mut share: Share = world.share(partition, None, next);
        share.cursor.as_mut().unwrap().log = log;
        share
    };
    let mut group = vec![
        on(world.log, 0, 5),
        on(world.log, 1, 6),
        on(other, 0, 7),
        on(elsewhere, 0, 8),
    ];
    group[0].detached = vec![carillon_store::Detached {
        plugin: world.plugins[0],
        next: 2,
        retry: None,
    }];
    for result in world.store.commit(&group).await {
        result.unwrap();
    }
    let topic = |name: &str| name.to_owned();
    assert_eq!(
        world.store.head_cursors("cluster").await.unwrap(),
        [
            (world.log, topic("booking-events"), 0, 5),
            (world.log, topic("booking-events"), 1, 6),
            (other, topic("user-events"), 0, 7),
        ]
    );
    assert!(world.store.head_cursors("none").await.unwrap().is_empty());
}
