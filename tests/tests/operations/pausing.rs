//! A plugin that is paused keeps its place, and catches up.

use std::ops::Range;
use std::time::Instant;

use carillon_tests::child::wait_until;
use carillon_tests::host::guest;
use carillon_tests::operate::{HOST_BOUND, Operator};

use crate::stage::{Stage, in_order, size, told_once};

const PARTITIONS: i32 = 4;
const BEFORE: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_plugin_keeps_its_place_and_catches_up_while_another_goes_on() {
    let stage = Stage::with("pausing", PARTITIONS, 400, 100).await;
    let setup = stage.setup("").plugin(guest("echo"));
    let mut host = setup.plugin(guest("greeter-v1")).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    stage.produce(0..BEFORE).await;
    stage.settled(&host).await;

    operator.ask(&["plugin", "pause", "greeter"]).await.unwrap();
    let while_paused = size(2_000, 50_000);
    let all = BEFORE + while_paused;
    stage.produce(BEFORE..all).await;
    let contents = stage.decided(&host, "echo", all).await;
    told_once(&contents, "echo", 0..all);
    told_once(&contents, "greeter", 0..BEFORE);
    let lag = u64::from(while_paused);
    let paused = operator
        .plugin_that("greeter", "paused with its lag", |plugin| {
            plugin["state"] == "paused" && plugin["lag"] == lag
        })
        .await
        .unwrap();
    let beside = operator.plugin("echo").await.unwrap();
    assert_eq!(
        (&beside["state"], &beside["lag"]),
        (&"active".into(), &0.into())
    );
    let lanes = operator.lanes("greeter").await.unwrap();
    let waiting = lanes.iter().filter(|lane| lane["waits"] == "it is paused");
    assert!(waiting.count() >= PARTITIONS as usize, "{lanes:#?}");

    let resumed = Instant::now();
    operator
        .ask(&["plugin", "resume", "greeter"])
        .await
        .unwrap();
    stage.decided(&host, "greeter", all).await;
    let caught_up = resumed.elapsed();
    let end = join_the_head(&stage, &operator, all).await;

    let contents = stage.settled(&host).await;
    told_once(&contents, "greeter", 0..end);
    told_once(&contents, "echo", 0..end);
    in_order(&contents);
    println!(
        "pausing: {} events of lag while it was paused, and echo heard all of them; {while_paused} caught up in {} ms ({:.0} a second); \
         {PARTITIONS} lanes at the head again",
        paused["lag"],
        caught_up.as_millis(),
        f64::from(while_paused) / caught_up.as_secs_f64()
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// A lane joins the head with a batch, so events go on until all have; answers the number after
/// the last event.
async fn join_the_head(stage: &Stage, operator: &Operator, first: u32) -> u32 {
    let mut next = first;
    wait_until("every lane to stand at the head", HOST_BOUND, async || {
        let lanes = operator.lanes("greeter").await?;
        // A partition where nothing happens has no batch to join with.
        let mut own = lanes
            .iter()
            .filter(|lane| lane["topic"] == stage.events.topic);
        if own.all(|lane| lane["place"] == "head") {
            return Ok(Some(()));
        }
        // One for each booking reaches every partition.
        let events: Range<u32> = next..next + stage.events.keys;
        next = events.end;
        stage.produce(events).await;
        Ok(None)
    })
    .await
    .unwrap();
    next
}
