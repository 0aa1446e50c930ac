//! Replays: what would be different, what was never sent, and plugin state left alone.

use carillon_tests::host::{Host, guest};
use carillon_tests::operate::Operator;
use carillon_tests::store::Contents;
use serde_json::Value;

use crate::stage::{Stage, decisions, size, told_once};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_would_be_different_and_sends_nothing() {
    let events = size(500, 5_000);
    let stage = Stage::new("dry-run", 4).await;
    let setup = stage.setup("").plugin(guest("greeter-v1"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    stage.produce(0..events).await;
    let before = stage.settled(&host).await;
    operator.load(&guest("greeter-v2"), &[]).await.unwrap();

    let status = replay(&operator, "greeter", &["--dry-run"]).await;
    let changed = u64::from(events) / 10;
    assert_eq!(
        counts(&status),
        [u64::from(events) - changed, changed, 0, 0],
        "{status}"
    );
    let difference = &status["differences"][0];
    let wording = |side: &str| difference[side]["title"].as_str().unwrap().to_owned();
    assert!(wording("sent").starts_with("Hello:"), "{difference}");
    assert!(wording("now").starts_with("Welcome:"), "{difference}");
    let after = stage.settled(&host).await;
    assert_eq!(before, after, "the store is as it was");
    println!(
        "dry run: {} events handled again; same {}, changed {}, new 0, missing 0; the store is as it was; first: {:?} became {:?}",
        status["handled"],
        status["same"],
        status["changed"],
        wording("sent"),
        wording("now")
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_sends_what_was_missed_once_and_leaves_plugin_state_alone_unless_asked() {
    let events = size(500, 5_000);
    let stage = Stage::new("replay", 4).await;
    let setup = stage.setup("").plugin(guest("counter"));
    let mut host = setup.start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    stage.produce(0..events).await;
    stage.settled(&host).await;
    // Loaded later, it begins with what arrives from now on.
    let loaded = operator.load(&guest("echo"), &["--start", "latest"]).await;
    assert_eq!(loaded.unwrap()["isNew"], true);
    let contents = stage.settled(&host).await;
    assert_eq!(decisions(&contents, "echo"), 0);

    let first = replay(&operator, "echo", &[]).await;
    assert_eq!(counts(&first), [0, 0, events.into(), 0], "{first}");
    let sent = stage.decided(&host, "echo", events).await;
    told_once(&sent, "echo", 0..events);
    assert_eq!(sent.gaps(), Vec::<String>::new());
    let second = replay(&operator, "echo", &[]).await;
    assert_eq!(counts(&second), [events.into(), 0, 0, 0], "{second}");
    let again = Contents::read(&host.data()).await.unwrap();
    assert_eq!(sent.streams, again.streams, "nothing was sent twice");

    assert_eq!(counted(&host).await, events.to_string());
    replay(&operator, "counter", &[]).await;
    assert_eq!(counted(&host).await, events.to_string());
    replay(&operator, "counter", &["--with-state"]).await;
    assert_eq!(counted(&host).await, (2 * events).to_string());
    println!(
        "replay: {events} missed events sent once, a second replay sent {}; the counter stayed at {events}, and with --with-state came to {}",
        second["new"],
        2 * events
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// Of the last hour, to its end.
async fn replay(operator: &Operator, name: &str, options: &[&str]) -> Value {
    let command = [&["plugin", "replay", name, "--from", "1h"], options].concat();
    let status = operator.ask(&command).await.unwrap();
    assert_eq!(status["state"], "done", "{status}");
    assert_eq!(status["failed"], 0, "{status}");
    status
}

/// Notifications that are the same, changed, new and missing.
fn counts(status: &Value) -> [u64; 4] {
    ["same", "changed", "new", "missing"].map(|key| status[key].as_u64().unwrap())
}

/// What the guest `counter` has counted.
async fn counted(host: &Host) -> String {
    let contents = Contents::read(&host.data()).await.unwrap();
    let key = ("counter".to_owned(), "count".to_owned());
    String::from_utf8(contents.state[&key].clone()).unwrap()
}
