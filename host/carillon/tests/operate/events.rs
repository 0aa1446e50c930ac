//! What became of events: replays, shadows, dead letters, explanations.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::host::{Host, ended, guest, signal};

#[tokio::test]
async fn a_replay_shows_what_it_would_send_and_then_sends_it_once() {
    let host = Host::start().await;
    host.book(3).await;
    host.ok(&["plugin", "load", &guest("greeter-v1")]).await;
    let dry = ["plugin", "replay", "greeter", "--from", "1h", "--dry-run"];
    let told = host.ok(&dry).await;
    assert!(
        told.contains("  + title: Hello: booking.created\n"),
        "{told}"
    );
    assert!(told.contains("(a replay would send these)"), "{told}");
    let status = host.run(&[&dry[..], &["--json"]].concat()).await.json();
    let new = status["new"].as_u64().unwrap();
    assert!(new >= 3 && status["same"] == 0, "{status}");

    host.ok(&["plugin", "replay", "greeter", "--from", "1h"])
        .await;
    let status = host.run(&[&dry[..], &["--json"]].concat()).await.json();
    assert_eq!(
        (&status["new"], &status["same"]),
        (&0.into(), &new.into()),
        "{status}"
    );
}

#[tokio::test]
async fn an_interrupted_replay_is_cancelled_and_says_how_far_it_came() {
    let host = Host::start().await;
    host.book(120).await;
    // About 20 ms an event.
    host.ok(&["plugin", "load", &guest("slow")]).await;
    let replay = host
        .command(&[
            "plugin",
            "replay",
            "slow",
            "--from",
            "1h",
            "--dry-run",
            "--json",
        ])
        .spawn()
        .unwrap();
    // Until the host has begun it, and not until it has ended.
    host.eventually(&["audit", "--plugin", "slow"], |audit| {
        audit["items"][0]["action"] == "replay"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(&replay, Signal::INT);
    let done = ended(replay).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.error.contains("the replay was cancelled"), "{done:?}");
    let status = done.json();
    assert_eq!(status["state"], "cancelled");
    assert!(status["handled"].as_u64().unwrap() < 120, "{status}");
}

#[tokio::test]
async fn a_shadow_is_laid_beside_the_active_version() {
    let host = Host::start().await;
    host.ok(&["plugin", "load", &guest("greeter-v1")]).await;
    let shadow = host
        .ok(&["plugin", "load", &guest("greeter-v2"), "--shadow"])
        .await;
    assert!(shadow.contains("as shadow beside what runs"), "{shadow}");
    host.book(3).await;
    host.eventually(&["plugin", "diff", "greeter"], |report| {
        report["compared"] == 3
    })
    .await;
    let told = host.ok(&["plugin", "diff", "greeter"]).await;
    assert!(
        told.starts_with("greeter: shadow 2.0.0 beside 1.0.0, which still runs\n"),
        "{told}"
    );
    assert!(
        told.contains("3 events compared: 3 alike, 0 different"),
        "{told}"
    );
    let list = host.ok(&["plugin", "list"]).await;
    assert!(
        list.lines()
            .nth(2)
            .unwrap()
            .starts_with("  beside it  2.0.0"),
        "{list}"
    );
    let aborted = host.ok(&["plugin", "abort", "greeter"]).await;
    assert!(aborted.starts_with("greeter 1.0.0 is active"), "{aborted}");
    let again = host.run(&["plugin", "promote", "greeter"]).await;
    assert_eq!(again.code, 1);
    assert!(again.error.contains("has no candidate"), "{again:?}");
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_purged_by_plugin() {
    let host = Host::start().await;
    host.ok(&["plugin", "load", &guest("rejecter")]).await;
    host.book(3).await;
    let letters = host
        .eventually(&["dead-letters", "list"], |page| {
            page["items"].as_array().unwrap().len() == 3
        })
        .await;
    let listed = host
        .ok(&["dead-letters", "list", "--plugin", "rejecter"])
        .await;
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(
        listed.contains("rejected         1  this guest rejects"),
        "{listed}"
    );
    let id = letters["items"][0]["id"].to_string();
    let shown = host.ok(&["dead-letters", "show", &id]).await;
    assert!(
        shown.contains("  code      rejected\n") && shown.contains("Meeting"),
        "{shown}"
    );

    let again = host
        .run(&["dead-letters", "replay", "--plugin", "rejecter"])
        .await;
    assert_eq!(again.code, 1);
    assert!(again.error.contains("3 of 3 failed again"), "{again:?}");
    assert_eq!(again.out.matches("failed").count(), 3, "{again:?}");
    host.ok(&["plugin", "load", &guest("echo")]).await;
    let other = host
        .ok(&["dead-letters", "replay", &id, "--to", "echo"])
        .await;
    assert!(other.contains("handled"), "{other}");

    let purged = host.ok(&["dead-letters", "purge", &id]).await;
    assert_eq!(purged, "1 dead letter deleted\n");
    let purged = host
        .ok(&["dead-letters", "purge", "--plugin", "rejecter"])
        .await;
    assert_eq!(purged, "2 dead letters deleted\n");
    assert_eq!(
        host.ok(&["dead-letters", "list"]).await,
        "There are none.\n"
    );
}

#[tokio::test]
async fn an_event_is_explained_by_its_notification_its_id_and_its_place() {
    let host = Host::start().await;
    host.ok(&["plugin", "load", &guest("echo")]).await;
    host.book(1).await;
    let token = host.ok(&["token", "--user", "user-1"]).await;
    let inbox = format!("{}/inbox", host.address("gateway").unwrap());
    let http = reqwest::Client::new();
    let booked = |item: &Value| item["kind"] == "booking.created";
    let notification = loop {
        let answer = http
            .get(&inbox)
            .bearer_auth(token.trim())
            .send()
            .await
            .unwrap();
        let page: Value = answer.json().await.unwrap();
        let items = page["items"].as_array().unwrap();
        if let Some(item) = items.iter().find(|item| booked(item)) {
            break item.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for (id, subject) in [("id", "notification"), ("eventId", "event")] {
        let id = notification[id].as_str().unwrap();
        let told = host.ok(&["explain", id]).await;
        assert!(told.starts_with(&format!("{subject} {id}\n")), "{told}");
        assert!(told.contains("nobody was connected when number "), "{told}");
        let row = told.lines().find(|line| line.starts_with("echo"));
        assert!(row.is_some_and(|row| row.contains("handled")), "{told}");
    }
    let id = notification["eventId"].as_str().unwrap();
    let record = host.run(&["explain", id, "--json"]).await.json()["record"].clone();
    let place = format!(
        "booking-events/{}/{}",
        record["partition"], record["offset"]
    );
    let told = host.ok(&["explain", &place]).await;
    assert!(told.starts_with(&format!("record {place}\n")), "{told}");
    let unknown = host.run(&["explain", "nothing"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.error.contains("nothing is known by"), "{unknown:?}");
}
