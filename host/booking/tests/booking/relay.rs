//! The relay against a log that fails in every way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use carillon_booking::{Booking, RelaySettings};
use carillon_bus::CORRELATION_ID;
use carillon_events::Event;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::log::{Fate, FaultyLog};
use crate::running::{NOON_MS, Running, until, wish};

/// A relay that runs until it is dropped or stopped.
pub(crate) struct RunningRelay {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningRelay {
    pub(crate) fn start(booking: &Booking, log: &FaultyLog) -> Self {
        Self::start_with(booking, log, Self::settings())
    }

    fn settings() -> RelaySettings {
        RelaySettings {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(20),
            prune_every: Duration::from_millis(20),
            poll: Duration::from_millis(20),
            batch_rows: 16,
            patience: Duration::from_millis(100),
        }
    }

    fn start_with(booking: &Booking, log: &FaultyLog, settings: RelaySettings) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(booking.relay(log.clone(), settings, stopped));
        Self { stop, task }
    }

    /// The process dies: nothing is finished.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// The service stops in order.
    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

pub(crate) async fn all_sent(booking: &Booking) {
    until("an empty outbox", async || {
        (booking.lag().await.unwrap().rows == 0).then_some(())
    })
    .await;
}

/// How many events a log is told that is new, since the one before ended with its process.
pub(crate) async fn told_again(booking: &Booking) -> usize {
    let log = FaultyLog::embedded();
    let relay = RunningRelay::start(booking, &log);
    until("the window again", async || (log.len() > 0).then_some(())).await;
    all_sent(booking).await;
    relay.stop().await;
    log.len()
}

/// The kinds that the log holds of each subject, in order, repeats (by event id) left out.
fn told_by_subject(events: &[Event]) -> HashMap<String, Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for event in events.iter().filter(|event| seen.insert(event.id.clone())) {
        let subject = event.subject_id.clone().unwrap();
        told.entry(subject)
            .or_default()
            .push(event.kind.to_string());
    }
    told
}

#[tokio::test]
async fn what_is_committed_is_sent_at_once_in_order_with_its_key_and_time() {
    let running = Running::new().await;
    let log = FaultyLog::new(|_| Fate::Taken);
    let relay = RunningRelay::start(&running.booking, &log);
    let id = running.book(&wish(9)).await;
    running.clock.forward(Duration::from_secs(7));
    running.step(&id, "check-in").await;
    all_sent(&running.booking).await;
    let records = log.records();
    let committed: Vec<_> = running
        .events()
        .await
        .into_iter()
        .map(|event| event.id)
        .collect();
    let sent: Vec<_> = log.events().into_iter().map(|event| event.id).collect();
    assert_eq!(sent, committed);
    let last = records.last().unwrap();
    assert_eq!(last.topic, "booking-events");
    assert_eq!(last.key.as_deref(), Some(id.as_bytes()));
    assert_eq!(last.timestamp_ms, Some(NOON_MS + 7000));
    // The request's id is in the event and beside it.
    let events = log.events();
    for (record, event) in records.iter().zip(&events) {
        let id = event.correlation_id.clone().unwrap();
        let header = (CORRELATION_ID.to_owned(), id.into_bytes());
        assert_eq!(record.headers, [header]);
    }
    assert_eq!(records[0].topic, "resource-events");
    assert_eq!(records[4].topic, "user-events");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_wakes_the_relay_long_before_it_would_look_by_itself() {
    let running = Running::new().await;
    let log = FaultyLog::new(|_| Fate::Taken);
    let settings = RelaySettings {
        poll: Duration::from_secs(3600),
        ..RunningRelay::settings()
    };
    let relay = RunningRelay::start_with(&running.booking, &log, settings);
    for hour in 0..200 {
        running.book(&wish(hour)).await;
        all_sent(&running.booking).await;
    }
    relay.stop().await;
    assert_eq!(log.len(), 211);
}

#[tokio::test]
async fn a_crash_between_sending_and_marking_sends_the_same_event_again() {
    let running = Running::new().await;
    let silent = FaultyLog::new(|_| Fate::TakenInSilence);
    let relay = RunningRelay::start(&running.booking, &silent);
    until("a record in the log", async || {
        (silent.len() == 11).then_some(())
    })
    .await;
    relay.kill().await;

    let running = running.again().await;
    let log = FaultyLog::new(|_| Fate::Taken);
    let relay = RunningRelay::start(&running.booking, &log);
    all_sent(&running.booking).await;
    relay.stop().await;
    let pairs = |log: &FaultyLog| -> Vec<_> {
        let records = log.records().into_iter();
        records
            .map(|record| (record.value, record.timestamp_ms))
            .collect()
    };
    assert_eq!(
        pairs(&log),
        pairs(&silent),
        "byte for byte, with the first timestamps"
    );
}

#[tokio::test]
async fn a_log_that_fails_at_random_gets_everything_with_each_key_in_order() {
    let running = Running::new().await;
    let log = FaultyLog::new(|_| match rand::random_range(0..3) {
        0 => Fate::Taken,
        1 => Fate::TakenButReportedFailed,
        _ => Fate::Refused,
    });
    let relay = RunningRelay::start(&running.booking, &log);
    let mut expected = HashMap::new();
    for hour in 0..20 {
        let id = running.book(&wish(hour)).await;
        running.step(&id, "check-in").await;
        running.step(&id, "check-out").await;
        expected.insert(
            id,
            [
                "booking.created",
                "booking.checked_in",
                "booking.checked_out",
            ],
        );
    }
    all_sent(&running.booking).await;
    relay.stop().await;
    let told = told_by_subject(&log.events());
    for (id, kinds) in expected {
        assert_eq!(told[&id], kinds);
    }
}

#[tokio::test]
async fn a_record_that_is_never_taken_holds_up_its_own_key_and_no_other() {
    let running = Running::new().await;
    let stuck = running.book(&wish(0)).await;
    running.step(&stuck, "cancel").await;
    let key = stuck.clone().into_bytes();
    let log = FaultyLog::new(move |record| match record.key.as_ref() == Some(&key) {
        true => Fate::Refused,
        false => Fate::Taken,
    });
    let relay = RunningRelay::start(&running.booking, &log);
    for hour in 1..40 {
        running.book(&wish(hour)).await;
    }
    until("all but two events", async || {
        (running.booking.lag().await.unwrap().rows == 2).then_some(())
    })
    .await;
    assert!(!told_by_subject(&log.events()).contains_key(&stuck));
    relay.stop().await;
}

/// More bookings that are stuck than the relay reads at a time, in front of one that is not.
async fn more_stuck_than_a_batch(fate: Fate) {
    let running = Running::new().await;
    let all_but_users = FaultyLog::new(|_| Fate::Taken);
    let relay = RunningRelay::start(&running.booking, &all_but_users);
    all_sent(&running.booking).await;
    relay.stop().await;
    for hour in 0..100 {
        let id = running.book(&wish(hour)).await;
        running.step(&id, "cancel").await;
    }
    let log = FaultyLog::new(move |record| match record.topic.as_str() {
        "booking-events" => fate,
        _ => Fate::Taken,
    });
    let relay = RunningRelay::start(&running.booking, &log);
    let user = json!({
        "id": "hana", "email": "hana@example.com", "displayName": "Hana Novak",
        "timeZone": "Europe/Prague", "locale": "cs",
    });
    assert_eq!(running.post("/users", &user).await.status, 201);
    until("the event behind those that are stuck", async || {
        let events = log.records();
        events
            .iter()
            .any(|record| record.topic == "user-events")
            .then_some(())
    })
    .await;
    until("a note that it was sent", async || {
        (running.booking.lag().await.unwrap().rows == 200).then_some(())
    })
    .await;
    // Each key's second event waits for its first.
    let cancelled = log
        .events()
        .iter()
        .any(|event| event.kind.as_str() == "booking.cancelled");
    assert!(!cancelled);
    relay.kill().await;
}

#[tokio::test]
async fn a_topic_that_takes_nothing_holds_up_no_other_however_much_of_it_waits() {
    more_stuck_than_a_batch(Fate::Refused).await;
}

#[tokio::test]
async fn a_topic_that_does_not_answer_holds_up_no_other_however_much_of_it_waits() {
    more_stuck_than_a_batch(Fate::TakenInSilence).await;
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_sent_once_it_is_taken_with_each_key_in_order() {
    let running = Running::new().await;
    let mut ids = Vec::new();
    for hour in 0..40 {
        let id = running.book(&wish(hour)).await;
        running.step(&id, "cancel").await;
        ids.push(id);
    }
    let takes = Arc::new(AtomicBool::new(false));
    let rule = Arc::clone(&takes);
    let log = FaultyLog::new(move |record| {
        match rule.load(Ordering::Relaxed) || record.topic != "booking-events" {
            true => Fate::Taken,
            false => Fate::Refused,
        }
    });
    let relay = RunningRelay::start(&running.booking, &log);
    until("all but those of bookings", async || {
        (running.booking.lag().await.unwrap().rows == 80).then_some(())
    })
    .await;
    takes.store(true, Ordering::Relaxed);
    all_sent(&running.booking).await;
    relay.stop().await;
    let told = told_by_subject(&log.events());
    for id in ids {
        assert_eq!(told[&id], ["booking.created", "booking.cancelled"]);
    }
    assert_eq!(log.len(), 11 + 80, "nothing is sent twice");
}

#[tokio::test]
async fn what_is_acknowledged_late_is_not_sent_twice_and_the_rest_of_its_key_follows() {
    let running = Running::new().await;
    let mut ids = Vec::new();
    for hour in 0..3 {
        let id = running.book(&wish(hour)).await;
        running.step(&id, "cancel").await;
        ids.push(id);
    }
    let log = FaultyLog::new(|record| match record.topic.as_str() {
        // Longer than the relay's patience.
        "booking-events" => Fate::TakenLate(Duration::from_millis(300)),
        _ => Fate::Taken,
    });
    let relay = RunningRelay::start(&running.booking, &log);
    all_sent(&running.booking).await;
    relay.stop().await;
    assert_eq!(log.len(), 11 + 6);
    let told = told_by_subject(&log.events());
    for id in ids {
        assert_eq!(told[&id], ["booking.created", "booking.cancelled"]);
    }
}

#[tokio::test]
async fn pruning_goes_past_what_cannot_be_sent() {
    let running = Running::new().await;
    let mut database = crate::running::connect(running.folder.path()).await;
    // In front of all others, and more than one step of the pruning looks at.
    sqlx::query("UPDATE outbox SET seq = seq + 10000")
        .execute(&mut database)
        .await
        .unwrap();
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)
         INSERT INTO outbox (seq, event_id, topic, key, value, created_ms, sent_ms)
         SELECT n, 'stuck-' || n, 'stuck', n, X'', 0, NULL FROM number",
    )
    .execute(&mut database)
    .await
    .unwrap();
    running.clock.forward(Duration::from_secs(25 * 3600));
    running.book(&wish(33)).await;
    let log = FaultyLog::new(|record| match record.topic.as_str() {
        "stuck" => Fate::Refused,
        _ => Fate::Taken,
    });
    let relay = RunningRelay::start(&running.booking, &log);
    until("a pruned outbox", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE topic <> 'stuck'")
            .fetch_one(&mut database)
            .await
            .unwrap();
        (left == 1).then_some(())
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_log_that_ended_with_its_process_is_told_the_window_again() {
    let running = Running::new().await;
    let first = FaultyLog::embedded();
    let relay = RunningRelay::start(&running.booking, &first);
    all_sent(&running.booking).await;
    running.clock.forward(Duration::from_secs(20 * 3600));
    running.book(&wish(9)).await;
    running.clock.forward(Duration::from_secs(20 * 3600));
    running.book(&wish(34)).await;
    all_sent(&running.booking).await;
    relay.kill().await;
    // A week passes before the service is started again: the window is counted from the newest row.
    running.clock.forward(Duration::from_secs(7 * 24 * 3600));
    let running = running.again().await;

    let second = FaultyLog::embedded();
    let relay = RunningRelay::start(&running.booking, &second);
    until("the window again", async || {
        (second.len() == 2).then_some(())
    })
    .await;
    all_sent(&running.booking).await;
    relay.stop().await;
    let (first, second) = (first.records(), second.records());
    let told = |record: &carillon_bus::Record| (record.value.clone(), record.timestamp_ms);
    let before: Vec<_> = first[11..].iter().map(told).collect();
    let after: Vec<_> = second.iter().map(told).collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_window_of_many_steps_is_told_again_as_a_whole() {
    let running = Running::new().await;
    let mut database = crate::running::connect(running.folder.path()).await;
    sqlx::query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 4500)
         INSERT INTO outbox (event_id, topic, key, value, created_ms, sent_ms)
         SELECT 'sent-' || n, 'booking-events', n % 7, X'', ?, 1 FROM number",
    )
    .bind(NOON_MS)
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(told_again(&running.booking).await, 11 + 4500);
}

#[tokio::test]
async fn a_log_that_lasts_is_told_nothing_again() {
    let running = Running::new().await;
    let log = FaultyLog::new(|_| Fate::Taken);
    let relay = RunningRelay::start(&running.booking, &log);
    all_sent(&running.booking).await;
    relay.stop().await;
    let running = running.again().await;
    let relay = RunningRelay::start(&running.booking, &log);
    running.book(&wish(9)).await;
    all_sent(&running.booking).await;
    relay.stop().await;
    assert_eq!(log.len(), 12);
}

#[tokio::test]
async fn rows_beyond_the_window_are_removed_only_once_they_are_sent() {
    let running = Running::new().await;
    running.clock.forward(Duration::from_secs(25 * 3600));
    running.book(&wish(33)).await;
    assert_eq!(running.events().await.len(), 12);
    let log = FaultyLog::new(|_| Fate::Taken);
    let relay = RunningRelay::start(&running.booking, &log);
    until("a pruned outbox", async || {
        (running.events().await.len() == 1).then_some(())
    })
    .await;
    relay.stop().await;
    assert_eq!(log.len(), 12);
    assert_eq!(running.kinds().await, ["booking.created"]);
}

#[tokio::test]
async fn what_is_refused_each_time_is_tried_ever_less_often() {
    let running = Running::new().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let log = FaultyLog::new(move |record| match record.topic.as_str() {
        "booking-events" => {
            seen.fetch_add(1, Ordering::SeqCst);
            Fate::Refused
        }
        _ => Fate::Taken,
    });
    let settings = RelaySettings {
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_secs(60),
        ..RunningRelay::settings()
    };
    running.book(&wish(9)).await;
    let relay = RunningRelay::start_with(&running.booking, &log, settings);
    // Pauses that double from two milliseconds leave room for ten tries in two seconds; a slow machine
    // makes fewer.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tried = tries.load(Ordering::SeqCst);
    relay.stop().await;
    assert!((2..=14).contains(&tried), "{tried} tries");
}
