//! `carillon plugin logs`.

use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::host::{Host, PATIENCE, ended, guest};

/// The lines that a process prints, as it prints them.
fn lines(out: ChildStdout) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            // The test may have seen enough.
            let _ = sender.send(line.unwrap());
        }
    });
    lines
}

#[tokio::test]
async fn a_log_is_followed_until_the_host_ends_and_that_is_said() {
    let mut host = Host::start().await;
    host.ok(&["plugin", "load", &guest("greeter-v1")]).await;
    let mut follower = host
        .command(&["plugin", "logs", "greeter", "-f", "--tail", "1"])
        .spawn()
        .unwrap();
    let mut lines = lines(follower.stdout.take().unwrap());
    let mut line = async || {
        let line = timeout(PATIENCE, lines.recv()).await.expect("a line");
        line.expect("the follower goes on")
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
    let done = ended(follower).await;
    assert_eq!(done.code, 1);
    assert!(
        done.error.contains("the host has ended the log"),
        "{done:?}"
    );
}
