//! Dead letters in the hands of operators: listed, settled, tried again, purged.

use carillon_store::{
    DeadLetter, DeadLetterFilter, DeadLetterRow, PluginId, Share, Source, VersionId,
};

use crate::world::{THEN_MS, World};

async fn store(world: &World, letters: Vec<DeadLetter>) {
    let share = Share {
        dead_letters: letters,
        ..Share::without_cursor()
    };
    world.commit_one(share).await.unwrap();
}

/// Six letters: of both plugins and of intake, with two codes, on two topics.
async fn mixed() -> World {
    let world = World::new().await;
    let other = world
        .store
        .log("cluster", "user-events", THEN_MS)
        .await
        .unwrap();
    let [one, two] = world.plugins;
    let letters = (1..)
        .zip([
            (PluginId::NONE, "not-json", world.log),
            (one, "trap", world.log),
            (one, "rejected", world.log),
            (one, "trap", other),
            (two, "trap", world.log),
            (two, "rejected", other),
        ])
        .map(|(offset, (plugin, code, log))| DeadLetter {
            plugin,
            code: code.to_owned(),
            event_id: Some(format!("event-{}", offset / 2)),
            source: Source {
                log,
                ..world.source(offset)
            },
            ..world.dead_letter(offset, b"{}".to_vec())
        });
    store(&world, letters.collect()).await;
    world
}

fn filter(plugin: Option<PluginId>, code: Option<&str>, topic: Option<&str>) -> DeadLetterFilter {
    DeadLetterFilter {
        plugin,
        code: code.map(str::to_owned),
        topic: topic.map(str::to_owned),
    }
}

/// The offsets of the letters that a filter means.
async fn listed(world: &World, filter: &DeadLetterFilter) -> Vec<i64> {
    let letters = world.store.dead_letters(filter, None, 100).await.unwrap();
    letters
        .iter()
        .map(|stored| stored.letter.source.offset)
        .collect()
}

async fn all(world: &World) -> Vec<i64> {
    listed(world, &DeadLetterFilter::default()).await
}

async fn row_of(world: &World, offset: i64) -> DeadLetterRow {
    let filter = DeadLetterFilter::default();
    let letters = world.store.dead_letters(&filter, None, 100).await.unwrap();
    letters
        .iter()
        .find(|stored| stored.letter.source.offset == offset)
        .unwrap()
        .row
}

#[tokio::test]
async fn letters_are_listed_newest_first_by_plugin_code_and_topic() {
    let world = mixed().await;
    let [one, two] = world.plugins;
    for (wanted, offsets) in [
        (filter(None, None, None), vec![6, 5, 4, 3, 2, 1]),
        (filter(Some(PluginId::NONE), None, None), vec![1]),
        (filter(Some(one), None, None), vec![4, 3, 2]),
        (filter(None, Some("trap"), None), vec![5, 4, 2]),
        (filter(None, None, Some("user-events")), vec![6, 4]),
        (filter(Some(two), Some("rejected"), None), vec![6]),
        (
            filter(Some(one), Some("trap"), Some("user-events")),
            vec![4],
        ),
        (filter(None, Some("nothing"), None), vec![]),
        (filter(None, None, Some("nothing")), vec![]),
    ] {
        assert_eq!(listed(&world, &wanted).await, offsets, "{wanted:?}");
        assert_eq!(
            world.store.count_dead_letters(&wanted).await.unwrap(),
            offsets.len() as u64,
            "{wanted:?}"
        );
    }
}

#[tokio::test]
async fn letters_come_in_pages_and_large_ones_a_few_at_a_time() {
    let world = World::new().await;
    let sizes: [usize; 5] = [1, 9 << 20, 3 << 20, 3 << 20, 3 << 20];
    let letters = (0..)
        .zip(sizes)
        .map(|(n, size)| world.dead_letter(n, vec![7; size]));
    store(&world, letters.collect()).await;
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let filter = DeadLetterFilter::default();
        let page = world.store.dead_letters(&filter, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.row);
        pages.push(
            page.iter()
                .map(|stored| stored.letter.source.offset)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(pages, [vec![4, 3], vec![2], vec![1], vec![0]]);
}

#[tokio::test]
async fn letters_are_found_by_their_numbers_and_by_their_event() {
    let world = mixed().await;
    let (second, fifth) = (row_of(&world, 2).await, row_of(&world, 5).await);
    let letters = world
        .store
        .dead_letters_by_row(&[fifth, DeadLetterRow(999), second, fifth])
        .await
        .unwrap();
    let rows: Vec<DeadLetterRow> = letters.iter().map(|stored| stored.row).collect();
    assert_eq!(rows, [second, fifth]);
    let offsets = async |event| {
        let letters = world.store.dead_letters_of_event(event).await.unwrap();
        letters
            .iter()
            .map(|stored| stored.letter.source.offset)
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets("event-1").await, [2, 3]);
    assert!(offsets("event-9").await.is_empty());
}

#[tokio::test]
async fn a_letter_is_settled_with_the_share_that_deals_with_it_or_not_at_all() {
    let world = mixed().await;
    let (second, third) = (row_of(&world, 2).await, row_of(&world, 3).await);
    let fenced = Share {
        settled: vec![second],
        ..world.share(0, Some(99), 100)
    };
    let settles = Share {
        settled: vec![third, DeadLetterRow(999)],
        effects: vec![world.notify("a", None)],
        ..Share::without_cursor()
    };
    let results = world.store.commit(&[fenced, settles]).await;
    assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    assert_eq!(all(&world).await, [6, 5, 4, 2, 1]);
    assert_eq!(world.history("user:ada").await.len(), 1);
}

#[tokio::test]
async fn a_letter_that_is_settled_by_a_share_which_fails_on_the_record_again_is_there_again() {
    let world = mixed().await;
    let second = row_of(&world, 2).await;
    let mut letter = world
        .store
        .dead_letters_by_row(&[second])
        .await
        .unwrap()
        .remove(0)
        .letter;
    letter.reason = "it fails in another way".to_owned();
    let share = Share {
        settled: vec![second],
        dead_letters: vec![letter],
        ..Share::without_cursor()
    };
    world.commit_one(share).await.unwrap();
    let again = row_of(&world, 2).await;
    assert!(again > second);
    let stored = world.store.dead_letters_by_row(&[again]).await.unwrap();
    assert_eq!(stored[0].letter.reason, "it fails in another way");
}

#[tokio::test]
async fn the_number_of_a_letter_never_comes_again() {
    let world = World::new().await;
    store(&world, vec![world.dead_letter(1, Vec::new())]).await;
    let first = row_of(&world, 1).await;
    assert_eq!(world.store.purge_dead_letters(&[first]).await.unwrap(), 1);
    store(&world, vec![world.dead_letter(2, Vec::new())]).await;
    assert!(row_of(&world, 2).await > first);
    assert_eq!(world.store.purge_dead_letters(&[first]).await.unwrap(), 0);
    assert_eq!(all(&world).await, [2]);
}

#[tokio::test]
async fn purging_takes_what_the_filter_means_and_no_other() {
    let world = mixed().await;
    let traps = filter(None, Some("trap"), Some("booking-events"));
    assert_eq!(
        world.store.purge_dead_letters_where(&traps).await.unwrap(),
        2
    );
    assert_eq!(all(&world).await, [6, 4, 3, 1]);
    assert_eq!(
        world.store.purge_dead_letters_where(&traps).await.unwrap(),
        0
    );
    // What was not copied to the topic yet is not copied any more.
    assert_eq!(world.store.dead_letters_to_relay(9).await.unwrap().len(), 4);
    let rows = [row_of(&world, 6).await, DeadLetterRow(999)];
    assert_eq!(world.store.purge_dead_letters(&rows).await.unwrap(), 1);
    assert_eq!(
        world
            .store
            .purge_dead_letters_where(&DeadLetterFilter::default())
            .await
            .unwrap(),
        3
    );
    assert!(all(&world).await.is_empty());
}

#[tokio::test]
async fn purging_goes_on_beyond_what_one_transaction_takes() {
    let world = World::new().await;
    let letters = (0..1_203).map(|offset| world.dead_letter(offset, Vec::new()));
    store(&world, letters.collect()).await;
    let kept = DeadLetter {
        code: "trap".to_owned(),
        ..world.dead_letter(5_000, Vec::new())
    };
    store(&world, vec![kept]).await;
    let wanted = filter(None, Some("not-json"), None);
    assert_eq!(
        world.store.purge_dead_letters_where(&wanted).await.unwrap(),
        1_203
    );
    assert_eq!(all(&world).await, [5_000]);
}

#[tokio::test]
async fn a_letter_that_fails_again_tells_the_newest_reason() {
    let world = mixed().await;
    let second = row_of(&world, 2).await;
    let version = VersionId(5);
    let noted = world
        .store
        .dead_letter_failed_again(second, version, "rejected", "no such room", 7)
        .await
        .unwrap();
    assert!(noted);
    let stored = world
        .store
        .dead_letters_by_row(&[second])
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (
            stored.letter.version,
            stored.letter.code.as_str(),
            stored.letter.reason.as_str(),
            stored.letter.attempts,
            stored.letter.value.as_deref(),
        ),
        (
            version,
            "rejected",
            "no such room",
            7,
            Some(b"{}".as_slice())
        )
    );
    world.store.purge_dead_letters(&[second]).await.unwrap();
    let noted = world
        .store
        .dead_letter_failed_again(second, version, "rejected", "no such room", 8)
        .await
        .unwrap();
    assert!(!noted);
}
