//! Compare-and-set of cursors, lanes that leave the head and join it.

use carillon_store::{Cursor, Detached, Lane, RetryState, ShareError};

use crate::world::World;

#[tokio::test]
async fn a_cursor_moves_only_from_where_the_share_expects_it() {
    let world = World::new().await;
    world.commit_one(world.share(0, None, 5)).await.unwrap();
    let fenced = |expected, found| Err(ShareError::Fenced { expected, found });
    assert_eq!(
        world.commit_one(world.share(0, None, 6)).await,
        fenced(-1, Some(5))
    );
    assert_eq!(
        world.commit_one(world.share(0, Some(4), 6)).await,
        fenced(4, Some(5))
    );
    assert_eq!(
        world.commit_one(world.share(1, Some(4), 6)).await,
        fenced(4, None)
    );
    world.commit_one(world.share(0, Some(5), 6)).await.unwrap();
    assert_eq!(world.head(0).await, Some(6));
    assert!(world.store.log_has_cursors(world.log).await.unwrap());
}

#[tokio::test]
async fn a_fenced_share_leaves_nothing_behind_and_its_group_stands() {
    let world = World::new().await;
    world.commit_one(world.share(0, None, 5)).await.unwrap();
    let mut fenced = world.share(0, Some(3), 9);
    fenced.effects = vec![world.notify("late", None)];
    fenced.decisions = vec![world.decision("late", crate::world::THEN_MS)];
    fenced.state = vec![world.state(0, &[("late", Some(b"1"))])];
    fenced.dead_letters = vec![world.dead_letter(3, Vec::new())];
    let good = world.share_with(1, vec![world.notify("good", None)]);
    let results = world.store.commit(&[fenced, good]).await;
    assert_eq!(
        results,
        [
            Err(ShareError::Fenced {
                expected: 3,
                found: Some(5)
            }),
            Ok(())
        ]
    );
    assert_eq!(world.history("user:ada").await, [(1, "good".to_owned())]);
    assert_eq!(world.value("late").await, None);
    assert!(
        world
            .store
            .dead_letters_to_relay(9)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        world
            .store
            .decided(&[carillon_store::event_key("late")])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn of_two_shares_of_a_group_that_move_one_cursor_only_one_stands_unless_they_follow_on_each_other()
 {
    let world = World::new().await;
    let results = world
        .store
        .commit(&[world.share(0, None, 5), world.share(0, None, 7)])
        .await;
    assert_eq!(
        results,
        [
            Ok(()),
            Err(ShareError::Fenced {
                expected: -1,
                found: Some(5)
            })
        ]
    );
    let results = world
        .store
        .commit(&[world.share(0, Some(5), 6), world.share(0, Some(6), 9)])
        .await;
    assert_eq!(results, [Ok(()), Ok(())]);
    assert_eq!(world.head(0).await, Some(9));
}

#[tokio::test]
async fn a_lane_leaves_the_head_keeps_its_faults_goes_on_and_joins_again() {
    let world = World::new().await;
    let plugin = world.plugins[0];
    let retry = Some(RetryState {
        attempts: 2,
        retry_at_ms: 77,
        last_error: "it trapped".to_owned(),
    });
    let mut leaves = world.share(0, None, 10);
    leaves.detached = vec![Detached {
        plugin,
        next: 4,
        retry: retry.clone(),
    }];
    world.commit_one(leaves.clone()).await.unwrap();
    let cursors = world.store.cursors(world.log, 0).await.unwrap();
    assert_eq!(
        (cursors.head, cursors.own),
        (Some(10), vec![(plugin, Cursor { next: 4, retry })])
    );

    // It cannot leave twice, nor join where it does not stand.
    leaves.cursor.as_mut().unwrap().expected = Some(10);
    assert!(matches!(
        world.commit_one(leaves).await,
        Err(ShareError::Fenced { .. })
    ));
    let mut joins = world.share(0, Some(10), 12);
    joins.joined = vec![plugin];
    assert_eq!(
        world.commit_one(joins.clone()).await,
        Err(ShareError::Fenced {
            expected: 10,
            found: Some(4)
        })
    );

    let mut catches_up = world.share(0, Some(4), 10);
    catches_up.cursor.as_mut().unwrap().lane = Lane::Plugin(plugin);
    let results = world.store.commit(&[catches_up, joins]).await;
    assert_eq!(results, [Ok(()), Ok(())]);
    let cursors = world.store.cursors(world.log, 0).await.unwrap();
    assert_eq!((cursors.head, cursors.own), (Some(12), Vec::new()));
}

#[tokio::test]
async fn the_cursors_of_ended_logs_are_forgotten_and_others_are_not() {
    let world = World::new().await;
    let mut of = Vec::new();
    for cluster in ["embedded-1", "embedded-2"] {
        let log = world.store.log(cluster, "booking-events", 1).await.unwrap();
        let mut share = world.share(0, None, 1);
        share.cursor.as_mut().unwrap().log = log;
        world.commit_one(share).await.unwrap();
        of.push(log);
    }
    world.commit_one(world.share(0, None, 1)).await.unwrap();
    assert_eq!(
        world
            .store
            .forget_ended_logs("embedded-", "embedded-2")
            .await
            .unwrap(),
        1
    );
    assert!(!world.store.log_has_cursors(of[0]).await.unwrap());
    assert!(world.store.log_has_cursors(of[1]).await.unwrap());
    assert!(world.store.log_has_cursors(world.log).await.unwrap());
}
