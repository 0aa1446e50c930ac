//! The disk is full, and later it is not.
//!
//! A limit on the size of files stands for the full disk: writing fails in the middle of a
//! transaction, in the write-ahead log, as it does there. The limit holds for a whole
//! process, so a child is the one that suffers.

use std::path::PathBuf;
use std::process::Command;

use carillon_store::{Share, ShareError, StoreConfig};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::world::World;

const FOLDER: &str = "CARILLON_TEST_FULL_FOLDER";
const LIMIT_BYTES: u64 = 1 << 20;

#[test]
fn a_full_disk_is_said_to_be_one_nothing_is_lost_and_writing_goes_on_when_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    // What it prints comes by a pipe: the limit would hold for a file that the output goes to.
    let child = Command::new("sh")
        // Without this the kernel would kill the process instead of failing the write.
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "full_disk::child_whose_disk_is_full",
            "--ignored",
        ])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let told = [child.stdout, child.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(child.status.success(), "{told}");
}

fn limit_file_size(bytes: Option<u64>) {
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: bytes,
            maximum: None,
        },
    )
    .unwrap();
}

fn shares(world: &World, from: i64) -> Vec<Share> {
    (0..4)
        .map(|partition| {
            let mut share = world.share(partition, (from > 0).then_some(from), from + 1);
            for n in 0..10 {
                share
                    .effects
                    .push(world.notify(&format!("p{partition}-{from}-{n}"), None));
            }
            share.state =
                vec![world.state(from * 4 + i64::from(partition), &[("k", Some(&[0; 9_000]))])];
            share
        })
        .collect()
}

/// What the child process does; run by itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn child_whose_disk_is_full() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let world = World::at(&folder, StoreConfig::default()).await;
    limit_file_size(Some(LIMIT_BYTES));
    let mut done = 0;
    let results = loop {
        let results = world.store.commit(&shares(&world, done)).await;
        if results.iter().any(Result::is_err) {
            break results;
        }
        done += 1;
        assert!(done < 10_000, "the limit does not bite");
    };
    assert!(done > 0);
    for result in &results {
        assert!(
            matches!(result, Err(ShareError::Unavailable(_))),
            "{result:?}"
        );
    }
    check(&world, done).await;
    for _ in 0..3 {
        let again = world.store.commit(&shares(&world, done)).await;
        assert!(
            again
                .iter()
                .all(|result| matches!(result, Err(ShareError::Unavailable(_)))),
            "{again:?}"
        );
    }
    check(&world, done).await;

    limit_file_size(None);
    for _ in 0..5 {
        let results = world.store.commit(&shares(&world, done)).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        done += 1;
    }
    world.store.plugin("new").await.unwrap();
    check(&world, done).await;
    drop(world);
    check(&World::at(&folder, StoreConfig::default()).await, done).await;
}

async fn check(world: &World, done: i64) {
    for partition in 0..4 {
        assert_eq!(world.head(partition).await, Some(done));
    }
    let offsets: Vec<u64> = world
        .history("user:ada")
        .await
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, (1..=done.cast_unsigned() * 40).collect::<Vec<_>>());
    assert_eq!(
        world.store.state_version(world.plugins[0]).await.unwrap(),
        done * 4
    );
}
