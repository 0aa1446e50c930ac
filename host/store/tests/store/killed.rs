//! The process is killed in the middle of commits, again and again.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use carillon_store::{Share, StoreConfig, event_key};

use crate::world::{THEN_MS, World};

const PARTITIONS: i32 = 4;
const FOLDER: &str = "CARILLON_TEST_KILLED_FOLDER";

/// One group: each partition handles one event, and all of them share one counter.
fn group(world: &World, from: i64) -> Vec<Share> {
    (0..PARTITIONS)
        .map(|partition| {
            let event = format!("p{partition}-{from}");
            let mut share = world.share(partition, (from > 0).then_some(from), from + 1);
            // Of each round, the second replaces the first and the third takes both back.
            share.effects = vec![if from % 3 == 2 {
                world.withdraw(&event, &format!("k{partition}"))
            } else {
                world.notify(&event, Some(&format!("k{partition}")))
            }];
            share.decisions = vec![world.decision(&event, THEN_MS + from * 60_000)];
            let version = from * i64::from(PARTITIONS) + i64::from(partition);
            share.state = vec![world.state(
                version,
                &[("counter", Some((version + 1).to_string().as_bytes()))],
            )];
            share
        })
        .collect()
}

/// What the child process does; run by itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn child_that_commits_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let world = World::at(&folder, config()).await;
    let mut from = world.head(0).await.unwrap_or(0);
    println!("commits from {from}");
    loop {
        for result in world.store.commit(&group(&world, from)).await {
            result.unwrap();
        }
        from += 1;
        if from % 16 == 0 {
            world.store.drop_old_decisions().await.unwrap();
            world.store.trim_streams().await.unwrap();
        }
    }
}

fn config() -> StoreConfig {
    StoreConfig {
        duplicate_window_hours: 1,
        history_per_stream: 100,
        ..StoreConfig::default()
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::child_that_commits_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_kill_there_is_no_half_group_and_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut committed = 0;
    for round in 0..15_u64 {
        let mut child = spawn(folder.path());
        let started = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("commits from"));
        assert!(started, "the child has opened the store");
        // A different moment each time: that is the point of it.
        tokio::time::sleep(Duration::from_millis(3 + round * 7)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let now = check(folder.path()).await;
        assert!(now >= committed, "what was committed is still there");
        committed = now;
    }
    assert!(
        committed > 30,
        "the children have done some work: {committed}"
    );
}

async fn check(folder: &Path) -> i64 {
    let world = World::at(folder, config()).await;
    let next = world.head(0).await.unwrap_or(0);
    for partition in 1..PARTITIONS {
        assert_eq!(
            world.head(partition).await.unwrap_or(0),
            next,
            "all cursors of a group moved together"
        );
    }
    let total = next * i64::from(PARTITIONS);
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        total
    );
    let counter = world
        .value("counter")
        .await
        .map(|value| String::from_utf8(value).unwrap());
    assert_eq!(counter, (total > 0).then(|| total.to_string()));

    let head = world.store.stream_head("user:ada").await.unwrap();
    assert_eq!(head.offset, total.cast_unsigned(), "one entry an event");
    let offsets: Vec<u64> = world
        .history("user:ada")
        .await
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(
        offsets,
        (head.trimmed_through + 1..=head.offset).collect::<Vec<_>>()
    );

    // The newest hour is always within the window.
    let recent: Vec<[u8; 16]> = ((next - 50).max(0)..next)
        .flat_map(|from| {
            (0..PARTITIONS).map(move |partition| event_key(&format!("p{partition}-{from}")))
        })
        .collect();
    assert_eq!(
        world.store.decided(&recent).await.unwrap().len(),
        recent.len()
    );
    let after = event_key(&format!("p0-{next}"));
    assert!(world.store.decided(&[after]).await.unwrap().is_empty());

    let standing = match next % 3 {
        0 => 0,
        _ => usize::try_from(PARTITIONS).unwrap(),
    };
    assert_eq!(world.inbox(&["user:ada"]).await.len(), standing);
    next
}
