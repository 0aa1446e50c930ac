//! A plugin that is not written in Rust: `examples/hello-javascript`, with a JavaScript engine in it.

use std::ops::Range;
use std::time::SystemTime;

use carillon_tests::events::Numbered;
use carillon_tests::host::guest;
use carillon_tests::kafka::Record;
use carillon_tests::operate::Operator;

use crate::stage::{Stage, told_once};

const NAME: &str = "hello-javascript";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_javascript_is_granted_an_empty_system_and_works_like_any_other() {
    const EVENTS: u32 = 500;
    let stage = Stage::new("javascript", 2).await;
    let mut ungranted = stage.setup("").start().await.unwrap();
    let operator = Operator::of(&ungranted).unwrap();
    let binary = guest(NAME).display().to_string();
    let refused = operator
        .refused(&["plugin", "load", &binary])
        .await
        .unwrap();
    assert!(
        refused.contains("with wasi = true in [plugins.hello-javascript]"),
        "{refused}"
    );
    assert_eq!(ungranted.stop().unwrap(), 0, "{}", ungranted.log_tail());

    let config =
        format!("[plugins.{NAME}]\nwasi = true\nsettings = {{ greeting = \"Guten Tag\" }}\n");
    let mut host = stage.setup(&config).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    operator.load(&guest(NAME), &[]).await.unwrap();
    // Logged days ago, a minute and a bit apart: no clock of the host shows these times.
    let days_ago_ms = midnight_days_ago_ms(3);
    let logged_at_ms = |number: u32| days_ago_ms + i64::from(number) * 61_001;
    let records = |numbers: Range<u32>| {
        let record = |number| Record {
            timestamp_ms: Some(logged_at_ms(number)),
            ..stage.events.record(number)
        };
        numbers.map(record).collect()
    };
    stage.produce_these(records(0..EVENTS / 2)).await;
    stage.settled(&host).await;
    host.kill().unwrap();
    host.restart().await.unwrap();
    stage.produce_these(records(EVENTS / 2..EVENTS)).await;
    let contents = stage.settled(&host).await;
    told_once(&contents, NAME, 0..EVENTS);
    for entry in contents.entries() {
        assert!(entry.title.starts_with("Guten Tag: "), "{entry:?}");
        assert!(entry.body.starts_with("Booked at 20"), "{entry:?}");
        let number = Numbered::number(&entry.event_id).unwrap();
        let time = time_of_day(logged_at_ms(number));
        assert!(entry.body.ends_with(&format!("T{time}Z.")), "{entry:?}");
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

const DAY_MS: i64 = 86_400_000;

/// When a day of UTC began, within the week that the broker keeps records for, milliseconds since
/// 1970.
fn midnight_days_ago_ms(days: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    (i64::try_from(now.as_millis()).unwrap() / DAY_MS - days) * DAY_MS
}

/// Hours, minutes, seconds and milliseconds in UTC, as in ISO 8601.
fn time_of_day(at_ms: i64) -> String {
    let ms = at_ms % DAY_MS;
    let (minutes, seconds) = (ms / 60_000, ms / 1_000 % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}
