//! The two sides of a trial: what they answered, compared, bounded.

use carillon_store::{
    PluginId, Share, Side, StateWrites, StoreConfig, StoreError, TrialAnswer, TrialId, TrialMode,
    TrialSummary, event_key, event_key_hex,
};

use crate::world::{THEN_MS, World};

/// A world with a trial of its first plugin.
async fn trying(config: StoreConfig) -> (World, TrialId) {
    let world = World::with(config).await;
    let load = world.load("1.0.0", "aa", THEN_MS);
    world
        .store
        .record_load(world.plugins[0], load, &[])
        .await
        .unwrap();
    let trial = again(&world).await;
    (world, trial)
}

async fn again(world: &World) -> TrialId {
    let load = world.load("2.0.0", "bb", THEN_MS);
    world
        .store
        .record_candidate(world.plugins[0], load, TrialMode::Shadow, None)
        .await
        .unwrap()
        .trial
}

/// `handled` with one action that says `text`.
fn answer(world: &World, trial: TrialId, side: Side, event: &str, text: &str) -> TrialAnswer {
    TrialAnswer {
        trial,
        plugin: world.plugins[0],
        side,
        event_key: event_key(event),
        event_id: event.to_owned(),
        kind: "booking.created".to_owned(),
        source: world.source(7),
        outcome: "handled".to_owned(),
        detail: None,
        digest: u64::from_be_bytes(event_key(text)[..8].try_into().unwrap()),
        actions: format!("[{{\"notify\":\"{text}\"}}]"),
        took_us: 100,
    }
}

async fn answered(world: &World, answers: Vec<TrialAnswer>) {
    let share = Share {
        answers,
        ..Share::without_cursor()
    };
    world.commit_one(share).await.unwrap();
}

/// `(compared, equal, different, only_active, only_candidate)`.
fn counts(summary: &TrialSummary) -> (u64, u64, u64, u64, u64) {
    (
        summary.compared,
        summary.equal,
        summary.different,
        summary.only_active,
        summary.only_candidate,
    )
}

#[tokio::test]
async fn the_differences_are_exactly_the_events_that_both_sides_answered_differently() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let of = |side, event: &str, text: &str| answer(&world, trial, side, event, text);
    let rejected = TrialAnswer {
        outcome: "rejected".to_owned(),
        detail: Some("no room".to_owned()),
        ..of(Side::Candidate, "rejected", "same")
    };
    let other_reason = |side, reason: &str| TrialAnswer {
        detail: Some(reason.to_owned()),
        ..of(side, "reasons", "same")
    };
    answered(
        &world,
        vec![
            of(Side::Active, "equal", "same"),
            of(Side::Active, "reworded", "old"),
            of(Side::Active, "rejected", "same"),
            of(Side::Active, "behind", "same"),
            other_reason(Side::Active, "one"),
        ],
    )
    .await;
    answered(
        &world,
        vec![
            of(Side::Candidate, "equal", "same"),
            of(Side::Candidate, "reworded", "new"),
            rejected,
            of(Side::Candidate, "ahead", "same"),
            other_reason(Side::Candidate, "another"),
        ],
    )
    .await;
    let differences = world
        .store
        .trial_differences(trial, None, 100)
        .await
        .unwrap();
    let mut events: Vec<&str> = differences.iter().map(|d| d.event_id.as_str()).collect();
    events.sort_unstable();
    assert_eq!(events, ["rejected", "reworded"]);
    let reworded = differences
        .iter()
        .find(|d| d.event_id == "reworded")
        .unwrap();
    assert_eq!(
        serde_json::to_value(reworded).unwrap(),
        serde_json::json!({
            "eventKey": event_key_hex(event_key("reworded")), "eventId": "reworded",
            "kind": "booking.created", "topic": "booking-events", "partition": 0, "offset": 7,
            "active": { "outcome": "handled", "detail": null, "actions": [{ "notify": "old" }], "tookUs": 100 },
            "candidate": { "outcome": "handled", "detail": null, "actions": [{ "notify": "new" }], "tookUs": 100 },
        })
    );
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(counts(&summary), (4, 2, 2, 1, 1));
    assert_eq!((summary.faults_active, summary.faults_candidate), (0, 0));
}

#[tokio::test]
async fn differences_come_in_pages_in_the_order_of_their_keys() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let mut answers = Vec::new();
    for n in 0..25 {
        let event = format!("e{n}");
        answers.push(answer(&world, trial, Side::Active, &event, "old"));
        answers.push(answer(&world, trial, Side::Candidate, &event, "new"));
    }
    answered(&world, answers).await;
    let mut keys = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let after = keys.last().copied();
        let page = world
            .store
            .trial_differences(trial, after, 10)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        sizes.push(page.len());
        keys.extend(page.iter().map(|difference| difference.event_key));
    }
    assert_eq!(sizes, [10, 10, 5]);
    let mut expected: Vec<[u8; 16]> = (0..25).map(|n| event_key(&format!("e{n}"))).collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn large_answers_come_a_few_at_a_time_and_none_is_left_out() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let long = "x".repeat(3 << 20);
    let mut answers = Vec::new();
    for event in ["a", "b", "c"] {
        answers.push(answer(&world, trial, Side::Active, event, &long));
        answers.push(answer(&world, trial, Side::Candidate, event, "short"));
    }
    answered(&world, answers).await;
    let first = world
        .store
        .trial_differences(trial, None, 10)
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    let rest = world
        .store
        .trial_differences(trial, Some(first[1].event_key), 10)
        .await
        .unwrap();
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn a_repeat_replaces_what_the_side_answered_before() {
    let (world, trial) = trying(StoreConfig::default()).await;
    for (active, candidate) in [("old", "new"), ("same", "same")] {
        answered(
            &world,
            vec![
                answer(&world, trial, Side::Active, "e", active),
                answer(&world, trial, Side::Candidate, "e", candidate),
            ],
        )
        .await;
    }
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(counts(&summary), (1, 1, 0, 0, 0));
    // Within one group the last one counts.
    answered(
        &world,
        vec![
            answer(&world, trial, Side::Active, "e", "same"),
            answer(&world, trial, Side::Active, "e", "last"),
        ],
    )
    .await;
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(counts(&summary), (1, 0, 1, 0, 0));
}

#[tokio::test]
async fn the_summary_tells_times_and_faults_of_each_side() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let mut answers = Vec::new();
    for n in 1..=100_u32 {
        let event = format!("e{n}");
        answers.push(TrialAnswer {
            took_us: n * 10,
            ..answer(&world, trial, Side::Active, &event, "same")
        });
        let outcome = match n {
            1..=3 => "trap",
            4 => "retry",
            5 => "rejected",
            _ => "handled",
        };
        answers.push(TrialAnswer {
            took_us: n,
            outcome: outcome.to_owned(),
            ..answer(&world, trial, Side::Candidate, &event, "same")
        });
    }
    answered(&world, answers).await;
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(
        summary,
        TrialSummary {
            compared: 100,
            equal: 95,
            different: 5,
            only_active: 0,
            only_candidate: 0,
            faults_active: 0,
            faults_candidate: 4,
            p50_us_active: Some(500),
            p99_us_active: Some(990),
            p50_us_candidate: Some(50),
            p99_us_candidate: Some(99),
        }
    );
}

#[tokio::test]
async fn the_summary_of_a_trial_that_nobody_answered_is_empty_and_of_none_is_an_error() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(summary, TrialSummary::default());
    let missing = world
        .store
        .trial_summary(TrialId(trial.0 + 1))
        .await
        .unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing:?}");
}

#[tokio::test]
async fn an_answer_stands_or_falls_with_its_share() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let fenced = Share {
        answers: vec![answer(&world, trial, Side::Active, "e", "text")],
        ..world.share(0, Some(99), 100)
    };
    world.commit_one(fenced).await.unwrap_err();
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(summary, TrialSummary::default());
}

#[tokio::test]
async fn striking_a_plugin_takes_its_answers_and_keeps_every_letter() {
    let (world, trial) = trying(StoreConfig::default()).await;
    let mine = answer(&world, trial, Side::Candidate, "e", "text");
    let other = TrialAnswer {
        plugin: PluginId(77),
        side: Side::Active,
        ..mine.clone()
    };
    let mut share = Share {
        answers: vec![mine, other],
        decisions: vec![world.decision("e", THEN_MS)],
        state: vec![StateWrites {
            plugin: PluginId(77),
            ..world.state(0, &[])
        }],
        settled: vec![carillon_store::DeadLetterRow(1)],
        ..world.share(0, None, 1)
    };
    share.strike(world.plugins[0]);
    assert_eq!(share.answers.len(), 1);
    assert_eq!(share.answers[0].plugin, PluginId(77));
    assert!(share.decisions.is_empty() && share.settled.is_empty());
    assert_eq!(share.state.len(), 1);
    assert!(share.cursor.is_some());
}

/// 60 events on which both agree, 10 on which they differ, 10 of one side each.
fn a_hundred_and_sixty(world: &World, trial: TrialId) -> Vec<TrialAnswer> {
    let mut answers = Vec::new();
    for n in 0..60 {
        for side in [Side::Active, Side::Candidate] {
            answers.push(answer(world, trial, side, &format!("equal-{n}"), "same"));
        }
    }
    for n in 0..10 {
        let event = format!("different-{n}");
        answers.push(answer(world, trial, Side::Active, &event, "old"));
        answers.push(TrialAnswer {
            outcome: "trap".to_owned(),
            ..answer(world, trial, Side::Candidate, &event, "old")
        });
        let event = format!("active-{n}");
        answers.push(answer(world, trial, Side::Active, &event, "old"));
        let event = format!("candidate-{n}");
        answers.push(answer(world, trial, Side::Candidate, &event, "old"));
    }
    answers
}

#[tokio::test]
async fn a_trial_is_bounded_and_its_summary_stays_true() {
    // At most so many, what is left at most, whether all differences can be told.
    for (most, left, differences) in [
        (159, 144, 10),
        (100, 90, 10),
        (40, 36, 10),
        (20, 18, 9),
        (10, 9, 4),
    ] {
        let (world, trial) = trying(StoreConfig {
            trial_answers: most,
            ..StoreConfig::default()
        })
        .await;
        answered(&world, a_hundred_and_sixty(&world, trial)).await;
        let before = world.store.trial_summary(trial).await.unwrap();
        assert_eq!(counts(&before), (70, 60, 10, 10, 10));
        let gone = world.store.trim_trials().await.unwrap();
        assert!(160 - gone <= left, "{gone} of 160 went, for {left}");
        assert!(160 - gone >= left - 1, "{gone} of 160 went, for {left}");
        let after = world.store.trial_summary(trial).await.unwrap();
        assert_eq!(counts(&after), counts(&before), "at most {most}");
        assert_eq!(
            (after.faults_active, after.faults_candidate),
            (0, 10),
            "at most {most}"
        );
        // Times are rounded down to what a sixteenth allows.
        assert_eq!(after.p99_us_active.map(|took| took.max(100)), Some(100));
        assert!(after.p50_us_candidate.unwrap() >= 100 - 100 / 16);
        let told = world
            .store
            .trial_differences(trial, None, 100)
            .await
            .unwrap();
        assert_eq!(told.len(), differences, "at most {most}");
        assert_eq!(world.store.trim_trials().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_trial_within_its_bound_is_left_alone_until_it_has_grown_beyond() {
    let (world, trial) = trying(StoreConfig {
        trial_answers: 200,
        ..StoreConfig::default()
    })
    .await;
    answered(&world, a_hundred_and_sixty(&world, trial)).await;
    assert_eq!(world.store.trim_trials().await.unwrap(), 0);
    // Repeats replace, so that the trial does not grow.
    answered(&world, a_hundred_and_sixty(&world, trial)).await;
    assert_eq!(world.store.trim_trials().await.unwrap(), 0);
    let more = (0..41).map(|n| answer(&world, trial, Side::Active, &format!("more-{n}"), "x"));
    answered(&world, more.collect()).await;
    assert_eq!(world.store.trim_trials().await.unwrap(), 22);
    let summary = world.store.trial_summary(trial).await.unwrap();
    assert_eq!(counts(&summary), (70, 60, 10, 51, 10));
}

#[tokio::test]
async fn answers_stay_after_the_end_until_the_next_trial_begins_or_the_plugin_is_removed() {
    let (world, first) = trying(StoreConfig {
        trial_answers: 100,
        ..StoreConfig::default()
    })
    .await;
    answered(&world, a_hundred_and_sixty(&world, first)).await;
    world.store.trim_trials().await.unwrap();
    world.store.end_trial(world.plugins[0]).await.unwrap();
    world.store.trim_trials().await.unwrap();
    let summary = world.store.trial_summary(first).await.unwrap();
    assert_eq!(summary.compared, 70);

    let second = again(&world).await;
    answered(&world, vec![answer(&world, second, Side::Active, "e", "x")]).await;
    assert!(world.store.trim_trials().await.unwrap() > 0);
    let left = async |trial| {
        let differences = world.store.trial_differences(trial, None, 9).await.unwrap();
        let summary = world.store.trial_summary(trial).await.unwrap();
        (differences.len(), summary.p50_us_active)
    };
    assert_eq!(left(first).await, (0, None));
    assert_eq!(left(second).await, (0, Some(100)));

    world
        .store
        .uninstall(world.plugins[0], carillon_store::StateFate::Keep)
        .await
        .unwrap();
    assert_eq!(world.store.trim_trials().await.unwrap(), 1);
    assert_eq!(left(second).await, (0, None));
}
