//! A version that traps on every event, and the mended one after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use carillon_tests::host::guest;
use carillon_tests::operate::{Operator, items};
use reqwest::Method;

use crate::stage::{Stage, size, told_once};

const PARTITIONS: u32 = 4;
/// `[pipeline] quarantine_after`.
const QUARANTINE_AFTER: u64 = 10;
const RATE: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_traps_is_quarantined_and_the_mended_one_catches_up_with_nothing_lost() {
    let stage = Stage::new("quarantine", PARTITIONS.cast_signed()).await;
    // Two attempts, so that some events are given up before the quarantine.
    let setup = stage
        .setup("max_attempts = 2\nprobe_backoff_ms = 1000\nmax_probe_backoff_ms = 2000")
        .plugin(guest("echo"))
        .plugin(guest("greeter-v1"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let flow = stage.flow(RATE);
    stage.decided(&host, "greeter", RATE).await;

    let loaded = Instant::now();
    operator.load(&guest("greeter-traps"), &[]).await.unwrap();
    let quarantined = operator
        .plugin_that("greeter", "quarantined", |plugin| {
            plugin["state"] == "quarantined"
        })
        .await
        .unwrap();
    let within = loaded.elapsed();
    // Time for probes, all of which fail.
    tokio::time::sleep(Duration::from_secs(size(3, 10).into())).await;
    let before = operator.plugin("greeter").await.unwrap();
    assert_eq!(before["state"], "quarantined", "{before}");
    let mended = Instant::now();
    operator.load(&guest("greeter-v2"), &[]).await.unwrap();
    let total = flow.end().await.unwrap();
    let contents = stage.settled(&host).await;
    let caught_up_in = mended.elapsed();

    told_once(&contents, "echo", 0..total);
    let active = operator.plugin("greeter").await.unwrap();
    assert_eq!(active["state"], "active", "{active}");
    let letters = operator
        .done(Method::GET, "dead-letters?plugin=greeter&limit=500", None)
        .await
        .unwrap();
    let given_up: BTreeSet<String> = items(&letters)
        .map(|letter| letter["eventId"].as_str().unwrap().to_owned())
        .collect();
    let told = contents.entries().filter(|entry| entry.plugin == "greeter");
    let told: BTreeSet<&str> = told.map(|entry| entry.event_id.as_str()).collect();
    assert_eq!(
        told.len() + given_up.len(),
        total as usize,
        "nothing is lost"
    );
    assert!(given_up.iter().all(|event| !told.contains(event.as_str())));
    let replayed = operator
        .ask(&["dead-letters", "replay", "--plugin", "greeter"])
        .await
        .unwrap();
    let handled = items(&replayed).filter(|letter| letter["outcome"] == "handled");
    assert_eq!(handled.count(), given_up.len(), "{replayed}");

    let contents = stage.settled(&host).await;
    told_once(&contents, "greeter", 0..total);
    assert_eq!(contents.gaps(), Vec::<String>::new());
    assert_eq!(
        contents.dead_letters.len(),
        0,
        "{:#?}",
        contents.dead_letters
    );
    let faults = quarantined["faults"].as_u64().unwrap();
    println!(
        "quarantine: after {faults} faults, {} ms after the load, with {} events given up; echo heard all of {total}; \
         the mended version caught up with {} events in {} ms; {} dead letters replayed; each event told of once",
        within.as_millis(),
        given_up.len(),
        before["lag"],
        caught_up_in.as_millis(),
        given_up.len()
    );
    // Calls of other partitions may be under way when the last fault is counted.
    let most = QUARANTINE_AFTER + u64::from(PARTITIONS);
    assert!((QUARANTINE_AFTER..=most).contains(&faults), "{faults}");
    assert!(given_up.len() as u64 <= most, "{given_up:?}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}
