//! What a restart finds.

use std::path::Path;

use carillon_store::{ShareError, Store, StoreConfig, StoreError, event_key};

use crate::world::{FAR_MS, THEN_MS, World, entries};

async fn reopen(folder: &Path) -> World {
    World::at(folder, StoreConfig::default()).await
}

#[tokio::test]
async fn everything_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = reopen(folder.path()).await;
    let mut share = world.share_with(
        0,
        vec![world.notify("a", Some("k")), world.notify("b", None)],
    );
    share.decisions = vec![world.decision("a", THEN_MS)];
    share.state = vec![world.state(0, &[("k", Some(b"v"))])];
    share.dead_letters = vec![world.dead_letter(1, b"?".to_vec())];
    world.commit_one(share).await.unwrap();
    let (epoch, log, plugins) = (world.store.epoch(), world.log, world.plugins);
    drop(world);

    let world = reopen(folder.path()).await;
    assert_eq!(
        (world.store.epoch(), world.log, world.plugins),
        (epoch, log, plugins)
    );
    assert_eq!(world.head(0).await, Some(1));
    assert_eq!(world.history("user:ada").await, entries(&["a", "b"]));
    assert_eq!(world.value("k").await.as_deref(), Some(b"v".as_slice()));
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        1
    );
    assert_eq!(world.store.dead_letters_to_relay(9).await.unwrap().len(), 1);
    assert_eq!(
        world.store.decided(&[event_key("a")]).await.unwrap().len(),
        1
    );
    let names: Vec<String> = world
        .store
        .known_plugins()
        .into_iter()
        .map(|(_, name)| name.to_string())
        .collect();
    assert!(names.contains(&"one".to_owned()) && names.contains(&"two".to_owned()));

    let mut again = world.share_with(1, vec![world.withdraw("c", "k"), world.notify("d", None)]);
    again.state = vec![world.state(1, &[("k", None)])];
    world.commit_one(again).await.unwrap();
    assert_eq!(
        world.history("user:ada").await,
        entries(&["a", "b", "-c", "d"])
    );
    let mut repeat = world.share(2, None, 1);
    repeat.decisions = vec![world.decision("a", THEN_MS)];
    assert!(matches!(
        world.commit_one(repeat).await,
        Err(ShareError::AlreadyDecided(_))
    ));
}

#[tokio::test]
async fn what_waited_still_waits() {
    let folder = tempfile::tempdir().unwrap();
    let world = reopen(folder.path()).await;
    let mut new = world.notification("later");
    new.deliver_at_ms = Some(FAR_MS);
    world
        .effects(0, vec![carillon_store::Effect::Notify(Box::new(new))])
        .await;
    drop(world);
    let world = reopen(folder.path()).await;
    assert_eq!(world.store.next_due_ms().await.unwrap(), Some(FAR_MS));
    assert_eq!(world.store.release_due().await.unwrap(), 0);
}

#[tokio::test]
async fn migrations_run_as_often_as_one_likes() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let world = reopen(folder.path()).await;
        world
            .commit_one(world.share(0, (round > 0).then_some(round), round + 1))
            .await
            .unwrap();
    }
    // And while another one has it open.
    let (one, two) = (reopen(folder.path()).await, reopen(folder.path()).await);
    assert_eq!(one.store.epoch(), two.store.epoch());
    one.commit_one(one.share(0, Some(4), 5)).await.unwrap();
    assert_eq!(
        two.commit_one(two.share(0, Some(4), 6)).await,
        Err(ShareError::Fenced {
            expected: 4,
            found: Some(5)
        })
    );
}

#[tokio::test]
async fn two_databases_have_two_epochs() {
    let (one, two) = (World::new().await, World::new().await);
    assert_ne!(one.store.epoch(), two.store.epoch());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("carillon.db"),
        "this is not a database, and long enough to tell",
    )
    .unwrap();
    let error = Store::open(folder.path(), StoreConfig::default())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("carillon.db"), "{error}");
}
