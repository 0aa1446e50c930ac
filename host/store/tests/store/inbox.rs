//! The inbox: newest first, paged, and quick on a long stream.

use carillon_store::{Effect, InboxCursor, NotificationId, Share};

use crate::world::{FAR_MS, THEN_MS, World, now_ms};

fn at(world: &World, event: &str, stream: &str, time_ms: i64) -> Effect {
    let mut new = world.notification(event);
    new.id = NotificationId::derive(time_ms, event, "one", stream, "bookings", None, 0);
    new.stream = stream.into();
    Effect::Notify(Box::new(new))
}

#[tokio::test]
async fn pages_over_several_streams_follow_each_other_newest_first_without_a_gap() {
    let world = World::new().await;
    let streams: Vec<String> = (0..50).map(|n| format!("group:g{n}")).collect();
    for group in 0..4_usize {
        let effects = (0..50)
            .map(|n| {
                at(
                    &world,
                    &format!("{group}-{n}"),
                    &streams[n * 7 % 25],
                    THEN_MS,
                )
            })
            .collect();
        world.effects(i32::try_from(group).unwrap(), effects).await;
        let committed = now_ms();
        while now_ms() == committed {
            tokio::task::yield_now().await;
        }
    }
    let mut seen = Vec::new();
    let mut before: Option<InboxCursor> = None;
    loop {
        let page = world.store.inbox(&streams, before, 33).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.cursor);
        seen.extend(page.into_iter().map(|item| item.notification));
    }
    assert_eq!(seen.len(), 200);
    let groups: Vec<&str> = seen.iter().map(|n| &n.event_id[..1]).collect();
    assert!(groups.is_sorted_by(|a, b| a >= b), "newest first");
    for stream in &streams[..25] {
        let offsets: Vec<u64> = seen
            .iter()
            .filter(|n| *n.stream == **stream)
            .map(|n| n.offset)
            .collect();
        assert_eq!(offsets, (1..=8).rev().collect::<Vec<_>>());
    }
    assert!(world.store.inbox(&[], None, 10).await.unwrap().is_empty());
    let twice = [streams[0].clone(), streams[0].clone()];
    assert_eq!(
        world.store.inbox(&twice, None, 1_000).await.unwrap().len(),
        8
    );
}

#[tokio::test]
async fn what_was_sent_later_for_an_older_event_stands_where_it_was_shown() {
    let world = World::new().await;
    let mut reminder = world.notification("reminder");
    let soon = now_ms() + 100;
    reminder.deliver_at_ms = Some(soon);
    let newer = at(&world, "newer", "user:ada", THEN_MS + 1_000);
    world
        .effects(0, vec![Effect::Notify(Box::new(reminder)), newer])
        .await;
    while now_ms() < soon {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.release_due().await.unwrap(), 1);
    assert_eq!(world.inbox(&["user:ada"]).await, ["reminder", "newer"]);
}

#[tokio::test]
async fn what_expires_leaves_the_inbox_by_itself() {
    let world = World::new().await;
    let expiring = |event: &str, at: i64| {
        let mut new = world.notification(event);
        new.expires_at_ms = Some(at);
        Effect::Notify(Box::new(new))
    };
    let soon = now_ms() + 300;
    world
        .effects(0, vec![expiring("soon", soon), expiring("never", FAR_MS)])
        .await;
    while now_ms() < soon {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.inbox(&["user:ada"]).await, ["never"]);
}

#[tokio::test]
async fn a_withdrawal_is_no_item_of_the_inbox() {
    let world = World::new().await;
    let share = Share {
        effects: vec![
            world.notify("a", Some("k")),
            world.withdraw("b", "k"),
            world.notify("c", None),
        ],
        ..world.share(0, None, 1)
    };
    world.commit_one(share).await.unwrap();
    assert_eq!(world.inbox(&["user:ada"]).await, ["c"]);
}
