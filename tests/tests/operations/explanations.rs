//! Why somebody was told, and why nobody was.

use std::collections::BTreeMap;

use carillon_tests::child::wait_until;
use carillon_tests::client::Client;
use carillon_tests::events::Numbered;
use carillon_tests::host::{guest, shipped};
use carillon_tests::kafka::Record;
use carillon_tests::operate::{HOST_BOUND, Operator};
use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn every_notification_and_every_event_can_be_explained() {
    let stage = Stage::new("explanations", 1).await;
    let setup = stage.setup("").plugin(shipped("booking-updates"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let token = host.token(&stage.events.user(0)).unwrap();
    let mut client = Client::connect(&host.gateway().unwrap(), &token, &BTreeMap::new())
        .await
        .unwrap();

    stage.produce(0..1).await;
    let pushed = client.next().await.unwrap();
    let notification = pushed.data["id"].as_str().unwrap();
    let told = explained(&operator, notification).await;
    assert_eq!(told["subject"], "notification", "{told:#}");
    in_story(
        &told,
        &[
            "booking-updates",
            "at explanations/0 offset 0",
            "req-0",
            "1 action",
            "watched folder",
            "became visible",
            "pushed to 1 connection",
        ],
    );
    let event = Numbered::id(0);
    let effect = explained(&operator, &event).await;
    assert_eq!(outcome(&effect, "booking-updates"), "handled", "{effect:#}");
    assert_eq!(effect["notifications"][0]["id"], notification);

    // Nobody subscribes to it.
    stage
        .produce_these(vec![of_kind(&stage, "quiet", "analytics.viewed")])
        .await;
    stage.settled(&host).await;
    let quiet = explained(&operator, "quiet").await;
    assert_eq!(
        outcome(&quiet, "booking-updates"),
        "not-subscribed",
        "{quiet:#}"
    );
    in_story(&quiet, &["nobody was told"]);

    // It is sent long after the time that its id tells.
    let late = Numbered::id(77);
    stage
        .produce_these(vec![of_kind(&stage, &late, "analytics.viewed")])
        .await;
    stage.settled(&host).await;
    let found = explained(&operator, &late).await;
    assert_eq!(
        outcome(&found, "booking-updates"),
        "not-subscribed",
        "{found:#}"
    );

    operator.load(&guest("rejecter"), &[]).await.unwrap();
    stage.produce(1..2).await;
    stage.settled(&host).await;
    let rejected = explained(&operator, &Numbered::id(1)).await;
    assert_eq!(
        outcome(&rejected, "rejecter"),
        "dead-letter",
        "{rejected:#}"
    );
    assert!(
        why(&rejected, "rejecter").contains("this guest rejects"),
        "{rejected:#}"
    );
    assert_eq!(outcome(&rejected, "booking-updates"), "handled");

    operator
        .ask(&["plugin", "pause", "booking-updates"])
        .await
        .unwrap();
    stage.produce(2..3).await;
    stage.decided(&host, "rejecter", 2).await;
    let paused = wait_until("the pause to be told", HOST_BOUND, async || {
        let told = operator.ask(&["explain", &Numbered::id(2)]).await?;
        Ok((outcome(&told, "booking-updates") == "paused").then_some(told))
    })
    .await
    .unwrap();
    let nothing = operator.refused(&["explain", "no-such-event"]).await;
    let nothing = nothing.unwrap();
    assert!(nothing.contains("nothing is known by"), "{nothing}");
    let place = explained(&operator, "explanations/0/0").await;
    assert_eq!(place["subject"], "record", "{place:#}");

    for line in told["story"].as_array().unwrap() {
        println!("explain notification: {}", line.as_str().unwrap());
    }
    for (what, told, plugin) in [
        ("an event with an effect", &effect, "booking-updates"),
        ("one that nobody subscribes to", &quiet, "booking-updates"),
        ("one that was rejected", &rejected, "rejecter"),
        ("one whose plugin is paused", &paused, "booking-updates"),
    ] {
        println!(
            "explain {what}: {}: {}",
            outcome(told, plugin),
            why(told, plugin)
        );
    }
    println!("explain what is not known: {nothing}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

async fn explained(operator: &Operator, id: &str) -> Value {
    operator.ask(&["explain", id]).await.unwrap()
}

fn story<'a>(told: &'a Value, plugin: &str) -> &'a Value {
    let mut stories = told["plugins"].as_array().unwrap().iter();
    let found = stories.find(|story| story["plugin"] == plugin);
    found.unwrap_or_else(|| panic!("{plugin} is not in {told:#}"))
}

fn outcome<'a>(told: &'a Value, plugin: &str) -> &'a str {
    story(told, plugin)["outcome"].as_str().unwrap()
}

fn why<'a>(told: &'a Value, plugin: &str) -> &'a str {
    story(told, plugin)["why"].as_str().unwrap()
}

/// Holds that some line of the story has each of these words.
fn in_story(told: &Value, words: &[&str]) {
    let lines = told["story"].as_array().unwrap();
    for word in words {
        let found = lines
            .iter()
            .any(|line| line.as_str().unwrap().contains(word));
        assert!(found, "{word} is not in {told:#}");
    }
}

/// An event of another kind.
fn of_kind(stage: &Stage, id: &str, kind: &str) -> Record {
    let mut record = stage.events.record(0);
    let mut value: Value = serde_json::from_slice(&record.value).unwrap();
    value["eventId"] = json!(id);
    value["eventType"] = json!(kind);
    record.value = value.to_string().into_bytes();
    record
}
