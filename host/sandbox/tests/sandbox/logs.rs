//! What plugins write for operators.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::guests::{BEHAVE, MISBEHAVE, call, load, load_with, notified, sandbox};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged on this thread meanwhile.
fn logged(run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn lines_say_which_plugin_wrote_them_about_which_event_and_are_bounded_per_call() {
    let plugin = load(&sandbox(), "log-flood");
    let mut session = plugin.session();
    for _ in 0..2 {
        let lines = logged(|| drop(notified(call(&mut session, MISBEHAVE))));
        let (last, written) = lines.split_last().unwrap();
        assert_eq!(written.len(), 32);
        assert!(written[31].contains("line 31 of 5000"), "{}", written[31]);
        assert!(
            written[31].contains("plugin=\"log-flood\""),
            "{}",
            written[31]
        );
        assert!(written[31].contains("event=\"event-1\""), "{}", written[31]);
        assert!(last.contains("dropped=4968"), "{last}");
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
    let lines = logged(|| drop(call(&mut plugin.session(), MISBEHAVE)));
    assert!(lines[0].contains("line 0"), "{}", lines[0]);
    assert!(!lines[0].contains("line 0 of"), "{}", lines[0]);
}

#[test]
fn a_panic_is_one_line_whatever_is_in_it() {
    let plugin = load(&sandbox(), "trap-always");
    let lines = logged(|| drop(call(&mut plugin.session(), MISBEHAVE)));
    // Rust puts a line break between the place and the message.
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("this guest panics on event-1"),
        "{}",
        lines[0]
    );
}
