//! Guests that fill what they are given: the space of their state, the log.

use carillon_tests::operate::{Operator, items};
use reqwest::Method;
use serde_json::json;

use super::{Case, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_fills_its_state_is_told_that_its_space_is_full() {
    const EVENTS: usize = 40;
    const VALUE_BYTES: u64 = 4_096;
    const QUOTA_BYTES: u64 = 20_000;
    let outcome = Case {
        name: "state-quota",
        guest: "state-filler",
        config: format!("[plugins.state-filler.limits]\nstate_total_bytes = {QUOTA_BYTES}"),
        data: vec![json!({ "bytes": VALUE_BYTES }); EVENTS],
    };
    let Outcome {
        mut host, titles, ..
    } = outcome.run().await;
    let operator = Operator::of(&host).unwrap();

    let said = |word: &str| titles.iter().filter(|title| title.contains(word)).count() as u64;
    let (written, full) = (said("written"), said("space is full"));
    assert_eq!(written + full, EVENTS as u64);
    assert_eq!(written, QUOTA_BYTES / VALUE_BYTES);
    let shown = operator
        .ask(&["plugin", "show", "state-filler"])
        .await
        .unwrap();
    let mut limits = shown["limits"].as_array().unwrap().iter();
    let quota = limits
        .find(|limit| limit["limit"] == "state_total_bytes")
        .unwrap();
    assert_eq!(quota["granted"], QUOTA_BYTES);
    let used = quota["highest"].as_u64().unwrap();
    assert!(
        (written * VALUE_BYTES..=QUOTA_BYTES).contains(&used),
        "{used}"
    );
    println!(
        "state-filler: echo heard {EVENTS} of {EVENTS}; {written} values of {VALUE_BYTES} bytes were written and {full} refused; \
         the operator reads: state_total_bytes granted {QUOTA_BYTES}, highest {used}"
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_floods_its_log_is_held_to_its_quota_over_all_events() {
    const EVENTS: usize = 300;
    const LINES_A_SECOND: usize = 50;
    const LINES_AN_EVENT: usize = 32;
    let case = Case {
        name: "log-quota",
        guest: "log-flood",
        config: format!("[plugins.log-flood.limits]\nlog_lines_per_s = {LINES_A_SECOND}"),
        data: vec![json!({}); EVENTS],
    };
    let Outcome {
        mut host, titles, ..
    } = case.run().await;
    let operator = Operator::of(&host).unwrap();

    assert_eq!(titles.len(), EVENTS, "it works all the same");
    let path = "plugins/log-flood/logs?tail=1000";
    let logs = operator.done(Method::GET, path, None).await.unwrap();
    let written = items(&logs).filter(|line| line["from"] == "plugin").count();
    // The bucket's worth, and what filled it again while the events were handled.
    assert!(written >= LINES_A_SECOND, "{written}");
    assert!(written < EVENTS * LINES_AN_EVENT / 10, "{written}");
    let line = host.log_line(&["log-flood", "dropped"]).await.unwrap();
    println!(
        "log-flood: echo heard {EVENTS} of {EVENTS}; of {} lines within the limit of each event {written} were written at {LINES_A_SECOND} a second; the operator reads: {line}",
        EVENTS * LINES_AN_EVENT
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_misuses_its_empty_system_is_ended_and_said_to_be() {
    const TASKS: [(&str, &str); 5] = [
        ("sleep-for-ever", "processor time"),
        ("hoard", "1024 handles"),
        ("random-flood", "random bytes"),
        ("poll-nothing", "waits for nothing"),
        ("exit", "ended its own process"),
    ];
    let outcome = Case {
        name: "empty-system",
        guest: "system-user",
        config: "[pipeline]\nmax_attempts = 1\n[plugins.system-user]\nwasi = true".to_owned(),
        data: TASKS.map(|(task, _)| json!({ "do": task })).into(),
    };
    let Outcome {
        mut host, contents, ..
    } = outcome.run().await;
    let letters = contents.dead_letters.iter();
    let mut letters: Vec<_> = letters
        .filter(|letter| letter.plugin == "system-user")
        .collect();
    letters.sort_by_key(|letter| letter.record_offset);
    assert_eq!(letters.len(), TASKS.len(), "{letters:?}");
    for ((task, words), letter) in TASKS.iter().zip(letters) {
        assert!(letter.reason.contains(words), "{task}: {letter:?}");
        println!("system-user: {task}: the operator reads: {}", letter.reason);
    }
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}
