//! What runs before the first event: the start of a runtime, and `describe`.

use std::sync::Arc;

use carillon_sandbox::{Egress, Grants, NoLog, Refusal};

use crate::captured::logged;
use crate::guests::{Kept, call, sandbox};
use crate::made::{Made, Step};

fn granted() -> Grants {
    Grants {
        wasi: true,
        ..Grants::default()
    }
}

const PRINTING: [&str; 3] = ["wasi:cli/stdout", "wasi:cli/stderr", "wasi:io/streams"];

#[test]
fn a_runtime_that_dies_at_its_start_is_told_with_its_last_words() {
    let mut made = Made::with_wasi(&PRINTING);
    made.at_start = vec![Step::Print("stderr", "the heap is too small"), Step::Trap];
    let refusal = sandbox().examine(&made.bytes()).unwrap_err().to_string();
    assert!(refusal.contains("unreachable"), "{refusal}");
    let last = "; its last error line was: the heap is too small";
    assert!(refusal.ends_with(last), "{refusal}");
}

#[test]
fn lines_that_are_left_open_at_the_start_or_in_describe_end_there() {
    let made = Made {
        at_start: vec![Step::Print("stdout", "the engine starts")],
        in_describe: vec![Step::Print("stdout", "what am I?")],
        in_handle: vec![Step::Print("stdout", "an event\n")],
        ..Made::with_wasi(&PRINTING)
    };
    let lines = logged(|| drop(sandbox().examine(&made.bytes()).unwrap()));
    let told = |line: &str| lines.iter().any(|told| told.contains(line));
    for line in [
        "plugin: the engine starts plugin=",
        "plugin: what am I? plugin=",
    ] {
        assert!(told(line), "{lines:?}");
    }
    let kept = Arc::new(Kept::default());
    let examined = sandbox().examine(&made.bytes()).unwrap();
    let plugin = examined.ready(granted(), kept.clone()).unwrap();
    // From trying its limits.
    assert_eq!(kept.take(), ["info the engine starts"]);
    call(&mut plugin.session(Egress::Closed), "{}").unwrap();
    assert_eq!(kept.take(), ["info the engine starts", "info an event"]);
}

#[test]
fn a_plugin_describes_itself_with_as_much_memory_as_any_can_be_granted() {
    let made = Made {
        memory_pages: 640,
        ..Made::with([])
    };
    let examined = sandbox().examine(&made.bytes()).unwrap();
    let refusal = examined.ready(granted(), Arc::new(NoLog)).unwrap_err();
    assert!(matches!(refusal, Refusal::Limits { .. }), "{refusal:?}");
    let mut grants = granted();
    grants.limits.memory_bytes = 40 << 20;
    let plugin = examined.ready(grants, Arc::new(NoLog)).unwrap();
    call(&mut plugin.session(Egress::Closed), "{}").unwrap();
}
