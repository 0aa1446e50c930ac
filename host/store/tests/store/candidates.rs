//! A candidate beside the active version: begun, ended, and what goes with it.

use carillon_store::{
    Candidate, LoadAction, NewLoad, PluginId, ShareError, StateWrites, StoreConfig, StoreError,
    TrialMode,
};

use crate::world::{THEN_MS, World};

const CANARY: TrialMode = TrialMode::Canary { percent: 10 };

async fn installed() -> World {
    let world = World::new().await;
    let load = world.load("1.0.0", "aa", THEN_MS);
    world
        .store
        .record_load(world.plugins[0], load, &[])
        .await
        .unwrap();
    world
}

async fn try_beside(world: &World, sha256: &str, mode: TrialMode) -> Candidate {
    let load = world.load("2.0.0", sha256, THEN_MS + 1);
    world
        .store
        .record_candidate(world.plugins[0], load, mode, Some(5))
        .await
        .unwrap()
}

async fn candidate(world: &World) -> Option<Candidate> {
    let install = world.store.install("one").await.unwrap().unwrap();
    install.candidate
}

/// Writes a value to the state of a plugin, on a partition of its own.
async fn remember(world: &World, plugin: PluginId, base: i64, key: &str, partition: i32) {
    let mut share = world.share(partition, None, 1);
    share.state = vec![StateWrites {
        plugin,
        ..world.state(base, &[(key, Some(b"v"))])
    }];
    world.commit_one(share).await.unwrap();
}

#[tokio::test]
async fn a_canary_runs_as_the_plugin_itself_and_does_not_replace_what_runs() {
    let world = installed().await;
    let begun = try_beside(&world, "bb", CANARY).await;
    assert_eq!(begun.plugin, world.plugins[0]);
    assert_eq!((begun.abort_after, begun.since_ms), (Some(5), THEN_MS + 1));
    let install = world.store.install("one").await.unwrap().unwrap();
    assert_eq!(install.load.sha256, "aa");
    assert_eq!(install.candidate, Some(begun.clone()));
    assert_eq!(world.store.installs().await.unwrap(), [install]);
    assert_eq!(begun.load.sha256, "bb");
    assert!(world.store.binary("bb").await.unwrap().is_some());
}

#[tokio::test]
async fn a_shadow_is_a_plugin_of_its_own_with_a_copy_of_the_state_and_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let plugin = world.plugins[0];
    let load = world.load("1.0.0", "aa", THEN_MS);
    let places = [world.place(0, 7)];
    world
        .store
        .record_load(plugin, load, &places)
        .await
        .unwrap();
    remember(&world, plugin, 0, "before", 3).await;
    let begun = try_beside(&world, "bb", TrialMode::Shadow).await;
    assert_ne!(begun.plugin, plugin);
    assert_eq!(world.known(), ["one", "one@shadow", "two"]);
    assert_eq!(world.own(0).await, [(plugin, 7)]);
    remember(&world, plugin, 1, "after", 4).await;
    drop(world);

    let world = World::at(folder.path(), StoreConfig::default()).await;
    assert_eq!(candidate(&world).await, Some(begun.clone()));
    assert_eq!(world.known(), ["one", "one@shadow", "two"]);
    let value = async |key| {
        let snapshot = world.store.state_value(begun.plugin, key).await.unwrap();
        snapshot.value
    };
    assert_eq!(value("before").await, Some((b"v".to_vec(), None)));
    assert_eq!(value("after").await, None);
}

#[tokio::test]
async fn the_end_of_a_shadow_takes_its_cursors_and_state_and_nothing_of_the_plugin() {
    let world = installed().await;
    let plugin = world.plugins[0];
    remember(&world, plugin, 0, "k", 3).await;
    let begun = try_beside(&world, "bb", TrialMode::Shadow).await;
    let mut leaves = world.share(0, None, 9);
    leaves.detached = vec![carillon_store::Detached {
        plugin: begun.plugin,
        next: 4,
        retry: None,
    }];
    world.commit_one(leaves).await.unwrap();
    assert_eq!(world.own(0).await, [(begun.plugin, 4)]);

    let base = world.store.state_version(begun.plugin).await.unwrap();
    world.store.end_trial(plugin).await.unwrap();
    assert_eq!(candidate(&world).await, None);
    assert_eq!(world.known(), ["one", "two"]);
    assert!(world.own(0).await.is_empty());
    assert_eq!(world.store.state_bytes(begun.plugin).await.unwrap(), 0);
    assert!(world.store.state_bytes(plugin).await.unwrap() > 0);

    // A share of the shadow that was under way comes too late.
    let mut late = world.share(4, None, 1);
    late.state = vec![StateWrites {
        plugin: begun.plugin,
        ..world.state(base, &[("late", Some(b"v"))])
    }];
    assert_eq!(world.commit_one(late).await, Err(ShareError::StateConflict));
    // There is nothing left to end.
    world.store.end_trial(plugin).await.unwrap();
    assert_eq!(world.head(0).await, Some(9));
}

#[tokio::test]
async fn a_second_shadow_starts_from_the_state_of_the_plugin_and_not_from_that_of_the_first() {
    let world = installed().await;
    let plugin = world.plugins[0];
    let first = try_beside(&world, "bb", TrialMode::Shadow).await;
    let base = world.store.state_version(first.plugin).await.unwrap();
    remember(&world, first.plugin, base, "of the first", 3).await;
    remember(&world, plugin, 0, "of the plugin", 4).await;
    let second = try_beside(&world, "cc", TrialMode::Shadow).await;
    assert_eq!(second.plugin, first.plugin);
    assert!(second.trial > first.trial);
    let value = async |key| {
        let snapshot = world.store.state_value(second.plugin, key).await.unwrap();
        snapshot.value.is_some()
    };
    assert!(!value("of the first").await);
    assert!(value("of the plugin").await);
    assert_eq!(candidate(&world).await, Some(second));
}

#[tokio::test]
async fn a_canary_after_a_shadow_leaves_no_shadow_behind() {
    let world = installed().await;
    let shadow = try_beside(&world, "bb", TrialMode::Shadow).await;
    let canary = try_beside(&world, "cc", CANARY).await;
    assert_eq!(candidate(&world).await, Some(canary.clone()));
    assert_eq!(world.known(), ["one", "two"]);
    let last = world
        .store
        .last_trial(world.plugins[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!((last.trial, last.ended_ms), (canary.trial, None));
    assert_eq!(world.store.state_bytes(shadow.plugin).await.unwrap(), 0);
}

#[tokio::test]
async fn a_load_ends_the_trial_that_runs_beside_what_it_replaces() {
    let world = installed().await;
    let plugin = world.plugins[0];
    let begun = try_beside(&world, "bb", TrialMode::Shadow).await;
    let load = NewLoad {
        action: LoadAction::Promote,
        ..world.load("2.0.0", "bb", THEN_MS + 2)
    };
    let promoted = world.store.record_load(plugin, load, &[]).await.unwrap();
    let install = world.store.install("one").await.unwrap().unwrap();
    assert_eq!((install.load, install.candidate), (promoted, None));
    let last = world.store.last_trial(plugin).await.unwrap().unwrap();
    assert_eq!(last.active.sha256, "aa");
    assert_eq!(last.candidate, begun.load);
    assert_eq!(last.candidate_plugin, begun.plugin);
    assert!(last.ended_ms.is_some());
    let json = serde_json::to_value(&last).unwrap();
    assert_eq!(
        (
            &json["mode"],
            &json["active"]["sha256"],
            &json["abortAfter"]
        ),
        (&"shadow".into(), &"aa".into(), &5.into())
    );
}

#[tokio::test]
async fn there_is_no_candidate_without_an_active_version() {
    let world = World::new().await;
    let load = world.load("2.0.0", "bb", THEN_MS);
    let refused = world
        .store
        .record_candidate(world.plugins[1], load, TrialMode::Shadow, None)
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Missing { .. }), "{refused:?}");
    assert!(refused.to_string().contains("two"), "{refused}");
    // Nothing of it stands.
    assert_eq!(world.store.binary("bb").await.unwrap(), None);
    assert_eq!(world.known(), ["one", "two"]);
    assert_eq!(
        world.store.last_trial(world.plugins[1]).await.unwrap(),
        None
    );
}
