//! Swaps, rollbacks, pauses, failing loads and restarts under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use carillon_tests::audience::{Audience, Heard};
use carillon_tests::host::{Host, guest};
use carillon_tests::operate::Operator;
use carillon_tests::pace::{SendTimes, quantiles};
use carillon_tests::store::Contents;
use reqwest::StatusCode;
use serde_json::Value;

use crate::stage::{Stage, in_order, size, told_once};

/// How long an operator waits between two actions.
const BREATH: Duration = Duration::from_millis(300);
/// Each client has so many bookings.
const KEYS_A_USER: u32 = 5;

/// A stretch of time.
#[derive(Clone, Copy)]
struct Stretch {
    from: Instant,
    to: Instant,
}

impl Stretch {
    async fn of<T>(work: impl Future<Output = T>) -> (Self, T) {
        let from = Instant::now();
        let done = work.await;
        let to = Instant::now();
        (Self { from, to }, done)
    }

    fn holds(self, at: Instant) -> bool {
        self.from <= at && at <= self.to
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_heard_twice_while_plugins_are_swapped_under_load() {
    let (users, rate) = (size(50, 200), size(500, 2_000));
    let stage = Stage::with("swaps", 4, users * KEYS_A_USER, users).await;
    let mut host = stage.setup("").start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    operator.load(&guest("greeter-v1"), &[]).await.unwrap();
    let audience = Audience::connect(&host, users).await.unwrap();
    let flow = stage.flow(rate);
    let times = flow.times();

    // A broker whose code is not compiled yet is not what is measured.
    tokio::time::sleep(Duration::from_secs(size(3, 15).into())).await;
    let undisturbed = tokio::time::sleep(Duration::from_secs(size(3, 15).into()));
    let (calm, ()) = Stretch::of(undisturbed).await;
    let (swapping, slowest) = Stretch::of(swap(&operator, size(8, 50))).await;
    roll_back(&operator, size(2, 10)).await;
    let mut outages = vec![restart(&mut host, &audience, "SIGTERM").await];
    pause_and_resume(&operator, size(2, 10)).await;
    let refused = fail_to_load(&operator).await;
    if size(0, 1) == 1 {
        outages.push(restart(&mut host, &audience, "SIGKILL").await);
        swap(&operator, 2).await;
    }
    let total = flow.end().await.unwrap();

    let contents = stage.settled(&host).await;
    let bound = Duration::from_secs(60);
    let heard = audience.end(total.into(), bound).await.unwrap();
    told_once(&contents, "greeter", 0..total);
    in_order(&contents);
    decided_once(&contents, total);
    everybody_heard_everything(&contents, &heard);
    let dropped = drops_outside(&heard, &outages);
    let pushes = |stretch| quantiles(latencies(&heard, &times, stretch)).unwrap();
    println!(
        "swaps: {total} events at {rate}/s to {users} clients; {} swaps, {} rollbacks, {} pauses, {} failing loads, {} restarts: \
         lost 0, doubled 0, dropped connections {dropped} (but for the restarts); \
         push p50 / p99 / max without swaps {}, with swaps {}; slowest swap: ready in {} ms, drained in {} ms",
        size(8, 52),
        size(2, 10),
        size(2, 10),
        refused.len(),
        outages.len(),
        pushes(calm),
        pushes(swapping),
        slowest.0,
        slowest.1
    );
    for sentence in refused {
        println!("swaps: a load was refused: {sentence}");
    }
    assert_eq!(dropped, 0);
    let kept = operator.versions("greeter").await.unwrap().len();
    assert!((2..=11).contains(&kept), "{kept} loads are kept");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// Loads the two versions in turns; answers the longest times, in milliseconds, until one was
/// ready and until the calls of the other were done.
async fn swap(operator: &Operator, times: u32) -> (u64, u64) {
    let binaries = ["greeter-v2", "greeter-v1"].map(|name| std::fs::read(guest(name)).unwrap());
    let mut slowest = (0, 0);
    for binary in binaries.iter().cycle().take(times as usize) {
        let (status, outcome) = operator.put("greeter", binary.clone()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{outcome}");
        assert_ne!(outcome["replaced"], outcome["version"], "{outcome}");
        let ms = |key: &str| outcome[key].as_u64().unwrap();
        slowest = (slowest.0.max(ms("readyMs")), slowest.1.max(ms("drainedMs")));
        tokio::time::sleep(BREATH).await;
    }
    slowest
}

async fn roll_back(operator: &Operator, times: u32) {
    for _ in 0..times {
        let before = operator.plugin("greeter").await.unwrap();
        let command = ["plugin", "rollback", "greeter"];
        let outcome = operator.ask(&command).await.unwrap();
        assert_eq!(outcome["replaced"], before["version"], "{outcome}");
        assert_ne!(outcome["version"], before["version"], "{outcome}");
        tokio::time::sleep(BREATH).await;
    }
}

async fn pause_and_resume(operator: &Operator, times: u32) {
    for _ in 0..times {
        for (command, state) in [("pause", "paused"), ("resume", "active")] {
            let plugin = operator.ask(&["plugin", command, "greeter"]).await.unwrap();
            assert_eq!(plugin["state"], state, "{plugin}");
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// Each is refused with a sentence, and what runs keeps running.
async fn fail_to_load(operator: &Operator) -> Vec<String> {
    let read = |name: &str| std::fs::read(guest(name)).unwrap();
    let mut cut_off = read("greeter-v2");
    cut_off.truncate(cut_off.len() / 2);
    let before = operator.plugin("greeter").await.unwrap();
    let mut refused = Vec::new();
    for (binary, word) in [
        (cut_off, "cut off"),
        (
            b"Dear operator, this is a letter.".to_vec(),
            "not WebAssembly",
        ),
        (read("wrong-world"), "another world"),
        (read("trap-in-describe"), "could not describe itself"),
        (read("echo"), "\"echo\""),
    ] {
        let (status, problem) = operator.put("greeter", binary).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let sentence = problem["detail"].as_str().unwrap().to_owned();
        assert!(sentence.contains(word), "{sentence}");
        refused.push(sentence);
        let after = operator.plugin("greeter").await.unwrap();
        assert_eq!(after["sha256"], before["sha256"]);
        assert_eq!(after["state"], Value::from("active"));
    }
    refused
}

async fn restart(host: &mut Host, audience: &Audience, signal: &str) -> Stretch {
    let (outage, ()) = Stretch::of(async {
        match signal {
            "SIGTERM" => assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail()),
            _ => host.kill().unwrap(),
        }
        host.restart().await.unwrap();
        audience.gateway_at(&host.gateway().unwrap());
    })
    .await;
    outage
}

/// Each record once, and each by the greeter.
fn decided_once(contents: &Contents, total: u32) {
    let own = contents.decisions.iter().filter(|(by, ..)| by == "greeter");
    let events: BTreeSet<&str> = own.clone().map(|(_, event, ..)| event.as_str()).collect();
    let records: BTreeSet<_> = own
        .clone()
        .map(|(.., partition, offset)| (partition, offset))
        .collect();
    let total = total as usize;
    assert_eq!(
        (own.count(), events.len(), records.len()),
        (total, total, total)
    );
    assert_eq!(
        contents.dead_letters.len(),
        0,
        "{:#?}",
        contents.dead_letters
    );
}

/// Once, in order, and as the store has it.
fn everybody_heard_everything(contents: &Contents, heard: &[Heard]) {
    for client in heard {
        let entries = &contents.streams[&client.stream];
        let stored = entries
            .iter()
            .map(|(offset, entry)| (offset.unsigned_abs(), entry.event_id.as_str()));
        let pushed = client
            .pushes
            .iter()
            .map(|push| (push.offset, push.event_id.as_str()));
        assert!(
            stored.eq(pushed),
            "{}: {} were stored, {} were heard",
            client.stream,
            entries.len(),
            client.pushes.len()
        );
    }
}

/// How many connections were lost while the host was up. Each outage loses every connection.
fn drops_outside(heard: &[Heard], outages: &[Stretch]) -> usize {
    for client in heard {
        assert!(client.recoveries >= outages.len(), "{:?}", client.drops);
    }
    let drops = heard.iter().flat_map(|client| &client.drops);
    let outside = drops.filter(|(at, _)| !outages.iter().any(|outage| outage.holds(*at)));
    outside
        .inspect(|(_, why)| println!("dropped: {why}"))
        .count()
}

/// Of events that were sent within a stretch: from there until the client had them.
fn latencies(heard: &[Heard], times: &SendTimes, stretch: Stretch) -> Vec<Duration> {
    let pushes = heard.iter().flat_map(|client| &client.pushes);
    pushes
        .filter_map(|push| Some((push.at, times.of(&push.event_id)?)))
        .filter(|(_, sent)| stretch.holds(*sent))
        .map(|(at, sent)| at.saturating_duration_since(sent))
        .collect()
}
