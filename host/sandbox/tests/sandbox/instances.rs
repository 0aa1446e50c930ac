//! How long an instance lives.

use carillon_sandbox::{Egress, Isolation, Plugin, Sandbox, SandboxConfig};

use crate::guests::{MISBEHAVE, call, load, load_with, notified, sandbox, sandbox_with};

/// What `impure` tells of its instance in each of some calls of one session.
fn told(plugin: &Plugin, calls: usize) -> Vec<String> {
    let mut session = plugin.session(Egress::Closed);
    let bodies = (0..calls).map(|_| notified(call(&mut session, MISBEHAVE)).body);
    bodies
        .map(|body| {
            body.trim_start_matches("this instance has seen ")
                .to_owned()
        })
        .collect()
}

#[test]
fn a_warm_instance_handles_one_event_after_another_and_outlives_the_session() {
    let plugin = load(&sandbox(), "impure");
    assert_eq!(told(&plugin, 3), ["1", "2", "3"]);
    assert_eq!(told(&plugin, 2), ["4", "5"]);
}

#[test]
fn sessions_beside_each_other_have_instances_of_their_own() {
    let plugin = load(&sandbox(), "impure");
    let (mut one, mut other) = (
        plugin.session(Egress::Closed),
        plugin.session(Egress::Closed),
    );
    for count in ["1", "2"] {
        for session in [&mut one, &mut other] {
            assert!(notified(call(session, MISBEHAVE)).body.ends_with(count));
        }
    }
}

#[test]
fn isolation_by_event_gives_each_event_a_fresh_instance() {
    let plugin = load_with(&sandbox(), "impure", |limits| {
        limits.isolation = Isolation::Event
    });
    assert_eq!(told(&plugin, 3), ["1", "1", "1"]);
    assert_eq!(told(&plugin, 1), ["1"]);
}

#[test]
fn an_instance_is_replaced_after_its_number_of_calls() {
    let plugin = load_with(&sandbox(), "impure", |limits| limits.calls_per_instance = 3);
    assert_eq!(told(&plugin, 2), ["1", "2"]);
    assert_eq!(told(&plugin, 5), ["3", "1", "2", "3", "1"]);
}

#[test]
fn beyond_their_number_the_idle_instance_that_was_used_longest_ago_goes() {
    let sandbox = sandbox_with(|config| config.max_warm_instances = 2);
    let plugins = [(); 3].map(|()| load(&sandbox, "impure"));
    for plugin in &plugins {
        assert_eq!(told(plugin, 1), ["1"]);
    }
    assert_eq!(told(&plugins[1], 1), ["2"]);
    assert_eq!(told(&plugins[2], 1), ["2"]);
    assert_eq!(told(&plugins[0], 1), ["1"]);
}

#[test]
fn idle_instances_keep_no_more_memory_than_they_may() {
    let plugin = |max_warm_memory_bytes| {
        let sandbox = sandbox_with(|config| config.max_warm_memory_bytes = max_warm_memory_bytes);
        load(&sandbox, "impure")
    };
    let none = plugin(1 << 16);
    assert_eq!([told(&none, 2), told(&none, 1)].concat(), ["1", "2", "1"]);
    let some = plugin(8 << 20);
    assert_eq!([told(&some, 2), told(&some, 1)].concat(), ["1", "2", "3"]);
}

#[test]
fn where_the_pool_is_full_idle_instances_make_room() {
    let sandbox = sandbox_with(|config| config.max_instances = 1);
    let plugins = [(); 3].map(|()| load(&sandbox, "impure"));
    for _ in 0..2 {
        for plugin in &plugins {
            assert_eq!(told(plugin, 2), ["1", "2"]);
        }
    }
}

#[test]
fn a_pool_full_of_busy_instances_is_the_hosts_trouble_and_says_so() {
    let sandbox = sandbox_with(|config| config.max_instances = 1);
    let plugin = load(&sandbox, "impure");
    let (mut busy, mut waiting) = (
        plugin.session(Egress::Closed),
        plugin.session(Egress::Closed),
    );
    notified(call(&mut busy, MISBEHAVE));
    let fault = call(&mut waiting, MISBEHAVE).unwrap_err();
    assert_eq!(fault.code(), "instance");
    assert!(fault.to_string().contains("limit of 1"), "{fault}");
    drop(busy);
    notified(call(&mut waiting, MISBEHAVE));
}

#[test]
fn idle_instances_of_a_plugin_that_is_gone_are_gone() {
    let sandbox = sandbox_with(|config| config.max_instances = 1);
    for _ in 0..3 {
        assert_eq!(told(&load(&sandbox, "impure"), 1), ["1"]);
    }
}

#[test]
fn the_pool_holds_what_five_hundred_plugins_on_two_threads_need() {
    let sandbox = Sandbox::new(SandboxConfig::default(), None);
    let plugin = load(&sandbox.unwrap(), "impure");
    let mut sessions: Vec<_> = (0..1_000).map(|_| plugin.session(Egress::Closed)).collect();
    for session in &mut sessions {
        assert!(notified(call(session, MISBEHAVE)).body.ends_with(" 1"));
    }
    drop(sessions);
    // They are all warm.
    let mut sessions: Vec<_> = (0..1_000).map(|_| plugin.session(Egress::Closed)).collect();
    for session in &mut sessions {
        assert!(notified(call(session, MISBEHAVE)).body.ends_with(" 2"));
    }
}
