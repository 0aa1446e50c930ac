//! Streams are bounded, and say what they have lost.

use carillon_store::StoreConfig;

use crate::world::World;

async fn trimmed(keep: u32, sent: u64) -> (World, Vec<u64>, u64) {
    let world = World::with(StoreConfig {
        history_per_stream: keep,
        ..StoreConfig::default()
    })
    .await;
    world
        .effects(
            0,
            (1..=sent)
                .map(|n| world.notify(&format!("e{n}"), None))
                .collect(),
        )
        .await;
    world.store.trim_streams().await.unwrap();
    let offsets = world
        .history("user:ada")
        .await
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    let head = world.store.stream_head("user:ada").await.unwrap();
    assert_eq!(head.offset, sent);
    (world, offsets, head.trimmed_through)
}

#[tokio::test]
async fn the_newest_entries_stay_and_the_mark_tells_which_are_gone() {
    let (world, offsets, through) = trimmed(10, 50).await;
    assert_eq!((offsets, through), ((41..=50).collect(), 40));
    world.effects(1, vec![world.notify("next", None)]).await;
    assert_eq!(
        world.history("user:ada").await.last(),
        Some(&(51, "next".to_owned()))
    );
}

#[tokio::test]
async fn a_stream_that_is_hardly_longer_than_configured_is_left_alone() {
    let (_, offsets, through) = trimmed(10, 11).await;
    assert_eq!((offsets.len(), through), (11, 0));
}

#[tokio::test]
async fn a_long_stream_is_trimmed_in_several_transactions() {
    let (world, offsets, through) = trimmed(100, 4_700).await;
    assert_eq!((offsets, through), ((4_601..=4_700).collect(), 4_600));
    assert_eq!(world.store.trim_streams().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_while_a_stream_is_trimmed_can_tell_what_is_missing() {
    let world = World::with(StoreConfig {
        history_per_stream: 10,
        ..StoreConfig::default()
    })
    .await;
    let store = world.store.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        let mut looks = 0;
        while stopped.try_recv().is_err() {
            let entries = store.history("user:ada", 0, u32::MAX).await.unwrap();
            let after = store.stream_head("user:ada").await.unwrap();
            let first = entries.first().map_or(1, |entry| entry.offset);
            assert!(
                first <= after.trimmed_through + 1,
                "what is gone is marked: {first} {after:?}"
            );
            for pair in entries.windows(2) {
                assert_eq!(pair[0].offset + 1, pair[1].offset, "no gap within");
            }
            looks += 1;
        }
        looks
    });
    for partition in 0..40 {
        world
            .effects(
                partition,
                (0..30)
                    .map(|n| world.notify(&format!("e{partition}-{n}"), None))
                    .collect(),
            )
            .await;
        world.store.trim_streams().await.unwrap();
    }
    stop.send(()).unwrap();
    assert!(reader.await.unwrap() > 0);
}
