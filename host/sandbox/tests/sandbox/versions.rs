//! Versions of the interface, and of the plugins' own state.

use carillon_sandbox::{Egress, Grants, Refusal};

use crate::binaries::{component, replaced};
use crate::guests::{MISBEHAVE, Memory, call, event, guest, load, notified, ready, sandbox};

#[track_caller]
fn refused(bytes: &[u8]) -> Refusal {
    sandbox().examine(bytes).unwrap_err()
}

#[test]
fn a_component_made_for_the_first_patch_loads_and_works_and_counts_as_state_version_0() {
    let plugin = load(&sandbox(), "old-interface");
    assert_eq!(plugin.examined().state_version(), 0);
    assert!(plugin.imports_state());
    let memory = Memory::default();
    memory.put("count", "6");
    let mut session = plugin.session(Egress::Closed);
    let call = session.handle(&event(MISBEHAVE), Box::new(memory));
    assert_eq!(notified(call.answer).body, "event 7");
}

#[test]
fn a_plugin_says_which_shape_of_its_state_it_writes_and_finds_the_old_keys() {
    let sandbox = sandbox();
    let old = load(&sandbox, "counter");
    assert_eq!(old.examined().state_version(), 0);
    let new = load(&sandbox, "counter-v2");
    assert_eq!(new.examined().state_version(), 2);
    assert_eq!(new.name(), old.name());
    let memory = Memory::default();
    for plugin in [&old, &old, &new, &new] {
        let mut session = plugin.session(Egress::Closed);
        let call = session.handle(&event(MISBEHAVE), Box::new(memory.clone()));
        call.answer.unwrap();
    }
    assert_eq!(memory.get("total").as_deref(), Some("4"));
    assert_eq!(memory.get("count"), None);
}

#[test]
fn all_versions_of_a_plugin_have_one_name_and_their_own_words() {
    let sandbox = sandbox();
    let said = |guest: &str, data: &str| {
        let plugin = load(&sandbox, guest);
        assert_eq!(&**plugin.name(), "greeter");
        let version = plugin.description().version.clone();
        let answer = call(&mut plugin.session(Egress::Closed), data);
        (version, answer.map(|answer| notified(Ok(answer)).title))
    };
    let (seventh, tenth) = (r#"{"number": 7}"#, r#"{"number": 20}"#);
    let hello = Ok("Hello: booking.created".to_owned());
    assert_eq!(
        said("greeter-v1", tenth),
        ("1.0.0".to_owned(), hello.clone())
    );
    assert_eq!(said("greeter-v2", seventh), ("2.0.0".to_owned(), hello));
    let welcome = Ok("Welcome: booking.created".to_owned());
    assert_eq!(said("greeter-v2", tenth), ("2.0.0".to_owned(), welcome));
    let (version, trapped) = said("greeter-traps", seventh);
    assert_eq!(
        (version.as_str(), trapped.unwrap_err().code()),
        ("3.0.0", "trap")
    );
}

#[test]
fn a_later_patch_of_the_interface_loads_and_a_later_minor_version_is_refused() {
    let patch = replaced(component("counter"), "@0.1.1", "@0.1.9");
    ready(&sandbox(), &patch, Grants::default()).unwrap();
    for (bytes, version) in [
        (guest("newer-interface"), "@0.2.0"),
        (replaced(component("counter"), "@0.1.1", "@0.2.0"), "@0.2.0"),
        (replaced(component("counter"), "@0.1.1", "@1.1.0"), "@1.1.0"),
    ] {
        let refusal = refused(&bytes);
        assert!(
            matches!(refusal, Refusal::OtherVersion { .. }),
            "{refusal:?}"
        );
        let sentence = refusal.to_string();
        let made_for = format!("made for carillon:plugin/handler{version}");
        assert!(sentence.contains(&made_for), "{sentence}");
        assert!(
            sentence.contains("offers carillon:plugin/handler@0.1.1"),
            "{sentence}"
        );
    }
}

#[test]
fn a_function_that_a_later_patch_added_is_refused_by_name() {
    let patch = replaced(component("counter"), "@0.1.1", "@0.1.9");
    let refusal = refused(&replaced(patch, "increment", "multiplex"));
    assert!(matches!(refusal, Refusal::WrongTypes(_)), "{refusal:?}");
    let sentence = refusal.to_string();
    assert!(
        sentence.contains("carillon:plugin/state@0.1.9"),
        "{sentence}"
    );
    assert!(sentence.contains("multiplex"), "{sentence}");
}

#[test]
fn an_export_that_a_later_patch_added_is_none_of_this_hosts_business() {
    let patch = replaced(component("counter-v2"), "@0.1.1", "@0.1.9");
    let patch = replaced(patch, "state-version", "state-dimples");
    let plugin = ready(&sandbox(), &patch, Grants::default()).unwrap();
    assert_eq!(plugin.examined().state_version(), 0);
}
