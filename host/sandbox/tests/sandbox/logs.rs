//! What plugins write for operators.

use std::sync::{Arc, Mutex};

use carillon_sandbox::{Egress, Grants, GuestEvent, LogLevel, LogLine, LogSink, NoState};

use crate::captured::{counted, logged};
use crate::guests::{BEHAVE, MISBEHAVE, call, event, guest, load, load_with, notified, sandbox};

/// Keeps what a plugin writes.
#[derive(Default)]
struct Kept(Mutex<Vec<Line>>);

struct Line {
    level: LogLevel,
    text: String,
    event_id: String,
    correlation_id: Option<String>,
}

impl LogSink for Kept {
    fn line(&self, line: LogLine<'_>) {
        self.0.lock().unwrap().push(Line {
            level: line.level,
            text: line.text.to_owned(),
            event_id: line.event_id.to_owned(),
            correlation_id: line.correlation_id.map(str::to_owned),
        });
    }
}

#[test]
fn lines_say_which_plugin_wrote_them_about_which_event_and_are_bounded_per_call() {
    let plugin = load(&sandbox(), "log-flood");
    let mut session = plugin.session(Egress::Closed);
    for repeated in [false, true] {
        let mut lines = logged(|| drop(notified(call(&mut session, MISBEHAVE))));
        if !repeated {
            let told = lines.pop().unwrap();
            assert!(told.contains("dropped=4968 limit=32"), "{told}");
        }
        // What is said of a flood is not one: the second is not told at once.
        assert_eq!(lines.len(), 32);
        assert!(lines[31].contains("line 31 of 5000"), "{}", lines[31]);
        assert!(lines[31].contains("plugin=\"log-flood\""), "{}", lines[31]);
        assert!(lines[31].contains("event=\"event-1\""), "{}", lines[31]);
    }
    let lines = logged(|| drop(notified(call(&mut session, BEHAVE))));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_line_is_cut_at_its_limit() {
    let plugin = load_with(&sandbox(), "log-flood", |limits| {
        limits.log_line_bytes = 6;
        limits.log_lines = 1;
    });
    let lines = logged(|| drop(call(&mut plugin.session(Egress::Closed), MISBEHAVE)));
    assert!(lines[0].contains("line 0"), "{}", lines[0]);
    assert!(!lines[0].contains("line 0 of"), "{}", lines[0]);
}

#[test]
fn a_panic_is_one_line_whatever_is_in_it() {
    let plugin = load(&sandbox(), "trap-always");
    let lines = logged(|| drop(call(&mut plugin.session(Egress::Closed), MISBEHAVE)));
    // Rust puts a line break between the place and the message.
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("this guest panics on event-1"),
        "{}",
        lines[0]
    );
}

#[test]
fn dropped_lines_are_counted_whether_they_are_told_of_or_not() {
    let plugin = load(&sandbox(), "log-flood");
    let mut session = plugin.session(Egress::Closed);
    let counted = counted(|| {
        for _ in 0..2 {
            drop(call(&mut session, MISBEHAVE));
        }
    });
    let name = "carillon_plugin_log_lines_dropped_total(log-flood)".to_owned();
    assert_eq!(counted, [(name, 2 * 4_968)]);
}

#[test]
fn lines_go_to_the_plugins_sink_as_well_with_the_event_and_its_cause() {
    let kept = Arc::new(Kept::default());
    let examined = sandbox().examine(&guest("slow")).unwrap();
    let mut grants = Grants::default();
    grants.settings.insert("rounds".to_owned(), "1".to_owned());
    let plugin = examined.ready(grants, Arc::clone(&kept) as _).unwrap();
    let mut session = plugin.session(Egress::Closed);
    for correlation_id in [Some("request-7"), None] {
        let event = GuestEvent {
            correlation_id,
            ..event(MISBEHAVE)
        };
        let lines = logged(|| drop(session.handle(&event, Box::new(NoState))));
        assert_eq!(
            lines[0].contains("correlation=\"request-7\""),
            correlation_id.is_some(),
            "{lines:?}"
        );
    }
    let kept = kept.0.lock().unwrap();
    let causes: Vec<_> = kept.iter().map(|l| l.correlation_id.as_deref()).collect();
    assert_eq!(causes, [Some("request-7"), None]);
    assert_eq!(kept[0].level, LogLevel::Debug);
    assert_eq!(kept[0].event_id, "event-1");
    assert!(
        kept[0].text.starts_with("burnt down to "),
        "{}",
        kept[0].text
    );
}

#[test]
fn lines_of_all_events_together_are_bounded_and_what_is_dropped_is_told_once() {
    let kept = Arc::new(Kept::default());
    let examined = sandbox().examine(&guest("log-flood")).unwrap();
    let mut grants = Grants::default();
    // A hundred events write 500 lines within their limit of five each.
    grants.limits.log_lines = 5;
    grants.limits.log_lines_per_s = 40;
    let plugin = examined.ready(grants, Arc::clone(&kept) as _).unwrap();
    let began = std::time::Instant::now();
    let lines = logged(|| {
        for _ in 0..100 {
            // Sessions and instances of their own: the quota is the plugin's.
            drop(call(&mut plugin.session(Egress::Closed), MISBEHAVE));
        }
    });
    let refilled = 40 * usize::try_from(began.elapsed().as_secs() + 1).unwrap();
    let kept = kept.0.lock().unwrap().len();
    assert!((40..=40 + refilled).contains(&kept), "{kept}");
    let written = lines.iter().filter(|line| line.contains("of 5000")).count();
    assert_eq!(written, kept);
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("than its limits"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("limit_per_s=40"), "{}", told[0]);
    assert!(told[0].contains("plugin=log-flood"), "{}", told[0]);
}
