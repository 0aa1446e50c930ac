//! `carillon plugin logs`.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::host::{Done, Host, PATIENCE, guest};

#[tokio::test]
async fn a_log_is_followed_until_the_host_ends_and_that_is_said() {
    let mut host = Host::start().await;
    host.ok(&["plugin", "load", &guest("greeter-v1")]).await;
    let mut follower = host
        .command(&["plugin", "logs", "greeter", "-f", "--tail", "1"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        line.expect("a line")
            .unwrap()
            .expect("the follower goes on")
    };
    let first = line().await;
    assert!(first.contains("host  version 1.0.0"), "{first}");
    host.ok(&["plugin", "pause", "greeter"]).await;
    let next = line().await;
    assert!(next.ends_with("host  it is paused"), "{next}");

    let tail = host.ok(&["plugin", "logs", "greeter", "--tail", "1"]).await;
    assert_eq!(tail, format!("{next}\n"));
    let json = host
        .run(&["plugin", "logs", "greeter", "--tail", "1", "--json"])
        .await;
    assert_eq!(json.json()["text"], "it is paused");

    host.end().await;
    let output = tokio::time::timeout(Duration::from_secs(10), follower.wait_with_output()).await;
    let done = Done::of(&output.expect("the follower ends with the host").unwrap());
    assert_eq!(done.code, 1);
    assert!(
        done.error.contains("the host has ended the log"),
        "{done:?}"
    );
}
