//! What is installed, how it runs, and what goes when it is removed.

use carillon_store::{
    Install, PluginId, RunState, ShareError, StateFate, StoreConfig, StoreError, TrialMode,
};

use crate::world::{THEN_MS, World};

async fn install(world: &World, plugin: PluginId, sha256: &str) {
    let load = world.load("1.0.0", sha256, THEN_MS);
    world.store.record_load(plugin, load, &[]).await.unwrap();
}

async fn stored(world: &World, name: &str) -> Install {
    world.store.install(name).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_installed_is_listed_by_name_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    for (name, sha256) in [("zebra", "zz"), ("ant", "aa")] {
        let plugin = world.store.plugin(name).await.unwrap();
        install(&world, plugin, sha256).await;
    }
    drop(world);
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let installs = world.store.installs().await.unwrap();
    let seen: Vec<_> = installs
        .iter()
        .map(|install| (&*install.name, install.load.sha256.as_str()))
        .collect();
    assert_eq!(seen, [("ant", "aa"), ("zebra", "zz")]);
    assert_eq!(
        world.store.install("ant").await.unwrap().as_ref(),
        installs.first()
    );
    assert_eq!(world.store.install("bee").await.unwrap(), None);
    assert_eq!(world.known(), ["ant", "one", "two", "zebra"]);
}

#[tokio::test]
async fn a_run_state_is_found_again_as_it_was_noted() {
    let world = World::new().await;
    install(&world, world.plugins[0], "aa").await;
    assert_eq!(stored(&world, "one").await.run_state, RunState::Active);
    for state in [
        RunState::Paused { since_ms: 5 },
        RunState::Quarantined {
            since_ms: 7,
            reason: "it trapped: unreachable".to_owned(),
            probes: 3,
        },
        RunState::Active,
    ] {
        world
            .store
            .set_run_state(world.plugins[0], &state)
            .await
            .unwrap();
        assert_eq!(stored(&world, "one").await.run_state, state);
    }
    assert_eq!(
        serde_json::to_value(RunState::Paused { since_ms: 5 }).unwrap(),
        serde_json::json!({ "state": "paused", "sinceMs": 5 })
    );
}

#[tokio::test]
async fn the_state_of_a_plugin_that_is_not_installed_cannot_be_noted() {
    let world = World::new().await;
    let refused = world
        .store
        .set_run_state(world.plugins[1], &RunState::Active)
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Missing { .. }), "{refused:?}");
    assert!(refused.to_string().contains("two"), "{refused}");
}

#[tokio::test]
async fn a_new_load_leaves_quarantine_and_stays_paused() {
    let world = World::new().await;
    let quarantined = RunState::Quarantined {
        since_ms: 7,
        reason: "it trapped".to_owned(),
        probes: 3,
    };
    let paused = RunState::Paused { since_ms: 5 };
    for (before, after) in [
        (quarantined, RunState::Active),
        (paused.clone(), paused),
        (RunState::Active, RunState::Active),
    ] {
        install(&world, world.plugins[0], "aa").await;
        world
            .store
            .set_run_state(world.plugins[0], &before)
            .await
            .unwrap();
        install(&world, world.plugins[0], "bb").await;
        assert_eq!(stored(&world, "one").await.run_state, after);
    }
}

#[tokio::test]
async fn a_new_plugin_gets_its_places_and_one_that_has_a_place_keeps_it() {
    let world = World::new().await;
    let plugin = world.plugins[0];
    let load = world.load("1.0.0", "aa", THEN_MS);
    let places = [world.place(0, 7), world.place(1, 0)];
    world
        .store
        .record_load(plugin, load, &places)
        .await
        .unwrap();
    assert_eq!(world.own(0).await, [(plugin, 7)]);
    assert_eq!(world.own(1).await, [(plugin, 0)]);

    let load = world.load("1.0.1", "bb", THEN_MS);
    let places = [world.place(0, 99), world.place(2, 5)];
    world
        .store
        .record_load(plugin, load, &places)
        .await
        .unwrap();
    assert_eq!(world.own(0).await, [(plugin, 7)]);
    assert_eq!(world.own(2).await, [(plugin, 5)]);
}

#[tokio::test]
async fn a_number_keeps_no_place_until_something_is_installed_under_it() {
    let world = World::new().await;
    let plugin = world.store.plugin("three").await.unwrap();
    assert_eq!(world.known(), ["one", "two"]);
    install(&world, plugin, "aa").await;
    assert_eq!(world.known(), ["one", "three", "two"]);
    // To ask for the number again changes nothing.
    assert_eq!(world.store.plugin("three").await.unwrap(), plugin);
    assert_eq!(world.known(), ["one", "three", "two"]);
    world
        .store
        .uninstall(plugin, StateFate::Keep)
        .await
        .unwrap();
    assert_eq!(world.known(), ["one", "two"]);
    assert_eq!(world.store.plugin("three").await.unwrap(), plugin);
}

#[tokio::test]
async fn removing_takes_the_install_its_cursors_and_its_candidate_and_leaves_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let [plugin, other] = world.plugins;
    let load = world.load("1.0.0", "aa", THEN_MS);
    let places = [world.place(0, 7), world.place(1, 0)];
    world
        .store
        .record_load(plugin, load, &places)
        .await
        .unwrap();
    let load = world.load("1.0.0", "bb", THEN_MS);
    let places = [world.place(0, 3)];
    world.store.record_load(other, load, &places).await.unwrap();
    let tried = world.load("2.0.0", "cc", THEN_MS);
    world
        .store
        .record_candidate(plugin, tried, TrialMode::Shadow, None)
        .await
        .unwrap();
    let mut share = world.share_with(5, vec![world.notify("a", None)]);
    share.decisions = vec![world.decision("a", THEN_MS)];
    share.state = vec![world.state(0, &[("k", Some(b"v"))])];
    share.dead_letters = vec![world.dead_letter(1, b"?".to_vec())];
    world.commit_one(share).await.unwrap();

    world
        .store
        .uninstall(plugin, StateFate::Keep)
        .await
        .unwrap();
    drop(world);
    let world = World::at(folder.path(), StoreConfig::default()).await;
    assert_eq!(world.store.install("one").await.unwrap(), None);
    assert_eq!(world.own(0).await, [(other, 3)]);
    assert!(world.own(1).await.is_empty());
    assert!(!world.known().contains(&"one@shadow".to_owned()));
    assert_eq!(world.store.loads(plugin).await.unwrap().len(), 2);
    assert!(world.store.binary("aa").await.unwrap().is_some());
    assert_eq!(world.value("k").await.as_deref(), Some(b"v".as_slice()));
    assert_eq!(world.history("user:ada").await.len(), 1);
    assert_eq!(world.store.dead_letters_to_relay(9).await.unwrap().len(), 1);
    let key = carillon_store::event_key("a");
    assert_eq!(world.store.decisions_of(key).await.unwrap().len(), 1);

    // It comes back under the same number, and remembers what it did.
    install(&world, plugin, "aa").await;
    assert_eq!(stored(&world, "one").await.candidate, None);
    assert_eq!(world.value("k").await.as_deref(), Some(b"v".as_slice()));
}

#[tokio::test]
async fn removing_with_its_state_leaves_no_value_and_refuses_what_was_computed_from_it() {
    let world = World::new().await;
    let plugin = world.plugins[0];
    install(&world, plugin, "aa").await;
    let mut share = world.share(0, None, 1);
    share.state = vec![world.state(0, &[("k", Some(b"v"))])];
    world.commit_one(share).await.unwrap();
    world
        .store
        .uninstall(plugin, StateFate::Delete)
        .await
        .unwrap();
    assert_eq!(world.value("k").await, None);
    assert_eq!(world.store.state_bytes(plugin).await.unwrap(), 0);
    let mut late = world.share(1, None, 1);
    late.state = vec![world.state(1, &[("k", Some(b"late"))])];
    assert_eq!(world.commit_one(late).await, Err(ShareError::StateConflict));
    assert_eq!(world.value("k").await, None);
}

#[tokio::test]
async fn a_share_that_comes_after_the_removal_leaves_no_place_to_whoever_is_installed_next() {
    let world = World::new().await;
    let plugin = world.store.plugin("three").await.unwrap();
    install(&world, plugin, "aa").await;
    world
        .store
        .uninstall(plugin, StateFate::Keep)
        .await
        .unwrap();
    let mut late = world.share(0, None, 9);
    late.detached = vec![carillon_store::Detached {
        plugin,
        next: 4,
        retry: None,
    }];
    world.commit_one(late).await.unwrap();
    let load = world.load("1.0.1", "bb", THEN_MS);
    let places = [world.place(0, 8)];
    world
        .store
        .record_load(plugin, load, &places)
        .await
        .unwrap();
    assert_eq!(world.own(0).await, [(plugin, 8)]);
}

#[tokio::test]
async fn removing_what_is_not_installed_changes_nothing_else() {
    let world = World::new().await;
    install(&world, world.plugins[1], "aa").await;
    world
        .store
        .uninstall(world.plugins[0], StateFate::Delete)
        .await
        .unwrap();
    assert_eq!(world.store.installs().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_waiting_leaves_memory_and_database_of_one_mind() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let mut finished = 0;
    for n in 0..60_u32 {
        let plugin = world.store.plugin(&format!("p{n}")).await.unwrap();
        let store = world.store.clone();
        let sha256 = format!("hash-{n}");
        let load = world.load("1.0.0", &sha256, THEN_MS);
        let recorded = store.record_load(plugin, load, &[]);
        // A different moment each time: that is the point of it.
        let patience = std::time::Duration::from_micros(u64::from(n) * 20);
        finished += usize::from(tokio::time::timeout(patience, recorded).await.is_ok());
    }
    // Whatever was begun has ended once the writer is free.
    world.store.plugin("last").await.unwrap();
    let known: Vec<String> = world
        .known()
        .into_iter()
        .filter(|name| name.starts_with('p'))
        .collect();
    let mut installed: Vec<String> = world
        .store
        .installs()
        .await
        .unwrap()
        .into_iter()
        .map(|install| install.name.to_string())
        .collect();
    installed.sort_unstable();
    assert_eq!(known, installed);
    assert!(installed.len() >= finished);
}

#[tokio::test]
async fn watched_files_are_remembered_with_what_they_last_held_until_they_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    for (file, sha256) in [("b.wasm", "1"), ("a.wasm", "2"), ("b.wasm", "3")] {
        world.store.note_watched_file(file, sha256).await.unwrap();
    }
    drop(world);
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let pair = |file: &str, sha256: &str| (file.to_owned(), sha256.to_owned());
    assert_eq!(
        world.store.watched_files().await.unwrap(),
        [pair("a.wasm", "2"), pair("b.wasm", "3")]
    );
    world.store.forget_watched_file("b.wasm").await.unwrap();
    world.store.forget_watched_file("c.wasm").await.unwrap();
    assert_eq!(
        world.store.watched_files().await.unwrap(),
        [pair("a.wasm", "2")]
    );
}
