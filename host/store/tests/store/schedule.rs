//! Notifications with a time of their own.

use std::time::Duration;

use carillon_store::{Effect, NotificationId};

use crate::world::{FAR_MS, World, entries, line, now_ms};

fn later(
    world: &World,
    event: &str,
    key: Option<&str>,
    deliver_at_ms: i64,
    expires_at_ms: Option<i64>,
) -> Effect {
    let mut new = world.notification(event);
    new.collapse_key = key.map(str::to_owned);
    new.deliver_at_ms = Some(deliver_at_ms);
    new.expires_at_ms = expires_at_ms;
    Effect::Notify(Box::new(new))
}

/// Releases until nothing waits that is due by `until_ms`; the clock is real, so this waits
/// for it, within bounds.
async fn release_until(world: &World, until_ms: i64) -> usize {
    let mut released = 0;
    for _ in 0..10_000 {
        released += world.store.release_due().await.unwrap();
        if world
            .store
            .next_due_ms()
            .await
            .unwrap()
            .is_none_or(|due| due > until_ms)
        {
            return released;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("still waiting");
}

#[tokio::test]
async fn a_notification_gets_its_offset_when_its_time_comes_in_the_order_of_times() {
    let world = World::new().await;
    let soon = now_ms() + 200;
    world
        .effects(
            0,
            vec![
                later(&world, "second", None, soon + 1, None),
                later(&world, "far", None, FAR_MS, None),
                later(&world, "first", None, soon, None),
                world.notify("now", None),
            ],
        )
        .await;
    assert_eq!(world.history("user:ada").await, entries(&["now"]));
    tokio::time::timeout(Duration::from_secs(10), world.store.waiting_stored())
        .await
        .unwrap();
    assert_eq!(release_until(&world, soon + 1).await, 2);
    assert_eq!(
        world.history("user:ada").await,
        entries(&["now", "first", "second"])
    );
    assert_eq!(
        world.heard().iter().map(line).collect::<Vec<_>>(),
        entries(&["now", "first", "second"])
    );
    assert_eq!(world.store.next_due_ms().await.unwrap(), Some(FAR_MS));
    world.effects(1, vec![world.notify("after", None)]).await;
    assert_eq!(
        world.history("user:ada").await.last(),
        Some(&(4, "after".to_owned()))
    );
}

#[tokio::test]
async fn what_becomes_visible_replaces_what_stood_before_it_and_only_that() {
    let world = World::new().await;
    let soon = now_ms() + 200;
    world
        .effects(
            0,
            vec![
                world.notify("old", Some("k")),
                world.notify("other", Some("l")),
            ],
        )
        .await;
    world
        .effects(1, vec![later(&world, "new", Some("k"), soon, None)])
        .await;
    release_until(&world, soon).await;
    let mut inbox = world.inbox(&["user:ada"]).await;
    inbox.sort();
    assert_eq!(inbox, ["new", "other"]);
    // And it can be taken back like any other.
    world.effects(2, vec![world.withdraw("gone", "k")]).await;
    assert_eq!(world.inbox(&["user:ada"]).await, ["other"]);
}

#[tokio::test]
async fn what_expired_while_nobody_released_is_put_aside_and_has_replaced_what_stood_before() {
    let world = World::new().await;
    let soon = now_ms() + 100;
    world.effects(0, vec![world.notify("old", Some("k"))]).await;
    world
        .effects(
            1,
            vec![later(&world, "late", Some("k"), soon, Some(soon + 1))],
        )
        .await;
    while now_ms() < soon + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.release_due().await.unwrap(), 0);
    assert_eq!(world.store.next_due_ms().await.unwrap(), None);
    assert_eq!(world.history("user:ada").await, entries(&["old"]));
    assert!(world.inbox(&["user:ada"]).await.is_empty());
}

#[tokio::test]
async fn many_that_are_due_at_once_become_visible_without_a_gap() {
    let world = World::new().await;
    let soon = now_ms() + 300;
    let effects = (0..1_200)
        .map(|n| {
            let event = format!("e{n}");
            let mut new = world.notification(&event);
            new.id = NotificationId::derive(n, &event, "one", "user:ada", "c", None, 0);
            new.deliver_at_ms = Some(soon);
            Effect::Notify(Box::new(new))
        })
        .collect();
    world.effects(0, effects).await;
    assert_eq!(release_until(&world, soon).await, 1_200);
    let expected: Vec<String> = (0..1_200).map(|n| format!("e{n}")).collect();
    assert_eq!(
        world.history("user:ada").await,
        entries(&expected.iter().map(String::as_str).collect::<Vec<_>>())
    );
}
