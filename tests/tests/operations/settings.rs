//! Settings that an operator changes while events flow.

use carillon_tests::host::guest;
use carillon_tests::operate::Operator;
use carillon_tests::store::Contents;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::stage::Stage;

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
    println!(
        "settings: {}; another key: {}",
        said.join("; "),
        problem["detail"]
    );

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
