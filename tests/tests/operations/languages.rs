//! A plugin that is not written in Rust: `examples/hello-javascript`, with a JavaScript engine in it.

use carillon_tests::host::guest;
use carillon_tests::operate::Operator;

use crate::stage::{Stage, told_once};

const NAME: &str = "hello-javascript";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_javascript_is_granted_an_empty_system_and_works_like_any_other() {
    const EVENTS: u32 = 500;
    let stage = Stage::new("javascript", 2).await;
    let mut stern = stage.setup("").start().await.unwrap();
    let operator = Operator::of(&stern).unwrap();
    let binary = guest(NAME).display().to_string();
    let refused = operator
        .refused(&["plugin", "load", &binary])
        .await
        .unwrap();
    assert!(
        refused.contains("with wasi = true in [plugins.hello-javascript]"),
        "{refused}"
    );
    assert_eq!(stern.stop().unwrap(), 0, "{}", stern.log_tail());

    let config =
        format!("[plugins.{NAME}]\nwasi = true\nsettings = {{ greeting = \"Guten Tag\" }}\n");
    let mut host = stage.setup(&config).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    operator.load(&guest(NAME), &[]).await.unwrap();
    stage.produce(0..EVENTS / 2).await;
    stage.settled(&host).await;
    host.kill().unwrap();
    host.restart().await.unwrap();
    stage.produce(EVENTS / 2..EVENTS).await;
    let contents = stage.settled(&host).await;
    told_once(&contents, NAME, 0..EVENTS);
    let logged = |text: &str| text.split_once("Booked at 20").is_some();
    for entry in contents.entries() {
        assert!(entry.title.starts_with("Guten Tag: "), "{entry:?}");
        assert!(logged(&entry.body), "{entry:?}");
    }

    let shown = operator.ask(&["plugin", "show", NAME]).await.unwrap();
    assert!(shown["asked"].to_string().contains("\"wasi\""), "{shown}");
    let granted = &shown["granted"]["wasi"];
    println!(
        "JavaScript: without a grant: {refused}; with one ({granted}): {EVENTS} of {EVENTS} events told of once, over a kill -9; p99 {} ms, {} bytes of memory",
        shown["p99Ms"], shown["memoryBytes"]
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}
