//! Plugin state: as if the calls had run one after another.

use carillon_store::{Share, ShareError};

use crate::world::{THEN_MS, World};

fn writing(world: &World, partition: i32, base: i64, key: &str, value: Option<&[u8]>) -> Share {
    Share {
        state: vec![world.state(base, &[(key, value)])],
        ..world.share(partition, None, 1)
    }
}

#[tokio::test]
async fn shares_of_a_group_are_accepted_in_any_order_and_the_last_version_wins() {
    let world = World::new().await;
    let group = [
        writing(&world, 0, 2, "k", Some(b"third")),
        writing(&world, 1, 0, "k", Some(b"first")),
        writing(&world, 2, 1, "k", None),
    ];
    assert_eq!(world.store.commit(&group).await, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(world.value("k").await.as_deref(), Some(b"third".as_slice()));
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        3
    );
    assert_eq!(
        world.store.state_version(world.plugins[1]).await.unwrap(),
        0
    );
    assert_eq!(world.store.state_bytes(world.plugins[0]).await.unwrap(), 6);
}

#[tokio::test]
async fn a_share_that_falls_takes_with_it_all_that_was_computed_on_top_of_it() {
    let world = World::new().await;
    let mut fenced = writing(&world, 1, 1, "b", Some(b"2"));
    fenced.cursor.as_mut().unwrap().expected = Some(99);
    let group = [
        writing(&world, 0, 0, "a", Some(b"1")),
        fenced,
        writing(&world, 2, 2, "c", Some(b"3")),
        writing(&world, 3, 3, "d", Some(b"4")),
        world.share(4, None, 1),
    ];
    let results = world.store.commit(&group).await;
    assert_eq!(results[0], Ok(()));
    assert!(matches!(results[1], Err(ShareError::Fenced { .. })));
    assert_eq!(
        results[2..],
        [
            Err(ShareError::StateConflict),
            Err(ShareError::StateConflict),
            Ok(())
        ]
    );
    assert_eq!(world.head(2).await, None);
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        1
    );
    assert_eq!(world.value("c").await, None);
}

#[tokio::test]
async fn two_shares_that_started_from_the_same_version_do_not_both_stand() {
    let world = World::new().await;
    let group = [
        writing(&world, 0, 0, "n", Some(b"a")),
        writing(&world, 1, 0, "n", Some(b"b")),
    ];
    assert_eq!(
        world.store.commit(&group).await,
        [Ok(()), Err(ShareError::StateConflict)]
    );
    assert_eq!(world.value("n").await.as_deref(), Some(b"a".as_slice()));
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn a_share_from_an_older_or_a_later_version_is_refused() {
    let world = World::new().await;
    world
        .commit_one(writing(&world, 0, 0, "n", Some(b"a")))
        .await
        .unwrap();
    for base in [0, 2, -1] {
        let share = writing(&world, 1, base, "n", Some(b"b"));
        assert_eq!(
            world.commit_one(share).await,
            Err(ShareError::StateConflict)
        );
    }
}

#[tokio::test]
async fn shares_that_cross_over_two_plugins_are_written_together_even_beside_a_bad_one() {
    let world = World::new().await;
    let other = |mut share: Share, base| {
        let mut writes = share.state[0].clone();
        writes.plugin = world.plugins[1];
        writes.base_version = base;
        share.state.push(writes);
        share
    };
    let mut bad = world.share(2, None, 1);
    bad.decisions = vec![world.decision("same", THEN_MS)];
    let mut before = world.share(3, None, 1);
    before.decisions.clone_from(&bad.decisions);
    world.commit_one(before).await.unwrap();
    let group = [
        other(writing(&world, 0, 0, "k", Some(b"1")), 1),
        bad,
        other(writing(&world, 1, 1, "k", Some(b"2")), 0),
    ];
    let results = world.store.commit(&group).await;
    assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
    assert!(matches!(results[1], Err(ShareError::AlreadyDecided(_))));
    assert_eq!(world.value("k").await.as_deref(), Some(b"2".as_slice()));
}

#[tokio::test]
async fn empty_keys_and_values_are_values_too() {
    let world = World::new().await;
    world
        .commit_one(writing(&world, 0, 0, "", Some(b"")))
        .await
        .unwrap();
    assert_eq!(world.value("").await.as_deref(), Some(b"".as_slice()));
    world
        .commit_one(writing(&world, 1, 1, "", None))
        .await
        .unwrap();
    assert_eq!(world.value("").await, None);
}

#[tokio::test]
async fn expired_values_are_swept_once_every_cursor_has_passed_them() {
    let world = World::new().await;
    let mut share = writing(&world, 0, 0, "old", Some(b"1"));
    share.state[0].writes[0].expires_at_ms = Some(THEN_MS + 500);
    let mut kept = share.state[0].writes[0].clone();
    kept.key = "kept".to_owned();
    kept.expires_at_ms = None;
    share.state[0].writes.push(kept);
    world.commit_one(share).await.unwrap();
    world.commit_one(world.share(1, None, 1)).await.unwrap();

    let mut later = world.share(0, Some(1), 2);
    later.cursor.as_mut().unwrap().logged_at_ms = THEN_MS + 1_000;
    world.commit_one(later).await.unwrap();
    assert_eq!(
        world.store.sweep_expired_state().await.unwrap(),
        0,
        "partition 1 has not passed it"
    );

    // A cursor that stays where it is passes nothing, whatever time it tells.
    let mut stays = world.share(1, Some(1), 1);
    stays.cursor.as_mut().unwrap().logged_at_ms = THEN_MS + 1_000;
    world.commit_one(stays).await.unwrap();
    assert_eq!(world.store.sweep_expired_state().await.unwrap(), 0);

    // A lane that leaves the head may stand before the time of the head's last record.
    let mut leaves = world.share(1, Some(1), 3);
    leaves.cursor.as_mut().unwrap().logged_at_ms = THEN_MS + 1_000;
    leaves.detached = vec![carillon_store::Detached {
        plugin: world.plugins[0],
        next: 1,
        retry: None,
    }];
    world.commit_one(leaves).await.unwrap();
    assert_eq!(world.store.sweep_expired_state().await.unwrap(), 0);

    let mut joins = world.share(1, Some(1), 3);
    joins.cursor.as_mut().unwrap().lane = carillon_store::Lane::Plugin(world.plugins[0]);
    joins.cursor.as_mut().unwrap().logged_at_ms = THEN_MS + 1_000;
    world.commit_one(joins).await.unwrap();
    assert_eq!(world.store.sweep_expired_state().await.unwrap(), 1);
    assert_eq!(world.value("old").await, None);
    assert!(world.value("kept").await.is_some());
}
