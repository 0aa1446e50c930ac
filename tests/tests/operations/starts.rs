//! Where a plugin that is new begins.

use std::time::{Duration, SystemTime};

use carillon_tests::host::guest;
use carillon_tests::operate::Operator;

use crate::stage::{Stage, decisions, told_once};

const HALF: u32 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_begins_at_the_latest_the_earliest_or_a_time() {
    let stage = Stage::new("starts", 4).await;
    let mut host = stage.setup("").start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    stage.produce(0..HALF).await;
    stage.settled(&host).await;
    // The log's times are whole milliseconds.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let between = now.unwrap().as_millis().to_string();
    tokio::time::sleep(Duration::from_millis(20)).await;
    stage.produce(HALF..2 * HALF).await;
    stage.settled(&host).await;

    for (name, start) in [
        ("echo", "earliest"),
        ("greeter-v1", between.as_str()),
        ("rejecter", "latest"),
    ] {
        let options = ["--start", start];
        operator.load(&guest(name), &options).await.unwrap();
    }
    let contents = stage.settled(&host).await;
    told_once(&contents, "echo", 0..2 * HALF);
    told_once(&contents, "greeter", HALF..2 * HALF);
    assert_eq!(decisions(&contents, "rejecter"), 0);
    assert_eq!(contents.gaps(), Vec::<String>::new());
    let again = operator
        .refused(&[
            "plugin",
            "load",
            &guest("greeter-v2").display().to_string(),
            "--start",
            "earliest",
        ])
        .await
        .unwrap();
    assert!(again.contains("loaded already"), "{again}");
    println!(
        "starts: of {} events in the log, earliest handled {}, a time {}, latest 0; for a plugin that is there already: {again}",
        2 * HALF,
        decisions(&contents, "echo"),
        decisions(&contents, "greeter")
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}
