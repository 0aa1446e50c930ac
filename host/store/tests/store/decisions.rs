//! Decisions, by which an event that comes twice is known again.

use carillon_store::{Share, ShareError, StoreConfig, event_key};

use crate::world::{FAR_MS, THEN_MS, World, now_ms};

const HOUR_MS: i64 = 3_600_000;

fn deciding(world: &World, partition: i32, event: &str, logged_at_ms: i64) -> Share {
    Share {
        decisions: vec![world.decision(event, logged_at_ms)],
        ..world.share(partition, None, 1)
    }
}

async fn known(world: &World, event: &str) -> bool {
    !world
        .store
        .decided(&[event_key(event)])
        .await
        .unwrap()
        .is_empty()
}

#[tokio::test]
async fn a_decision_is_found_again_as_it_was_stored() {
    let world = World::new().await;
    world
        .commit_one(deciding(&world, 0, "a", THEN_MS))
        .await
        .unwrap();
    let found = world
        .store
        .decided(&[event_key("a"), event_key("b"), event_key("a")])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    let past = &found[&event_key("a")][0];
    let stored = world.decision("a", THEN_MS);
    assert_eq!(
        (
            past.plugin,
            past.version,
            past.content_hash,
            past.outcome,
            past.logged_at_ms
        ),
        (
            stored.plugin,
            stored.version,
            stored.content_hash,
            stored.outcome,
            THEN_MS
        )
    );
    assert!(world.store.decided(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_is_decided_once_in_a_group_and_across_groups_and_hours() {
    let world = World::new().await;
    let results = world
        .store
        .commit(&[
            deciding(&world, 0, "a", THEN_MS),
            deciding(&world, 1, "a", THEN_MS),
            deciding(&world, 2, "a", THEN_MS + 2 * HOUR_MS),
            deciding(&world, 3, "b", THEN_MS),
        ])
        .await;
    let decided =
        |result: &Result<(), ShareError>| matches!(result, Err(ShareError::AlreadyDecided(_)));
    assert!(
        results[0].is_ok() && decided(&results[1]) && decided(&results[2]) && results[3].is_ok(),
        "{results:?}"
    );
    for logged_at_ms in [THEN_MS, THEN_MS + 3 * HOUR_MS] {
        assert!(decided(
            &world
                .commit_one(deciding(&world, 4, "a", logged_at_ms))
                .await
        ));
    }
    let mut other = deciding(&world, 5, "a", THEN_MS);
    other.decisions[0].plugin = world.plugins[1];
    world.commit_one(other).await.unwrap();
    assert_eq!(
        world.store.decided(&[event_key("a")]).await.unwrap()[&event_key("a")].len(),
        2
    );
}

#[tokio::test]
async fn decisions_of_an_hour_go_when_the_window_has_passed_it_and_the_event_may_be_decided_again()
{
    let world = World::with(StoreConfig {
        duplicate_window_hours: 2,
        ..StoreConfig::default()
    })
    .await;
    for hour in 0..5 {
        let partition = i32::try_from(hour).unwrap();
        world
            .commit_one(deciding(
                &world,
                partition,
                &format!("h{hour}"),
                THEN_MS + hour * HOUR_MS,
            ))
            .await
            .unwrap();
    }
    assert_eq!(world.store.drop_old_decisions().await.unwrap(), 2);
    assert_eq!(world.store.drop_old_decisions().await.unwrap(), 0);
    for (event, there) in [
        ("h0", false),
        ("h1", false),
        ("h2", true),
        ("h3", true),
        ("h4", true),
    ] {
        assert_eq!(known(&world, event).await, there, "{event}");
    }
    // Out of the window: it is not said to be decided, for nobody could find that decision.
    world
        .commit_one(deciding(&world, 9, "h0", THEN_MS + 4 * HOUR_MS))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_from_long_before_the_window_is_known_again_all_the_same() {
    let world = World::with(StoreConfig {
        duplicate_window_hours: 2,
        ..StoreConfig::default()
    })
    .await;
    world
        .commit_one(deciding(&world, 0, "new", THEN_MS))
        .await
        .unwrap();
    for (partition, logged_at_ms) in [(1, 0), (2, -1), (3, i64::MIN), (4, THEN_MS - 9 * HOUR_MS)] {
        let event = format!("old{partition}");
        world
            .commit_one(deciding(&world, partition, &event, logged_at_ms))
            .await
            .unwrap();
        assert!(known(&world, &event).await, "{logged_at_ms}");
    }
    assert_eq!(world.store.drop_old_decisions().await.unwrap(), 0);
}

#[tokio::test]
async fn a_clock_that_is_wrong_does_not_push_the_window_into_the_future() {
    let world = World::with(StoreConfig {
        duplicate_window_hours: 2,
        ..StoreConfig::default()
    })
    .await;
    world
        .commit_one(deciding(&world, 0, "now", now_ms()))
        .await
        .unwrap();
    for (partition, logged_at_ms) in [(1, FAR_MS), (2, i64::MAX)] {
        world
            .commit_one(deciding(
                &world,
                partition,
                &format!("f{partition}"),
                logged_at_ms,
            ))
            .await
            .unwrap();
    }
    world.store.drop_old_decisions().await.unwrap();
    assert!(known(&world, "now").await && known(&world, "f1").await && known(&world, "f2").await);
}

#[tokio::test]
async fn a_group_over_many_hours_makes_no_more_tables_than_the_window_has_hours() {
    let world = World::with(StoreConfig {
        duplicate_window_hours: 2,
        ..StoreConfig::default()
    })
    .await;
    let mut share = world.share(0, None, 1);
    share.decisions = (0..200)
        .map(|n| world.decision(&format!("e{n}"), THEN_MS + n * HOUR_MS))
        .collect();
    world.commit_one(share).await.unwrap();
    assert!(known(&world, "e0").await && known(&world, "e199").await);
    assert_eq!(world.store.drop_old_decisions().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_up_goes_on_while_hours_are_made_and_dropped() {
    let world = World::with(StoreConfig {
        duplicate_window_hours: 1,
        ..StoreConfig::default()
    })
    .await;
    let store = world.store.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        let mut looks = 0;
        while stopped.try_recv().is_err() {
            store.decided(&[event_key("e1")]).await.unwrap();
            looks += 1;
        }
        looks
    });
    for n in 0..40 {
        let partition = i32::try_from(n).unwrap();
        world
            .commit_one(deciding(
                &world,
                partition,
                &format!("e{n}"),
                THEN_MS + n * HOUR_MS,
            ))
            .await
            .unwrap();
        world.store.drop_old_decisions().await.unwrap();
    }
    stop.send(()).unwrap();
    assert!(reader.await.unwrap() > 0);
}

fn replaying(world: &World, event: &str, logged_at_ms: i64, actions: u32) -> Share {
    let mut decision = world.decision(event, logged_at_ms);
    decision.replaces = true;
    decision.actions = actions;
    Share {
        decisions: vec![decision],
        ..Share::without_cursor()
    }
}

async fn actions(world: &World, event: &str) -> Vec<u32> {
    let decisions = world.store.decisions_of(event_key(event)).await.unwrap();
    decisions.iter().map(|decision| decision.actions).collect()
}

#[tokio::test]
async fn a_replay_replaces_the_decision_and_moves_no_cursor() {
    let world = World::new().await;
    world
        .commit_one(deciding(&world, 0, "a", THEN_MS))
        .await
        .unwrap();
    let mut replay = replaying(&world, "a", THEN_MS, 5);
    replay.effects = vec![world.notify("a", None)];
    world.commit_one(replay.clone()).await.unwrap();
    world.commit_one(replay).await.unwrap();
    assert_eq!(actions(&world, "a").await, [5]);
    assert_eq!(world.head(0).await, Some(1));
    assert_eq!(world.history("user:ada").await.len(), 1);
    // What was never decided is decided by it.
    world
        .commit_one(replaying(&world, "new", THEN_MS, 2))
        .await
        .unwrap();
    assert_eq!(actions(&world, "new").await, [2]);
    assert!(matches!(
        world.commit_one(deciding(&world, 1, "new", THEN_MS)).await,
        Err(ShareError::AlreadyDecided(_))
    ));
}

#[tokio::test]
async fn replays_of_one_group_replace_each_other_and_a_lane_that_comes_after_them_gives_way() {
    let world = World::new().await;
    let group = [
        replaying(&world, "a", THEN_MS, 2),
        deciding(&world, 0, "a", THEN_MS),
        replaying(&world, "a", THEN_MS, 3),
        deciding(&world, 1, "b", THEN_MS),
        replaying(&world, "b", THEN_MS, 4),
    ];
    let results = world.store.commit(&group).await;
    assert!(matches!(results[1], Err(ShareError::AlreadyDecided(_))));
    for index in [0, 2, 3, 4] {
        assert_eq!(results[index], Ok(()), "{index}");
    }
    assert_eq!(actions(&world, "a").await, [3]);
    assert_eq!(actions(&world, "b").await, [4]);
}

#[tokio::test]
async fn a_replay_finds_the_decision_in_the_hour_where_it_stands() {
    let world = World::with(StoreConfig {
        duplicate_window_hours: 4,
        ..StoreConfig::default()
    })
    .await;
    // Stands in the oldest hour that there was a table for, not in its own.
    world
        .commit_one(deciding(&world, 0, "new", THEN_MS))
        .await
        .unwrap();
    world
        .commit_one(deciding(&world, 1, "old", THEN_MS - 9 * HOUR_MS))
        .await
        .unwrap();
    // The window moves on, so that it would stand in another hour now.
    world
        .commit_one(deciding(&world, 2, "newer", THEN_MS + 2 * HOUR_MS))
        .await
        .unwrap();
    world
        .commit_one(replaying(&world, "old", THEN_MS - 9 * HOUR_MS, 7))
        .await
        .unwrap();
    assert_eq!(actions(&world, "old").await, [7]);
    assert_eq!(actions(&world, "new").await, [1]);
    assert_eq!(actions(&world, "newer").await, [1]);
}
