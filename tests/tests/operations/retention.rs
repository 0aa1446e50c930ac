//! A plugin that was away for longer than the log remembers.

use carillon_tests::child::wait_until;
use carillon_tests::host::guest;
use carillon_tests::operate::{HOST_BOUND, Operator};

use crate::stage::{Stage, told_once};

const BEFORE: u32 = 50;
const GONE: u32 = 300;
const ALL: u32 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_events_are_gone_says_how_many_and_goes_on_as_the_operator_chooses() {
    let stage = Stage::new("retention", 1).await;
    let setup = stage.setup("").plugin(guest("echo"));
    let mut host = setup.plugin(guest("greeter-v1")).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    stage.produce(0..BEFORE).await;
    stage.settled(&host).await;
    operator.ask(&["plugin", "pause", "greeter"]).await.unwrap();
    stage.produce(BEFORE..ALL).await;
    stage.decided(&host, "echo", ALL).await;
    let low = i64::from(BEFORE + GONE);
    stage.kafka.retire("retention", 0, low).await.unwrap();
    operator
        .ask(&["plugin", "resume", "greeter"])
        .await
        .unwrap();

    let stopped = wait_until("the lane to stop", HOST_BOUND, async || {
        let lanes = operator.lanes("greeter").await?;
        let mut waiting = lanes.iter().filter_map(|lane| lane["waits"].as_str());
        Ok(waiting.next().map(ToOwned::to_owned))
    })
    .await
    .unwrap();
    let gone = format!("{GONE} events that it had not handled are gone");
    assert!(stopped.contains(&gone), "{stopped}");
    host.log_line(&["ERROR", &gone]).await.unwrap();
    // Others go on.
    stage.produce(ALL..ALL + 20).await;
    stage.decided(&host, "echo", ALL + 20).await;

    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    let config = std::fs::read_to_string(host.config_file()).unwrap();
    let group = "group_id = \"retention\"";
    let choice = format!("{group}\nunknown_position = \"earliest\"");
    std::fs::write(host.config_file(), config.replace(group, &choice)).unwrap();
    host.restart().await.unwrap();
    let contents = stage.settled(&host).await;
    told_once(&contents, "echo", 0..ALL + 20);
    let greeted = (ALL + 20 - GONE) as usize;
    let told = contents.entries().filter(|entry| entry.plugin == "greeter");
    assert_eq!(told.count(), greeted);
    println!("retention: {stopped}");
    println!(
        "retention: after the choice of \"earliest\" the lane handled what was left: {greeted} of {}",
        ALL + 20
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}
