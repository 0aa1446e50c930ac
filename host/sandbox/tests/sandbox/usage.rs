//! What operators see of what a plugin uses.

use std::time::Duration;

use carillon_sandbox::{Egress, Usage};

use crate::guests::{BEHAVE, MISBEHAVE, Memory, call, event, load, load_with, notified, sandbox};

#[test]
fn a_plugin_that_was_not_called_has_used_nothing() {
    let plugin = load(&sandbox(), "echo");
    assert_eq!(plugin.highest(), Usage::default());
}

#[test]
fn the_highest_values_of_all_calls_are_kept() {
    let plugin = load(&sandbox(), "output-bomb");
    let mut session = plugin.session(Egress::Closed);
    notified(call(&mut session, BEHAVE));
    let small = plugin.highest();
    assert_eq!(
        (small.actions, small.log_lines, small.state_calls),
        (1, 0, 0)
    );
    // One text of 64 KiB, and another small one.
    notified(call(&mut session, r#"{"bomb": "body"}"#));
    notified(call(&mut session, BEHAVE));
    let large = plugin.highest();
    assert!(large.output_bytes > 64 << 10, "{large:?}");
    assert!(small.output_bytes < 4 << 10, "{small:?}");
    assert!(large.memory_bytes > small.memory_bytes, "{large:?}");
    assert!(large.table_elements > 0 && large.table_elements < 20_000);
}

#[test]
fn calls_of_the_host_are_counted_those_beyond_a_limit_included() {
    let sandbox = sandbox();
    let flood = load(&sandbox, "log-flood");
    drop(call(&mut flood.session(Egress::Closed), MISBEHAVE));
    assert_eq!(flood.highest().log_lines, 5_000);

    let counter = load(&sandbox, "counter");
    let mut session = counter.session(Egress::Closed);
    let memory = Memory::default();
    memory.put("count", "99");
    for _ in 0..2 {
        let call = session.handle(&event(MISBEHAVE), Box::new(memory.clone()));
        call.answer.unwrap();
    }
    let used = counter.highest();
    assert_eq!(used.state_calls, 2);
    // `count` and `resource:room-1`, with 101 and 2.
    assert_eq!(
        (used.state_bytes, used.state_value_bytes),
        (5 + 15 + 3 + 1, 3)
    );
}

#[test]
fn time_is_measured_where_it_matters_and_what_was_waited_for_is_not_the_guests() {
    let plugin = load_with(&sandbox(), "slow", |limits| {
        limits.cpu_ms = 60_000;
        limits.wall_ms = 60_000;
    });
    let mut session = plugin.session(Egress::Closed);
    let call = session.handle(&event(MISBEHAVE), Box::new(Memory::default()));
    notified(call.answer);
    let used = plugin.highest();
    let took = u64::try_from(call.took.as_micros()).unwrap();
    assert_eq!(used.wall_us, took);
    // The guest burns milliseconds of processor time; how many depends on the machine.
    assert!(used.cpu_us > 1_000, "{used:?}");
    assert!(used.cpu_us <= took, "{used:?}, took {took} µs");

    let echo = load(&sandbox(), "echo");
    let mut session = echo.session(Egress::Closed);
    let call = session.handle(&event(BEHAVE), Box::new(Memory::default()));
    assert!(call.took > Duration::ZERO);
    // It is over before the clocks are looked at: the wall clock is what bounds it.
    let used = echo.highest();
    assert!(used.cpu_us > 0 && used.cpu_us <= used.wall_us, "{used:?}");
}

#[test]
fn memory_is_that_of_all_living_instances() {
    let plugin = load(&sandbox(), "echo");
    assert_eq!(plugin.memory_bytes(), 0);
    let mut one = plugin.session(Egress::Closed);
    notified(call(&mut one, BEHAVE));
    let of_one = plugin.memory_bytes();
    assert!(of_one >= 64 << 10, "{of_one}");
    let mut other = plugin.session(Egress::Closed);
    notified(call(&mut other, BEHAVE));
    assert_eq!(plugin.memory_bytes(), 2 * of_one);
    // Warm instances live on.
    drop((one, other));
    assert_eq!(plugin.memory_bytes(), 2 * of_one);

    let trapping = load(&sandbox(), "trap-always");
    call(&mut trapping.session(Egress::Closed), MISBEHAVE).unwrap_err();
    assert_eq!(trapping.memory_bytes(), 0);
}
