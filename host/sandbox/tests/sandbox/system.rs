//! The empty system of components that import WASI.

use std::sync::{Arc, Mutex};

use carillon_sandbox::{
    Answer, Egress, Fault, Grants, GuestEvent, Isolation, LogLine, LogSink, NoLog, NoState, Plugin,
    Refusal,
};

use crate::guests::{call, event, guest, notified, ready, sandbox};

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
        ("poll-nothing", "it waits for nothing"),
        (
            "random-flood",
            "it asked for 1099511627776 random bytes at once",
        ),
        (
            "exit",
            "it ended its own process with failure; its last error line was: the settings are gone",
        ),
    ] {
        let fault = fault(&plugin, task).to_string();
        assert!(fault.contains(reason), "{task}: {fault}");
    }
    // Nothing of that stays behind.
    let answer = call(&mut plugin.session(Egress::Closed), "{}");
    assert!(matches!(answer, Ok(Answer::Handled(_))));
}

#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl LogSink for Kept {
    fn line(&self, line: LogLine<'_>) {
        let line = format!("{} {}", line.level.name(), line.text);
        self.0.lock().unwrap().push(line);
    }
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
        let lines = std::mem::take(&mut *kept.0.lock().unwrap());
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
