//! What a call into a plugin costs: warm, on a fresh instance, and the same logic native.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod native;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use carillon_plugin::testing::Environment;
use carillon_sandbox::{
    Action, Answer, Egress, Grants, GuestEvent, Isolation, NoLog, NoState, Plugin, Sandbox,
    SandboxConfig, Session,
};
use criterion::{Criterion, criterion_group, criterion_main};

const DATA: &str = r#"{"title":"Design review","status":"confirmed","startTime":"2025-08-19T14:00:00Z","endTime":"2025-08-19T16:00:00Z","attendeesCount":5,"amenities":["projector","whiteboard"]}"#;

const EVENT: GuestEvent<'_> = GuestEvent {
    id: "3f0e8a54-6f3c-4b57-9d35-0a6c5d0f2e11",
    kind: "booking.created",
    time_ms: 1_755_597_600_000,
    logged_at_ms: 1_755_597_600_010,
    user_id: Some("user-2"),
    resource_id: Some("room-2"),
    subject_id: Some("booking-2"),
    data: DATA,
    correlation_id: Some("request-77"),
    topic: "booking-events",
    partition: 3,
    offset: 123_456,
    attempt: 1,
};

type Native =
    fn(&carillon_plugin::Event) -> Result<Vec<carillon_plugin::Action>, carillon_plugin::Failure>;

fn load(sandbox: &Sandbox, file: &str, isolation: Isolation) -> Plugin {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../target")
        .join(file);
    let option = if file.starts_with("guests/") {
        " --guests"
    } else {
        ""
    };
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{file}: {error}; run bash plugins/build.sh{option}"));
    let mut grants = Grants::default();
    grants.limits.isolation = isolation;
    let examined = sandbox.examine(&bytes).unwrap();
    examined.ready(grants, Arc::new(NoLog)).unwrap()
}

fn call(session: &mut Session<'_>) -> Vec<Action> {
    match session.handle(black_box(&EVENT), Box::new(NoState)).answer {
        Ok(Answer::Handled(actions)) => actions,
        other => panic!("expected actions: {other:?}"),
    }
}

/// What is measured natively must be what the plugin does.
fn check_that_both_say_the_same(session: &mut Session<'_>, native: Native) {
    let said = native(&native::owned(&EVENT)).unwrap();
    let (carillon_plugin::Action::Notify(native), Action::Notify(plugin)) =
        (&said[0], &call(session)[0])
    else {
        panic!("both notify");
    };
    assert_eq!(native.title, plugin.title);
    assert_eq!(native.body, plugin.body);
    assert_eq!(
        native.data.as_deref(),
        plugin.data.as_ref().map(|data| data.get())
    );
    assert_eq!(native.link, plugin.link);
    assert_eq!(native.collapse_key, plugin.collapse_key);
}

fn compare(criterion: &mut Criterion, sandbox: &Sandbox, file: &str, native: Native) {
    let _environment = Environment::new();
    let name = file.rsplit('/').next().unwrap().trim_end_matches(".wasm");
    let mut group = criterion.benchmark_group(name);
    let warm = load(sandbox, file, Isolation::Warm);
    let fresh = load(sandbox, file, Isolation::Event);
    check_that_both_say_the_same(&mut warm.session(Egress::Closed), native);
    group.bench_function("native", |bencher| {
        bencher.iter(|| native(&native::owned(black_box(&EVENT))).unwrap());
    });
    group.bench_function("warm instance", |bencher| {
        let mut session = warm.session(Egress::Closed);
        bencher.iter(|| call(&mut session));
    });
    group.bench_function("fresh instance per event", |bencher| {
        let mut session = fresh.session(Egress::Closed);
        bencher.iter(|| call(&mut session));
    });
    group.finish();
}

fn calls(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(SandboxConfig::default(), None).unwrap();
    compare(
        criterion,
        &sandbox,
        "plugins/booking-updates.wasm",
        native::booking_updates,
    );
    compare(criterion, &sandbox, "guests/echo.wasm", native::echo);
}

criterion_group!(benches, calls);
criterion_main!(benches);
