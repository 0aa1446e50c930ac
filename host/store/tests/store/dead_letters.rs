//! Dead letters: kept whole, once each, until they are relayed.

use carillon_store::DeadLetterRow;

use crate::world::World;

#[tokio::test]
async fn a_dead_letter_comes_back_whole_until_it_was_relayed() {
    let world = World::new().await;
    let mut share = world.share(0, None, 3);
    share.dead_letters = vec![
        world.dead_letter(1, vec![0, 159, 146, 150]),
        world.dead_letter(2, b"{".to_vec()),
    ];
    share.dead_letters[1].plugin = world.plugins[0];
    share.dead_letters[1].key = None;
    world.commit_one(share.clone()).await.unwrap();
    let waiting = world.store.dead_letters_to_relay(10).await.unwrap();
    assert_eq!(waiting.len(), 2);
    let first = &waiting[0];
    assert_eq!(first.letter.value, share.dead_letters[0].value);
    assert_eq!(first.letter.headers, share.dead_letters[0].headers);
    assert_eq!(
        (&*first.plugin_name, &*waiting[1].plugin_name),
        ("intake", "one")
    );
    assert_eq!(
        (first.topic.as_str(), first.cluster.as_str()),
        ("booking-events", "cluster")
    );
    world
        .store
        .dead_letters_relayed(&[first.row], 5)
        .await
        .unwrap();
    let waiting = world.store.dead_letters_to_relay(10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].letter.key, None);
    tokio::time::timeout(
        std::time::Duration::from_secs(10),
        world.store.dead_letter_stored(),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn the_same_record_of_the_same_lane_is_one_dead_letter() {
    let world = World::new().await;
    for partition in 0..2 {
        let mut share = world.share(partition, None, 1);
        share.dead_letters = vec![world.dead_letter(7, Vec::new())];
        world.commit_one(share).await.unwrap();
    }
    assert_eq!(
        world.store.dead_letters_to_relay(10).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn large_dead_letters_are_read_a_few_at_a_time_and_none_is_left_out() {
    let world = World::new().await;
    let mut share = world.share(0, None, 1);
    let sizes: [usize; 5] = [1, 9 << 20, 3 << 20, 3 << 20, 3 << 20];
    share.dead_letters = (0..)
        .zip(sizes)
        .map(|(n, size)| world.dead_letter(n, vec![7; size]))
        .collect();
    world.commit_one(share).await.unwrap();
    let mut turns = Vec::new();
    loop {
        let letters = world.store.dead_letters_to_relay(100).await.unwrap();
        if letters.is_empty() {
            break;
        }
        let rows: Vec<DeadLetterRow> = letters.iter().map(|letter| letter.row).collect();
        world.store.dead_letters_relayed(&rows, 1).await.unwrap();
        turns.push(rows.len());
    }
    assert_eq!(turns, [1, 1, 2, 1]);
}
