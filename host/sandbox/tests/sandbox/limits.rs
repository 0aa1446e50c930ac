//! Every limit, obeyed and violated, and what comes after.

use carillon_sandbox::{Egress, Fault, Grants, Limits, Plugin};

use crate::guests::{BEHAVE, MISBEHAVE, call, guest, load, load_with, notified, ready, sandbox};

/// The guest breaks a limit, is stopped by the fault that names it, and handles the next
/// event, and the one after, on a fresh instance.
#[track_caller]
fn breaks(plugin: &Plugin, data: &str, expected: &Fault) {
    let mut session = plugin.session(Egress::Closed);
    assert_eq!(
        notified(call(&mut session, BEHAVE)).title,
        "booking.created"
    );
    for _ in 0..2 {
        assert_eq!(&call(&mut session, data).unwrap_err(), expected);
        assert_eq!(notified(call(&mut session, BEHAVE)).body, "booking-1");
    }
}

#[test]
fn an_endless_loop_ends_when_its_processor_time_is_used_up() {
    let plugin = load(&sandbox(), "endless-loop");
    breaks(&plugin, MISBEHAVE, &Fault::CpuTime { limit_ms: 50 });
}

#[test]
fn work_within_its_processor_time_is_done_and_beyond_it_is_not() {
    let sandbox = sandbox();
    let generous = load_with(&sandbox, "slow", |limits| {
        // The guest burns 20 ms on the machine it was measured on.
        limits.cpu_ms = 2_000;
        limits.wall_ms = 60_000;
    });
    notified(call(&mut generous.session(Egress::Closed), MISBEHAVE));
    // Ten times the work: on a busy machine the ticker may not be heard for as long as the usual takes.
    let mut grants = Grants {
        settings: [("rounds".to_owned(), "135000000".to_owned())].into(),
        ..Grants::default()
    };
    grants.limits.cpu_ms = 2;
    let tight = ready(&sandbox, &guest("slow"), grants).unwrap();
    let fault = call(&mut tight.session(Egress::Closed), MISBEHAVE).unwrap_err();
    assert_eq!(fault, Fault::CpuTime { limit_ms: 2 });
    assert_eq!(
        fault.to_string(),
        "it used more than its 2 ms of processor time"
    );
}

#[test]
fn the_wall_clock_is_a_ceiling_where_processor_time_is_not_used_up() {
    let plugin = load_with(&sandbox(), "endless-loop", |limits| {
        limits.cpu_ms = 3_600_000;
        limits.wall_ms = 20;
    });
    breaks(&plugin, MISBEHAVE, &Fault::WallClock { limit_ms: 20 });
}

#[test]
fn memory_beyond_the_grant_is_not_given() {
    let plugin = load(&sandbox(), "memory-bomb");
    breaks(
        &plugin,
        MISBEHAVE,
        &Fault::Memory {
            limit_bytes: 32 << 20,
        },
    );
}

#[test]
fn the_largest_grant_of_the_sandbox_bounds_that_of_the_plugin() {
    let sandbox = crate::guests::sandbox_with(|config| config.max_memory_bytes = 4 << 20);
    let plugin = load_with(&sandbox, "memory-bomb", |limits| {
        limits.memory_bytes = 8 << 20
    });
    assert_eq!(plugin.limits().memory_bytes, 4 << 20);
    breaks(
        &plugin,
        MISBEHAVE,
        &Fault::Memory {
            limit_bytes: 4 << 20,
        },
    );
}

#[test]
fn a_table_does_not_grow_beyond_its_limit() {
    let plugin = load(&sandbox(), "table-growth");
    breaks(
        &plugin,
        MISBEHAVE,
        &Fault::Table {
            limit_elements: 20_000,
        },
    );
}

#[test]
fn unbounded_recursion_ends_with_the_stack_of_the_guest_not_of_the_thread() {
    let plugin = load(&sandbox(), "recursion");
    breaks(&plugin, MISBEHAVE, &Fault::Stack);
}

#[test]
fn an_answer_of_too_many_bytes_is_refused_while_it_is_lifted() {
    let plugin = load(&sandbox(), "output-bomb");
    let output = Fault::Output {
        limit_bytes: 1 << 20,
    };
    breaks(&plugin, MISBEHAVE, &output);
    // One text of 64 KiB.
    let bomb = r#"{"bomb": "body"}"#;
    assert_eq!(
        notified(call(&mut plugin.session(Egress::Closed), bomb))
            .body
            .len(),
        64 << 10
    );
    let plugin = load_with(&sandbox(), "output-bomb", |limits| {
        limits.output_bytes = 60 << 10
    });
    breaks(
        &plugin,
        bomb,
        &Fault::Output {
            limit_bytes: 60 << 10,
        },
    );
}

#[test]
fn an_answer_of_too_many_actions_is_refused() {
    let plugin = load_with(&sandbox(), "output-bomb", |limits| {
        limits.output_bytes = 64 << 20;
        // Moving the actions takes its time in the guest.
        limits.cpu_ms = 10_000;
        limits.wall_ms = 60_000;
    });
    let expected = Fault::Answer("it has 20000 actions, and at most 256 are taken".to_owned());
    breaks(&plugin, MISBEHAVE, &expected);
    let generous = load_with(&sandbox(), "output-bomb", |limits| {
        *limits = Limits {
            actions: 20_000,
            ..plugin.limits().clone()
        };
    });
    let answer = call(&mut generous.session(Egress::Closed), MISBEHAVE).unwrap();
    assert!(
        matches!(answer, carillon_sandbox::Answer::Handled(actions) if actions.len() == 20_000)
    );
}

#[test]
fn text_with_u_0000_is_the_plugins_fault() {
    let plugin = load(&sandbox(), "nul-text");
    let mut session = plugin.session(Egress::Closed);
    let fault = call(&mut session, MISBEHAVE).unwrap_err();
    assert!(
        matches!(&fault, Fault::Answer(reason) if reason.contains("`title`")),
        "{fault}"
    );
    notified(call(&mut session, BEHAVE));
}

#[test]
fn a_trap_says_what_the_guest_complained_about_before() {
    let plugin = load(&sandbox(), "trap-always");
    let mut session = plugin.session(Egress::Closed);
    let fault = call(&mut session, MISBEHAVE).unwrap_err();
    assert_eq!(fault.code(), "trap");
    let text = fault.to_string();
    assert!(text.contains("unreachable"), "{text}");
    assert!(text.contains("this guest panics on event-1"), "{text}");
    notified(call(&mut session, BEHAVE));
}

#[test]
fn a_plugin_that_faults_on_every_event_costs_another_nothing() {
    let sandbox = sandbox();
    let (hostile, honest) = (load(&sandbox, "trap-always"), load(&sandbox, "echo"));
    let (mut hostile, mut honest) = (
        hostile.session(Egress::Closed),
        honest.session(Egress::Closed),
    );
    for _ in 0..200 {
        assert_eq!(call(&mut hostile, MISBEHAVE).unwrap_err().code(), "trap");
        assert_eq!(notified(call(&mut honest, MISBEHAVE)).body, "booking-1");
    }
}
