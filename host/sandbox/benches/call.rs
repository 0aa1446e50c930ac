//! What a call into a plugin costs: warm, on a fresh instance, and the same logic native.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;

use booking_updates::{describe, handle};
use carillon_plugin::testing::{Environment, event};
use carillon_sandbox::{
    Answer, GuestEvent, Isolation, Limits, NoState, Plugin, Sandbox, SandboxConfig,
};
use criterion::{Criterion, criterion_group, criterion_main};

const DATA: &str = r#"{"title":"Design review","status":"confirmed","startTime":"2025-08-19T14:00:00Z","endTime":"2025-08-19T16:00:00Z","attendeesCount":5,"amenities":["projector","whiteboard"]}"#;

fn load(sandbox: &Sandbox, file: &str, how: &str, isolation: Isolation) -> Plugin {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../target")
        .join(file);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run {how}", path.display()));
    let limits = Limits {
        isolation,
        ..Limits::default()
    };
    sandbox.load(&bytes, |_| (limits, HashMap::new())).unwrap()
}

fn guest_event() -> GuestEvent<'static> {
    GuestEvent {
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
    }
}

fn sandboxed(criterion: &mut Criterion, name: &str, plugin: &Plugin) {
    let event = guest_event();
    let mut session = plugin.session();
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let (answer, _) = session.handle(black_box(&event), Box::new(NoState));
            assert!(matches!(answer, Ok(Answer::Handled(actions)) if actions.len() == 1));
        });
    });
}

/// What the native function is given: the same event, as owned texts, which is what a plugin
/// in the sandbox gets, too.
fn native_event() -> carillon_plugin::Event {
    let from = guest_event();
    let mut to = event(from.kind)
        .id(from.id)
        .user("user-2")
        .resource("room-2")
        .subject("booking-2")
        .build();
    to.data = from.data.to_owned();
    to.correlation_id = from.correlation_id.map(str::to_owned);
    to.position.topic = from.topic.to_owned();
    to
}

fn calls(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    let shipped = "bash plugins/build.sh";
    let guests = "bash plugins/build.sh --guests";

    let _environment = Environment::of(&describe());
    let mut group = criterion.benchmark_group("booking-updates");
    group.bench_function("native", |bencher| {
        let event = native_event();
        bencher.iter(|| handle(black_box(&event).clone()).unwrap());
    });
    group.finish();
    for (file, how) in [
        ("plugins/booking-updates.wasm", shipped),
        ("guests/echo.wasm", guests),
    ] {
        let name = file.rsplit_once('/').unwrap().1.trim_end_matches(".wasm");
        let warm = load(&sandbox, file, how, Isolation::Warm);
        sandboxed(criterion, &format!("{name}/warm"), &warm);
        let fresh = load(&sandbox, file, how, Isolation::Event);
        sandboxed(
            criterion,
            &format!("{name}/fresh instance per event"),
            &fresh,
        );
    }
    criterion.bench_function("echo/native", |bencher| {
        let event = native_event();
        bencher.iter(|| {
            let event = black_box(&event).clone();
            let user = event.user_id.as_deref().unwrap();
            let notification = carillon_plugin::Notification::to_user(user)
                .category("test")
                .title(&event.kind)
                .body(event.subject_id.as_deref().unwrap());
            vec![carillon_plugin::Action::from(notification)]
        });
    });
}

criterion_group!(benches, calls);
criterion_main!(benches);
