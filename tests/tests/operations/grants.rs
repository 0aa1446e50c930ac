//! What an operator grants and sets: the quota of plugin state, settings while events flow.

use carillon_tests::host::guest;
use carillon_tests::operate::Operator;
use carillon_tests::store::Contents;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Stage, told_once};

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fills_its_state_is_told_so_and_others_are_not_touched() {
    const EVENTS: u32 = 40;
    const VALUE_BYTES: u64 = 4_096;
    const QUOTA_BYTES: u64 = 20_000;
    let stage = Stage::new("state-quota", 1).await;
    let setup = stage
        .setup(&format!(
            "[plugins.state-filler.limits]\nstate_total_bytes = {QUOTA_BYTES}"
        ))
        .plugin(guest("state-filler"))
        .plugin(guest("counter"))
        .plugin(guest("echo"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let records = (0..EVENTS).map(|number| {
        let mut record = stage.events.record(number);
        let mut value: Value = serde_json::from_slice(&record.value).unwrap();
        value["eventData"]["bytes"] = json!(VALUE_BYTES);
        record.value = value.to_string().into_bytes();
        record
    });
    stage.produce_these(records.collect()).await;
    let contents = stage.settled(&host).await;

    let said = |word: &str| {
        let own = contents.entries().filter(|entry| entry.plugin == "state-filler");
        own.filter(|entry| entry.title.contains(word)).count() as u64
    };
    let (written, full) = (said("written"), said("space is full"));
    assert_eq!(written + full, u64::from(EVENTS));
    assert_eq!(written, QUOTA_BYTES / VALUE_BYTES);
    told_once(&contents, "echo", 0..EVENTS);
    let counted = &contents.state[&("counter".to_owned(), "count".to_owned())];
    assert_eq!(counted, EVENTS.to_string().as_bytes());
    let shown = operator
        .ask(&["plugin", "show", "state-filler"])
        .await
        .unwrap();
    let mut limits = shown["limits"].as_array().unwrap().iter();
    let quota = limits.find(|limit| limit["limit"] == "state_total_bytes");
    let quota = quota.unwrap();
    assert_eq!(quota["granted"], QUOTA_BYTES);
    let used = quota["highest"].as_u64().unwrap();
    assert!((written * VALUE_BYTES..=QUOTA_BYTES).contains(&used), "{used}");
    println!(
        "state quota: of {QUOTA_BYTES} bytes, {written} values of {VALUE_BYTES} bytes were written ({used} bytes in use) and {full} refused as \"space is full\"; echo and counter handled all {EVENTS}"
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_takes_effect_with_the_next_event_and_without_a_new_binary() {
    const NAME: &str = "retry-then-ok";
    let stage = Stage::new("settings", 1).await;
    let setup = stage
        .setup(&format!("[plugins.{NAME}.settings]\nattempts = \"1\""))
        .plugin(guest(NAME));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let before = operator.plugin(NAME).await.unwrap();
    let mut said = Vec::new();
    let mut next = 0;
    for change in ["attempts=1", "attempts=2", "attempts=3", "attempts-"] {
        operator
            .ask(&["plugin", "settings", NAME, change])
            .await
            .unwrap();
        stage.produce(next..next + 1).await;
        next += 1;
        let contents = stage.settled(&host).await;
        said.push(format!("{change}: {}", last_body(&contents)));
    }
    assert_eq!(
        said,
        [
            "attempts=1: attempt 1, written 1",
            "attempts=2: attempt 2, written 1",
            "attempts=3: attempt 3, written 1",
            "attempts-: attempt 1, written 1",
        ]
    );
    let after = operator.plugin(NAME).await.unwrap();
    assert_eq!(before["sha256"], after["sha256"]);
    let path = format!("plugins/{NAME}/settings");
    let unknown = json!({ "volume": "11" });
    let (status, problem) = operator
        .send(Method::PATCH, &path, Some(unknown))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    println!("settings: {}; another key: {}", said.join("; "), problem["detail"]);

    // Once more with one that is set, over a restart.
    operator
        .ask(&["plugin", "settings", NAME, "attempts=2"])
        .await
        .unwrap();
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    host.restart().await.unwrap();
    stage.produce(next..next + 1).await;
    let contents = stage.settled(&host).await;
    assert_eq!(last_body(&contents), "attempt 2, written 1");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// What was said of the newest record.
fn last_body(contents: &Contents) -> String {
    let newest = contents.entries().max_by_key(|entry| entry.record_offset);
    newest.unwrap().body.clone()
}
