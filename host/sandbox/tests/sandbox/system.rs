//! The empty system of components that import WASI.

use std::sync::Arc;

use carillon_sandbox::{
    Egress, Fault, Grants, GuestEvent, Isolation, NoLog, NoState, Plugin, Refusal, Session,
};

use crate::guests::{Kept, call, event, guest, notified, ready, sandbox};

fn granted(isolation: Isolation) -> Plugin {
    let mut grants = Grants {
        wasi: true,
        ..Grants::default()
    };
    grants.limits.isolation = isolation;
    ready(&sandbox(), &guest("system-user"), grants).unwrap()
}

/// What the guest tells after it did this.
#[track_caller]
fn found(plugin: &Plugin, event: &GuestEvent<'_>) -> String {
    let mut session = plugin.session(Egress::Closed);
    notified(session.handle(event, Box::new(NoState)).answer).body
}

#[track_caller]
fn fault(plugin: &Plugin, task: &str) -> Fault {
    let data = format!(r#"{{"do": "{task}"}}"#);
    call(&mut plugin.session(Egress::Closed), &data).unwrap_err()
}

const LOOK: &str = r#"{"do": "look"}"#;

#[test]
fn a_system_is_refused_unless_it_is_granted() {
    let examined = sandbox().examine(&guest("system-user")).unwrap();
    assert!(examined.imports_wasi());
    let asked = examined.asked().iter().filter(|asked| *asked == "wasi");
    assert_eq!(asked.count(), 1, "its interfaces count as one");
    let refusal = examined
        .ready(Grants::default(), Arc::new(NoLog))
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Wasi { .. }));
    assert_eq!(
        refusal.to_string(),
        "the plugin system-user imports WASI, as binaries from other languages do; \
         grant it an empty system (no files, no sockets, no environment) \
         with wasi = true in [plugins.system-user]"
    );
}

#[test]
fn there_is_nothing_in_it_and_what_there_is_follows_from_the_event() {
    let plugin = granted(Isolation::Warm);
    let first = found(&plugin, &event(LOOK));
    let nothing = r#"environment [], arguments [], cwd None, files 0, input Err("ended"), lookup Err("access-denied"), socket Err("access-denied"), time 1755597600.010000000, random "#;
    assert!(first.starts_with(nothing), "{first}");
    // A warm instance, a fresh one, and one in another host see the same.
    assert_eq!(found(&plugin, &event(LOOK)), first);
    assert_eq!(found(&granted(Isolation::Event), &event(LOOK)), first);
    let other = GuestEvent {
        id: "event-2",
        ..event(LOOK)
    };
    let second = found(&plugin, &other);
    assert!(second.starts_with(nothing), "{second}");
    assert_ne!(second, first, "another event has other random numbers");
}

#[test]
fn waiting_moves_the_clock_and_holds_no_thread() {
    let plugin = granted(Isolation::Warm);
    let two_hours_ns = 2 * 3_600_000_000_000_u64;
    let slept = found(&plugin, &event(r#"{"do": "sleep"}"#));
    assert_eq!(slept, format!("false true {two_hours_ns}"));
    assert_eq!(found(&plugin, &event(r#"{"do": "timers"}"#)), "[1, 2, 0]");
    // The clock of the next event is its own, however long the last one slept.
    assert!(found(&plugin, &event(LOOK)).contains("time 1755597600.010000000"));
}

#[test]
fn a_guest_that_sleeps_for_ever_is_ended_by_its_processor_time() {
    let plugin = granted(Isolation::Warm);
    let fault = fault(&plugin, "sleep-for-ever");
    assert!(matches!(fault, Fault::CpuTime { .. }), "{fault}");
}

#[test]
fn what_would_cost_the_host_is_bounded_and_said() {
    let plugin = granted(Isolation::Warm);
    for (task, reason) in [
        ("hoard", "it holds 1024 handles of its system"),
        ("hoard-streams", "it holds 1024 handles of its system"),
        ("poll-nothing", "it waits for nothing"),
        ("random-flood", "it asked for 65537 random bytes at once"),
        (
            "write-flood",
            "it wrote 4097 bytes to a stream at once, and 4096 is the most",
        ),
        (
            "exit",
            "it ended its own process with failure; its last error line was: the settings are gone",
        ),
    ] {
        let fault = fault(&plugin, task).to_string();
        assert!(fault.contains(reason), "{task}: {fault}");
    }
    for (task, done) in [("random-most", "65536"), ("write-most", "true")] {
        let data = format!(r#"{{"do": "{task}"}}"#);
        assert_eq!(found(&plugin, &event(&data)), done, "{task}");
    }
}

/// Takes so many handles and never drops them.
#[track_caller]
fn keep(session: &mut Session<'_>, count: u32) {
    let data = format!(r#"{{"do": "keep", "count": {count}}}"#);
    let kept = notified(call(session, &data)).body;
    assert_eq!(kept, count.to_string());
}

#[test]
fn handles_that_an_instance_keeps_change_nothing_for_its_next_event() {
    let plugin = granted(Isolation::Warm);
    let first = found(&plugin, &event(LOOK));
    let mut session = plugin.session(Egress::Closed);
    // Little by little …
    for _ in 0..20 {
        keep(&mut session, 100);
    }
    // … and as many as an event may take, after as many as an instance may keep.
    let mut session = plugin.session(Egress::Closed);
    keep(&mut session, 512);
    for _ in 0..3 {
        keep(&mut session, 1_024);
    }
    keep(&mut session, 500);
    assert_eq!(notified(call(&mut session, LOOK)).body, first);
    let flood = call(&mut session, r#"{"do": "hoard"}"#).unwrap_err();
    assert!(flood.to_string().contains("1024 handles"), "{flood}");
}

#[test]
fn what_it_prints_becomes_lines_of_its_log() {
    let kept = Arc::new(Kept::default());
    let examined = sandbox().examine(&guest("system-user")).unwrap();
    let grants = Grants {
        wasi: true,
        ..Grants::default()
    };
    let plugin = examined.ready(grants, kept.clone()).unwrap();
    for _ in 0..2 {
        found(&plugin, &event(r#"{"do": "print"}"#));
        let lines = kept.take();
        assert_eq!(
            lines,
            [
                "info one",
                "error a complaint",
                "info two, and its end",
                "info three"
            ]
        );
    }
}
