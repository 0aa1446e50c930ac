//! The state that plugins see.

use carillon_sandbox::{Answer, Egress, Fault, State};

use crate::guests::{MISBEHAVE, Memory, call, event, load, load_with, notified, sandbox};

fn with_state(memory: &Memory) -> Box<dyn State> {
    Box::new(memory.clone())
}

#[test]
fn a_plugin_that_imports_state_says_so() {
    let sandbox = sandbox();
    assert!(load(&sandbox, "counter").imports_state());
    assert!(!load(&sandbox, "echo").imports_state());
}

#[test]
fn increments_reach_the_state_of_the_call() {
    let plugin = load(&sandbox(), "counter");
    let mut session = plugin.session(Egress::Closed);
    let memory = Memory::default();
    memory.put("resource:room-1", "41");
    let answer = session
        .handle(&event(MISBEHAVE), with_state(&memory))
        .answer;
    assert!(matches!(answer, Ok(Answer::Handled(actions)) if actions.is_empty()));
    assert_eq!(memory.get("count").as_deref(), Some("1"));
    assert_eq!(memory.get("resource:room-1").as_deref(), Some("42"));
    // The same instance, another state: nothing is carried over.
    let other = Memory::default();
    session
        .handle(&event(MISBEHAVE), with_state(&other))
        .answer
        .unwrap();
    assert_eq!(other.get("count").as_deref(), Some("1"));
}

#[test]
fn a_state_that_fails_is_the_hosts_fault_and_the_next_call_works() {
    let plugin = load(&sandbox(), "counter");
    let mut session = plugin.session(Egress::Closed);
    let memory = Memory::default();
    memory.broken(true);
    let answer = session
        .handle(&event(MISBEHAVE), with_state(&memory))
        .answer;
    let reason = "plugin state cannot be read: the disk is gone".to_owned();
    assert_eq!(answer.unwrap_err(), Fault::Host(reason));
    memory.broken(false);
    session
        .handle(&event(MISBEHAVE), with_state(&memory))
        .answer
        .unwrap();
    assert_eq!(memory.get("count").as_deref(), Some("1"));
}

#[test]
fn a_call_for_which_there_is_no_state_is_the_hosts_fault() {
    let plugin = load(&sandbox(), "counter");
    let fault = call(&mut plugin.session(Egress::Closed), MISBEHAVE).unwrap_err();
    assert_eq!(fault.code(), "host");
}

#[test]
fn what_the_plugin_may_not_write_it_hears_of_and_can_answer_to() {
    let sandbox = sandbox();
    let memory = Memory::default();
    let plugin = load(&sandbox, "counter");
    let said = |plugin: &carillon_sandbox::Plugin| match plugin
        .session(Egress::Closed)
        .handle(&event(MISBEHAVE), with_state(&memory))
        .answer
    {
        Ok(Answer::Reject(reason) | Answer::Retry(reason)) => reason,
        other => panic!("expected a refusal: {other:?}"),
    };
    memory.full(true);
    let quota = said(&plugin);
    memory.full(false);
    memory.put("count", "many");
    let not_a_number = said(&plugin);
    assert_ne!(quota, not_a_number);
    memory.put("count", "1");
    // The key is longer than what one call may write.
    assert_eq!(
        said(&load_with(&sandbox, "counter", |limits| limits
            .state_bytes =
            3)),
        quota
    );
    assert_ne!(
        said(&load_with(&sandbox, "counter", |limits| limits
            .state_value_bytes =
            0)),
        quota
    );
}

#[test]
fn calls_of_the_state_are_bounded_for_each_event() {
    let sandbox = sandbox();
    let memory = Memory::default();
    let enough = load_with(&sandbox, "counter", |limits| limits.state_calls = 2);
    let mut session = enough.session(Egress::Closed);
    for _ in 0..3 {
        session
            .handle(&event(MISBEHAVE), with_state(&memory))
            .answer
            .unwrap();
    }
    let too_few = load_with(&sandbox, "counter", |limits| limits.state_calls = 1);
    let answer = too_few
        .session(Egress::Closed)
        .handle(&event(MISBEHAVE), with_state(&memory))
        .answer;
    assert_eq!(answer.unwrap_err(), Fault::StateCalls { limit: 1 });
}

#[test]
fn an_attempt_sees_what_it_was_given_and_retry_is_an_answer() {
    let plugin = load(&sandbox(), "retry-then-ok");
    let mut session = plugin.session(Egress::Closed);
    for attempt in 1..=2 {
        let event = carillon_sandbox::GuestEvent {
            attempt,
            ..event(MISBEHAVE)
        };
        let answer = session
            .handle(&event, with_state(&Memory::default()))
            .answer;
        let expected = format!("attempt {attempt} of 3");
        assert!(matches!(answer, Ok(Answer::Retry(reason)) if reason == expected));
    }
    let event = carillon_sandbox::GuestEvent {
        attempt: 3,
        ..event(MISBEHAVE)
    };
    let answer = session
        .handle(&event, with_state(&Memory::default()))
        .answer;
    assert_eq!(notified(answer).body, "attempt 3, written 1");
}
