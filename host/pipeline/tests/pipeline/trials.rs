//! Shadows and canaries.

use carillon_pipeline::RunAs;
use serde_json::json;

use crate::rig::{Rig, START_MS, TOPIC, event, eventually, numbered, somebody};

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_event_by_event_and_nobody_hears_of_it() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    let shadow = rig
        .load("greeter-v2", RunAs::Shadow { abort_after: None })
        .await
        .unwrap();
    assert_eq!(shadow.runs_as, "shadow");
    rig.send(numbered(0..300)).await;
    rig.stream("u", 300).await;
    let report = eventually("both to have answered all", async || {
        let report = rig.operations().diff("greeter", None, 1_000).await.unwrap();
        (report.compared == 300).then_some(report)
    })
    .await;
    assert_eq!((report.equal, report.different), (270, 30));
    let mut ids: Vec<&str> = report
        .differences
        .iter()
        .map(|difference| difference["eventId"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let mut wanted: Vec<String> = (0..30).map(|n| format!("e{}", n * 10)).collect();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    assert_eq!(rig.stream("u", 300).await.len(), 300);
    let promoted = rig
        .operations()
        .promote("greeter", &somebody())
        .await
        .unwrap();
    assert_eq!(promoted.version, "2.0.0");
    rig.send(numbered(300..310)).await;
    let entries = rig.stream("u", 310).await;
    assert_ne!(entries[300]["title"], entries[301]["title"]);
    assert_eq!(rig.plugin("greeter").candidate.map(|c| c.version), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_faults_is_taken_away_and_no_event_is_lost() {
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    let run_as = RunAs::Canary {
        percent: 50,
        abort_after: Some(3),
    };
    rig.load("greeter-traps", run_as).await.unwrap();
    // Each event has a key of its own.
    for number in 0..60 {
        let record = carillon_bus::Record {
            topic: TOPIC.to_owned(),
            key: Some(format!("key-{number}").into_bytes()),
            value: event(&format!("e{number}"), "u", json!({"number": number})),
            timestamp_ms: Some(START_MS),
            headers: Vec::new(),
        };
        rig.producer.send(record).await.unwrap();
    }
    rig.stream("u", 60).await;
    eventually("the canary to be gone", async || {
        rig.plugin("greeter").candidate.is_none().then_some(())
    })
    .await;
    assert_eq!(
        rig.plugin("greeter").state,
        "active",
        "its faults are its own"
    );
    assert_eq!(rig.stream("u", 60).await.len(), 60);
    let audit = rig
        .operations()
        .audit(Some("greeter"), None, 10)
        .await
        .unwrap();
    assert!(
        audit
            .iter()
            .any(|record| record.action == "abort" && record.who == "rule of the trial")
    );
}
