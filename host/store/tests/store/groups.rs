//! A group is one transaction, and a bad share does not stop the others.

use carillon_store::{Effect, Share, ShareError};

use crate::world::{THEN_MS, World, entries};

#[tokio::test]
async fn an_empty_group_is_nothing() {
    assert!(World::new().await.store.commit(&[]).await.is_empty());
}

#[tokio::test]
async fn one_bad_share_does_not_stop_the_others_wherever_it_stands() {
    for bad in [0, 3, 6] {
        let world = World::new().await;
        let group: Vec<Share> = (0..7)
            .map(|partition| {
                let mut share = world.share_with(
                    partition,
                    vec![world.notify(&format!("e{partition}"), None)],
                );
                // Each follows on the one before, in the reverse order of the group.
                share.state = vec![world.state(i64::from(6 - partition), &[("k", Some(b"v"))])];
                if partition == bad {
                    share.state.clear();
                    // SQLite keeps no value of more than 10^9 bytes.
                    share.dead_letters = vec![world.dead_letter(1, vec![0; 1_000_000_001])];
                }
                if partition < bad {
                    share.state[0].base_version -= 1;
                }
                share
            })
            .collect();
        let results = world.store.commit(&group).await;
        for (partition, result) in results.iter().enumerate() {
            if i32::try_from(partition).unwrap() == bad {
                assert!(matches!(result, Err(ShareError::Refused(_))), "{result:?}");
            } else {
                assert_eq!(result, &Ok(()), "share {partition} beside bad share {bad}");
            }
        }
        assert_eq!(
            world.store.state_version(world.plugins[0]).await.unwrap(),
            6
        );
        let offsets: Vec<u64> = world
            .history("user:ada")
            .await
            .into_iter()
            .map(|(offset, _)| offset)
            .collect();
        assert_eq!(offsets, [1, 2, 3, 4, 5, 6]);
        assert_eq!(world.head(bad).await, None);
        let heard: Vec<u64> = world
            .heard()
            .iter()
            .map(|publication| publication.offset)
            .collect();
        assert_eq!(heard, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn the_store_works_on_after_a_refusal() {
    let world = World::new().await;
    let mut share = world.share(0, None, 1);
    share.dead_letters = vec![world.dead_letter(1, vec![0; 1_000_000_001])];
    assert!(matches!(
        world.commit_one(share).await,
        Err(ShareError::Refused(_))
    ));
    world.commit_one(world.share(0, None, 1)).await.unwrap();
    assert_eq!(world.head(0).await, Some(1));
}

#[tokio::test]
async fn a_group_larger_than_any_statement_is_written_whole() {
    let world = World::new().await;
    let shares: Vec<Share> = (0..300)
        .map(|partition| {
            let mut share = world.share(partition, None, 5);
            for n in 0..5 {
                let event = format!("e{partition}-{n}");
                share
                    .effects
                    .push(world.notify(&event, Some(&format!("k{n}"))));
                share.decisions.push(world.decision(&event, THEN_MS));
            }
            share
        })
        .collect();
    let results = world.store.commit(&shares).await;
    assert!(results.iter().all(Result::is_ok));
    let offsets: Vec<u64> = world
        .history("user:ada")
        .await
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, (1..=1_500).collect::<Vec<_>>());
    assert_eq!(world.inbox(&["user:ada"]).await.len(), 5);
}

#[tokio::test]
async fn a_commit_that_is_dropped_leaves_all_or_nothing_and_what_stands_is_told() {
    let world = World::new().await;
    let mut next = None;
    for round in 0..60_u32 {
        let expected = next;
        let to = expected.unwrap_or(0) + 1;
        let mut share = world.share(0, expected, to);
        share.effects = vec![world.notify(&format!("e{to}"), None)];
        let group = [share];
        let mut commit = Box::pin(world.store.commit(&group));
        // Polled a few times and dropped wherever that is.
        for _ in 0..round {
            if std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx)))
                .await
                .is_ready()
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // Waits until the writer is free: what was on its way is written or not.
        world
            .store
            .log("cluster", "booking-events", THEN_MS)
            .await
            .unwrap();
        next = world.head(0).await;
        assert!(next == expected || next == Some(to), "{next:?}");
    }
    let stored = world.history("user:ada").await;
    let expected: Vec<String> = (1..=next.unwrap_or(0)).map(|n| format!("e{n}")).collect();
    assert_eq!(
        stored,
        entries(&expected.iter().map(String::as_str).collect::<Vec<_>>())
    );
    assert_eq!(
        world
            .heard()
            .iter()
            .map(crate::world::line)
            .collect::<Vec<_>>(),
        stored
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_at_the_same_time_are_heard_in_the_order_of_offsets() {
    let world = World::new().await;
    let mut writers = tokio::task::JoinSet::new();
    for partition in 0..8 {
        let store = world.store.clone();
        let shares: Vec<Share> = (0..20)
            .map(|n| {
                let mut share = world.share(partition, (n > 0).then_some(n), n + 1);
                share.effects = vec![world.notify(&format!("p{partition}-{n}"), None)];
                share
            })
            .collect();
        writers.spawn(async move {
            for share in shares {
                store.commit(&[share]).await.remove(0).unwrap();
            }
        });
    }
    writers.join_all().await;
    let heard: Vec<u64> = world
        .heard()
        .iter()
        .map(|publication| publication.offset)
        .collect();
    assert_eq!(heard, (1..=160).collect::<Vec<_>>());
    let stored = world.history("user:ada").await;
    for partition in 0..8 {
        let own = format!("p{partition}-");
        let order: Vec<String> = stored
            .iter()
            .filter_map(|(_, event)| event.strip_prefix(&own).map(str::to_owned))
            .collect();
        assert_eq!(order, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn effects_of_a_share_keep_their_order_in_the_stream() {
    let world = World::new().await;
    let effects: Vec<Effect> = (0..40)
        .map(|n| world.notify(&format!("e{n}"), None))
        .collect();
    world.effects(0, effects).await;
    let order: Vec<String> = world
        .history("user:ada")
        .await
        .into_iter()
        .map(|(_, event)| event)
        .collect();
    assert_eq!(order, (0..40).map(|n| format!("e{n}")).collect::<Vec<_>>());
}
