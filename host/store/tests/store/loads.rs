//! Loads: what ran when, from whom, and how far back one can go.

use std::collections::BTreeMap;

use carillon_store::{Binary, LoadAction, LoadRecord, NewLoad, StoreConfig, TrialMode, VersionId};

use crate::world::{THEN_MS, World};

async fn load(world: &World, sha256: &str, at_ms: i64) -> LoadRecord {
    let load = world.load("1.0.0", sha256, at_ms);
    let plugin = world.plugins[0];
    world.store.record_load(plugin, load, &[]).await.unwrap()
}

#[tokio::test]
async fn a_load_is_found_again_whole_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let new = NewLoad {
        signature: Some(b"signed"),
        ..world.load("1.2.3", "aa", THEN_MS)
    };
    let recorded = world
        .store
        .record_load(world.plugins[0], new, &[])
        .await
        .unwrap();
    drop(world);

    let world = World::at(folder.path(), StoreConfig::default()).await;
    let install = world.store.install("one").await.unwrap().unwrap();
    assert_eq!(install.load, recorded);
    assert_eq!(
        world.store.loads(world.plugins[0]).await.unwrap(),
        std::slice::from_ref(&recorded)
    );
    assert_eq!(
        world.store.binary("aa").await.unwrap(),
        Some(Binary {
            bytes: b"aa".to_vec(),
            signature: Some(b"signed".to_vec())
        })
    );
    assert_eq!(world.store.binary("bb").await.unwrap(), None);
    assert_eq!(
        (
            recorded.version.as_str(),
            recorded.sha256.as_str(),
            recorded.state_version,
            recorded.at_ms,
            recorded.who.as_str(),
            recorded.origin.as_str(),
            recorded.action,
        ),
        (
            "1.2.3",
            "aa",
            3,
            THEN_MS,
            "alice",
            "https://example.org/one.wasm",
            LoadAction::Load,
        )
    );
    assert_eq!(
        recorded.settings,
        BTreeMap::from([("colour".to_owned(), "\"blue\"".to_owned())])
    );
    // Decisions of this binary name the same version, whoever asks first.
    assert_eq!(
        world
            .store
            .plugin_version(world.plugins[0], "1.2.3", "aa", THEN_MS)
            .await
            .unwrap(),
        recorded.version_id
    );
}

#[tokio::test]
async fn the_newest_load_is_what_runs_and_every_load_is_kept_with_its_reason() {
    let world = World::new().await;
    load(&world, "aa", 1).await;
    load(&world, "bb", 2).await;
    for (action, at_ms) in [
        (LoadAction::Settings, 3),
        (LoadAction::Rollback, 4),
        (LoadAction::Promote, 5),
    ] {
        let new = NewLoad {
            action,
            ..world.load("1.0.0", "aa", at_ms)
        };
        world
            .store
            .record_load(world.plugins[0], new, &[])
            .await
            .unwrap();
    }
    let loads = world.store.loads(world.plugins[0]).await.unwrap();
    let seen: Vec<_> = loads
        .iter()
        .map(|load| (load.at_ms, load.sha256.as_str(), load.action))
        .collect();
    assert_eq!(
        seen,
        [
            (5, "aa", LoadAction::Promote),
            (4, "aa", LoadAction::Rollback),
            (3, "aa", LoadAction::Settings),
            (2, "bb", LoadAction::Load),
            (1, "aa", LoadAction::Load),
        ]
    );
    let install = world.store.install("one").await.unwrap().unwrap();
    assert_eq!(install.load, loads[0]);
    assert!(
        world
            .store
            .loads(world.plugins[1])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        serde_json::to_value(&loads[1]).unwrap(),
        serde_json::json!({
            "id": loads[1].id, "versionId": loads[1].version_id, "version": "1.0.0", "sha256": "aa",
            "stateVersion": 3, "settings": { "colour": "\"blue\"" }, "atMs": 4, "who": "alice",
            "origin": "https://example.org/one.wasm", "action": "rollback",
        })
    );
}

#[tokio::test]
async fn a_signature_that_comes_later_is_kept_and_one_that_is_missing_takes_none_away() {
    let world = World::new().await;
    for (given, kept) in [
        (None, None),
        (Some("first"), Some("first")),
        (None, Some("first")),
        (Some("second"), Some("second")),
    ] {
        let new = NewLoad {
            signature: given.map(str::as_bytes),
            ..world.load("1.0.0", "aa", 1)
        };
        world
            .store
            .record_load(world.plugins[0], new, &[])
            .await
            .unwrap();
        let binary = world.store.binary("aa").await.unwrap().unwrap();
        assert_eq!(
            binary.signature.as_deref(),
            kept.map(str::as_bytes),
            "after {given:?}"
        );
        assert_eq!(binary.bytes, b"aa");
    }
}

#[tokio::test]
async fn pruning_keeps_the_newest_loads_of_each_plugin_and_what_is_in_use() {
    let world = World::new().await;
    let [one, two] = world.plugins;
    for (at_ms, sha256) in (1..).zip(["aa", "bb", "cc", "dd", "ee"]) {
        load(&world, sha256, at_ms).await;
    }
    // The other plugin runs a load that is its newest, and one is tried beside it.
    for sha256 in ["xx", "yy"] {
        let new = world.load("1.0.0", sha256, 1);
        world.store.record_load(two, new, &[]).await.unwrap();
    }
    for sha256 in ["xx", "yy"] {
        let new = NewLoad {
            action: LoadAction::Settings,
            ..world.load("1.0.0", sha256, 2)
        };
        world.store.record_load(two, new, &[]).await.unwrap();
    }
    let tried = world.load("2.0.0", "zz", 3);
    world
        .store
        .record_candidate(two, tried, TrialMode::Canary { percent: 10 }, None)
        .await
        .unwrap();
    assert_eq!(world.store.prune_loads(1).await.unwrap(), 4 + 3);
    let kept = async |plugin| {
        let loads = world.store.loads(plugin).await.unwrap();
        loads
            .into_iter()
            .map(|load| load.sha256)
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(one).await, ["ee"]);
    assert_eq!(
        kept(two).await,
        ["zz", "yy"],
        "what runs is older than the newest load, the candidate"
    );
    for (sha256, there) in [
        ("aa", false),
        ("dd", false),
        ("ee", true),
        ("xx", false),
        ("yy", true),
        ("zz", true),
    ] {
        let binary = world.store.binary(sha256).await.unwrap();
        assert_eq!(binary.is_some(), there, "{sha256}");
    }
    assert_eq!(world.store.prune_loads(1).await.unwrap(), 0);
    // Once nobody tries it, it goes like the others.
    world.store.end_trial(two).await.unwrap();
    assert_eq!(
        world.store.prune_loads(0).await.unwrap(),
        1,
        "what is installed stays"
    );
    assert_eq!(world.store.binary("zz").await.unwrap(), None);
    assert_eq!(kept(one).await, ["ee"]);
}

#[tokio::test]
async fn a_binary_that_an_older_load_shares_with_a_newer_one_stays_when_the_older_is_pruned() {
    let world = World::new().await;
    for (at_ms, sha256) in (1..).zip(["aa", "bb", "aa"]) {
        load(&world, sha256, at_ms).await;
    }
    assert_eq!(world.store.prune_loads(1).await.unwrap(), 2);
    assert!(world.store.binary("aa").await.unwrap().is_some());
    assert!(world.store.binary("bb").await.unwrap().is_none());
}

#[tokio::test]
async fn the_load_of_a_version_is_told_even_when_it_was_pruned() {
    let world = World::new().await;
    let first = load(&world, "aa", 1).await;
    let again = load(&world, "aa", 2).await;
    load(&world, "bb", 3).await;
    assert_eq!(first.version_id, again.version_id);
    world.store.prune_loads(1).await.unwrap();
    assert_eq!(
        world.store.load_of_version(first.version_id).await.unwrap(),
        Some(again)
    );
    assert_eq!(
        world.store.load_of_version(VersionId(999)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_binary_that_was_pruned_can_be_loaded_again() {
    let world = World::new().await;
    let first = load(&world, "aa", 1).await;
    load(&world, "bb", 2).await;
    world.store.prune_loads(1).await.unwrap();
    let again = load(&world, "aa", 3).await;
    assert_eq!(again.version_id, first.version_id);
    assert!(world.store.binary("aa").await.unwrap().is_some());
    assert_eq!(
        world.store.install("one").await.unwrap().unwrap().load,
        again
    );
}
