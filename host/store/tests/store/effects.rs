//! Notifications and withdrawals: offsets, replacement, taking back.

use carillon_store::Effect;

use crate::world::{FAR_MS, THEN_MS, World, entries, line};

fn with(
    world: &World,
    event: &str,
    deliver_at_ms: Option<i64>,
    expires_at_ms: Option<i64>,
) -> Effect {
    let mut new = world.notification(event);
    new.collapse_key = Some("k".to_owned());
    new.deliver_at_ms = deliver_at_ms;
    new.expires_at_ms = expires_at_ms;
    Effect::Notify(Box::new(new))
}

#[tokio::test]
async fn offsets_rise_from_one_without_a_gap_over_groups_shares_and_streams() {
    let world = World::new().await;
    let to = |event: &str, stream: &str| {
        let mut new = world.notification(event);
        new.stream = stream.into();
        Effect::Notify(Box::new(new))
    };
    world
        .store
        .commit(&[
            world.share_with(
                0,
                vec![
                    to("a", "user:ada"),
                    to("b", "group:staff"),
                    to("c", "user:ada"),
                ],
            ),
            world.share_with(1, vec![to("d", "user:ada"), world.notify("e", None)]),
        ])
        .await;
    world
        .effects(2, vec![to("f", "user:ada"), to("g", "group:staff")])
        .await;
    assert_eq!(
        world.history("user:ada").await,
        entries(&["a", "c", "d", "e", "f"])
    );
    assert_eq!(world.history("group:staff").await, entries(&["b", "g"]));
    let heard: Vec<_> = world
        .heard()
        .iter()
        .map(line)
        .map(|(offset, event)| format!("{event}{offset}"))
        .collect();
    assert_eq!(heard, ["a1", "b1", "c2", "d3", "e4", "f5", "g2"]);
    assert_eq!(world.store.stream_head("user:ada").await.unwrap().offset, 5);
    assert_eq!(
        world.store.stream_head("user:nobody").await.unwrap().offset,
        0
    );
}

#[tokio::test]
async fn what_is_published_is_what_history_gives_back() {
    let world = World::new().await;
    let mut new = world.notification("full");
    new.data =
        Some(serde_json::value::RawValue::from_string(r#"{"a": [1, "ü"]}"#.to_owned()).unwrap());
    new.link = Some("/bookings/1".to_owned());
    new.priority = carillon_store::Priority::Critical;
    new.collapse_key = Some("k".to_owned());
    new.expires_at_ms = Some(FAR_MS);
    new.correlation_id = Some("c-1".to_owned());
    world
        .effects(
            0,
            vec![Effect::Notify(Box::new(new)), world.withdraw("gone", "k")],
        )
        .await;
    let stored = world.store.history("user:ada", 0, 10).await.unwrap();
    let heard = world.heard();
    assert_eq!(stored.len(), 2);
    for (stored, heard) in stored.iter().zip(&heard) {
        assert_eq!((&stored.json, stored.offset), (&heard.json, heard.offset));
    }
}

#[tokio::test]
async fn the_same_notification_is_stored_once_over_groups_and_within_one() {
    let world = World::new().await;
    world
        .effects(
            0,
            vec![
                world.notify("a", None),
                world.notify("a", None),
                world.notify("b", None),
            ],
        )
        .await;
    world
        .effects(1, vec![world.notify("b", None), world.notify("c", None)])
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["a", "b", "c"]));
}

#[tokio::test]
async fn a_newer_notification_replaces_older_ones_of_its_plugin_and_key() {
    let world = World::new().await;
    world
        .effects(
            0,
            vec![
                world.notify("a", Some("k")),
                world.notify("other", Some("l")),
            ],
        )
        .await;
    world
        .effects(
            1,
            vec![world.notify("b", Some("k")), world.notify("c", Some("k"))],
        )
        .await;
    let mut foreign = world.notification("foreign");
    foreign.plugin = world.plugins[1];
    foreign.collapse_key = Some("k".to_owned());
    world
        .effects(2, vec![Effect::Notify(Box::new(foreign))])
        .await;
    let mut inbox = world.inbox(&["user:ada"]).await;
    inbox.sort();
    assert_eq!(inbox, ["c", "foreign", "other"]);
    assert_eq!(
        world.history("user:ada").await.len(),
        5,
        "history keeps what was shown"
    );
}

#[tokio::test]
async fn notify_then_withdraw_in_one_group_ends_with_nothing_in_the_inbox() {
    let world = World::new().await;
    world
        .effects(
            0,
            vec![world.notify("a", Some("k")), world.withdraw("b", "k")],
        )
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["a", "-b"]));
    assert!(world.inbox(&["user:ada"]).await.is_empty());
}

#[tokio::test]
async fn withdraw_then_notify_in_one_group_ends_with_the_newer_one_in_the_inbox() {
    let world = World::new().await;
    world.effects(0, vec![world.notify("a", Some("k"))]).await;
    world
        .effects(
            1,
            vec![world.withdraw("b", "k"), world.notify("c", Some("k"))],
        )
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["a", "-b", "c"]));
    assert_eq!(world.inbox(&["user:ada"]).await, ["c"]);
}

#[tokio::test]
async fn a_withdrawal_of_what_nobody_saw_is_not_told() {
    let world = World::new().await;
    world.effects(0, vec![world.withdraw("a", "k")]).await;
    world
        .effects(
            1,
            vec![
                with(&world, "waiting", Some(FAR_MS), None),
                world.withdraw("b", "k"),
            ],
        )
        .await;
    world
        .effects(2, vec![with(&world, "waits", Some(FAR_MS), None)])
        .await;
    world.effects(3, vec![world.withdraw("c", "k")]).await;
    assert!(world.history("user:ada").await.is_empty());
    assert_eq!(world.store.next_due_ms().await.unwrap(), None);
}

#[tokio::test]
async fn a_second_withdrawal_finds_nothing_left_to_take_back() {
    let world = World::new().await;
    world.effects(0, vec![world.notify("a", Some("k"))]).await;
    world
        .effects(1, vec![world.withdraw("b", "k"), world.withdraw("c", "k")])
        .await;
    world.effects(2, vec![world.withdraw("d", "k")]).await;
    assert_eq!(world.history("user:ada").await, entries(&["a", "-b"]));
}

#[tokio::test]
async fn a_withdrawal_that_comes_again_does_not_take_back_what_came_after_it() {
    let world = World::new().await;
    world
        .effects(
            0,
            vec![world.notify("a", Some("k")), world.withdraw("b", "k")],
        )
        .await;
    world.effects(1, vec![world.notify("c", Some("k"))]).await;
    world.effects(2, vec![world.withdraw("b", "k")]).await;
    assert_eq!(world.inbox(&["user:ada"]).await, ["c"]);
}

#[tokio::test]
async fn a_withdrawal_reaches_both_what_is_seen_and_what_waits() {
    let world = World::new().await;
    let both = |event: &str| {
        vec![
            world.notify(&format!("{event}-seen"), Some("k")),
            with(&world, &format!("{event}-waits"), Some(FAR_MS), None),
        ]
    };
    for (partition, apart) in [(0, true), (10, false)] {
        let event = format!("e{partition}");
        let withdrawal = world.withdraw(&format!("{event}-gone"), "k");
        let mut group = both(&event);
        if apart {
            world.effects(partition, group).await;
            world.effects(partition + 1, vec![withdrawal]).await;
        } else {
            group.push(withdrawal);
            world.effects(partition, group).await;
        }
        assert!(world.inbox(&["user:ada"]).await.is_empty());
        assert_eq!(world.store.next_due_ms().await.unwrap(), None);
    }
    assert_eq!(
        world.history("user:ada").await,
        entries(&["e0-seen", "-e0-gone", "e10-seen", "-e10-gone"])
    );
}

#[tokio::test]
async fn what_is_seen_replaces_what_waits_and_what_waits_does_not_replace_what_is_seen() {
    let world = World::new().await;
    world
        .effects(
            0,
            vec![
                world.notify("a", Some("k")),
                with(&world, "w", Some(FAR_MS), None),
            ],
        )
        .await;
    assert_eq!(world.inbox(&["user:ada"]).await, ["a"]);
    assert_eq!(world.store.next_due_ms().await.unwrap(), Some(FAR_MS));
    // The newer waiting one takes the place of the older.
    world
        .effects(1, vec![with(&world, "w2", Some(FAR_MS + 1), None)])
        .await;
    assert_eq!(world.store.next_due_ms().await.unwrap(), Some(FAR_MS + 1));
    world.effects(2, vec![world.notify("b", Some("k"))]).await;
    assert_eq!(world.store.next_due_ms().await.unwrap(), None);
    assert_eq!(world.inbox(&["user:ada"]).await, ["b"]);
}

#[tokio::test]
async fn what_has_expired_is_not_shown_but_has_replaced_what_stood_before_it() {
    let world = World::new().await;
    world.effects(0, vec![world.notify("a", Some("k"))]).await;
    world
        .effects(1, vec![with(&world, "late", None, Some(THEN_MS))])
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["a"]));
    assert!(world.inbox(&["user:ada"]).await.is_empty());
}

#[tokio::test]
async fn what_expires_before_its_time_comes_is_never_shown_and_replaces_nothing() {
    let world = World::new().await;
    let never = with(&world, "never", Some(FAR_MS), Some(FAR_MS));
    world
        .effects(0, vec![world.notify("a", Some("k")), never])
        .await;
    assert_eq!(world.store.next_due_ms().await.unwrap(), None);
    assert_eq!(world.inbox(&["user:ada"]).await, ["a"]);
}

#[tokio::test]
async fn a_time_that_has_passed_means_at_once() {
    let world = World::new().await;
    world
        .effects(0, vec![with(&world, "a", Some(THEN_MS), Some(FAR_MS))])
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["a"]));
}
