//! Binaries that are not loaded, with the sentence that says why, and those that are.

use std::collections::HashMap;
use std::sync::Arc;

use carillon_sandbox::{Egress, Grants, Limits, NoLog, Refusal};

use crate::binaries::{Start, component, module, replaced};
use crate::guests::{MISBEHAVE, call, guest, load_with, notified, ready, sandbox, sandbox_with};

/// Refused for what it is, whatever would be granted to it.
fn refused(bytes: &[u8]) -> Refusal {
    sandbox().examine(bytes).unwrap_err()
}

fn refused_with(bytes: &[u8], settings: &[(&str, &str)]) -> Refusal {
    let settings: HashMap<String, String> = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let grants = Grants {
        settings,
        ..Grants::default()
    };
    ready(&sandbox(), bytes, grants).unwrap_err()
}

#[track_caller]
fn says(refusal: &Refusal, parts: &[&str]) {
    let sentence = refusal.to_string();
    for part in parts {
        assert!(
            sentence.contains(part),
            "{part:?} is missing in: {sentence}"
        );
    }
}

#[test]
fn modules_with_component_types_and_components_both_load() {
    for bytes in [guest("echo"), component("echo")] {
        let plugin = ready(&sandbox(), &bytes, Grants::default()).unwrap();
        assert_eq!(&**plugin.name(), "echo");
        assert_eq!(plugin.examined().name(), "echo");
        assert_eq!(plugin.sha256().len(), 64);
        assert_eq!(plugin.description().subscriptions[0].to_string(), "*");
        assert_eq!(
            notified(call(&mut plugin.session(Egress::Closed), MISBEHAVE)).body,
            "booking-1"
        );
    }
}

#[test]
fn a_text_file_is_not_web_assembly() {
    let refusal = refused(b"name: my-plugin\nversion: 1\n");
    assert!(matches!(refusal, Refusal::NotWebAssembly { .. }));
    says(
        &refusal,
        &[
            "this is not WebAssembly",
            "name: my-plugin",
            "wasm32-unknown-unknown",
        ],
    );
    says(&refused(b""), &["this is not WebAssembly"]);
    says(&refused(b"\x7fELF\x02\x01"), &["this is not WebAssembly"]);
}

#[test]
fn a_file_that_is_cut_off_is_damaged_wherever_it_ends() {
    for whole in [guest("echo"), component("echo")] {
        for kept in [4, 6, 9, whole.len() / 2, whole.len() - 1] {
            let refusal = refused(&whole[..kept]);
            assert!(
                matches!(refusal, Refusal::Damaged(_)),
                "{kept}: {refusal:?}"
            );
            says(&refusal, &["damaged or cut off", "build or copy it again"]);
        }
    }
}

#[test]
fn a_plain_module_is_told_that_it_needs_component_types() {
    let refusal = refused(&guest("plain-module"));
    assert!(
        matches!(refusal, Refusal::NoComponentTypes(_)),
        "{refusal:?}"
    );
    says(
        &refusal,
        &["without component types", "Carillon plugin SDK"],
    );
}

#[test]
fn component_types_that_cannot_be_read_are_no_component_types() {
    let module = module(Start::Nothing, 1);
    let types = module
        .windows(14)
        .position(|bytes| bytes == b"component-type")
        .unwrap();
    for at in (types + 60..module.len()).step_by(97) {
        let mut damaged = module.clone();
        damaged[at..]
            .iter_mut()
            .take(8)
            .for_each(|byte| *byte ^= 0xff);
        // Whatever it says: the host lives.
        refused(&damaged);
    }
    let cut = replaced(module, "component-type", "component-typo");
    says(
        &refused(&cut),
        &["without component types", "no section `component-type`"],
    );
}

#[test]
fn a_component_of_another_world_is_refused_with_the_missing_exports_name() {
    let refusal = refused(&guest("wrong-world"));
    assert!(
        matches!(refusal, Refusal::MissingExport { .. }),
        "{refusal:?}"
    );
    says(
        &refusal,
        &[
            "does not export carillon:plugin/handler@0.1.1",
            "it exports add",
        ],
    );
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    let refusal = refused(&guest("unknown-import"));
    assert!(
        matches!(refusal, Refusal::UnknownImport { .. }),
        "{refusal:?}"
    );
    says(
        &refusal,
        &[
            "imports carillon:plugin/teleport@0.1.2",
            "it offers",
            "carillon:plugin/state@0.1.1",
            "carillon:plugin/http@0.1.1",
        ],
    );
}

#[test]
fn a_binary_that_is_too_large_is_not_even_looked_at() {
    let bytes = guest("echo");
    let exactly = sandbox_with(|config| config.max_binary_bytes = bytes.len());
    exactly.examine(&bytes).unwrap();
    let smaller = sandbox_with(|config| config.max_binary_bytes = bytes.len() - 1);
    let refusal = smaller.examine(&bytes).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::TooLarge {
            bytes: bytes.len(),
            limit: bytes.len() - 1
        }
    );
    says(&refusal, &["sandbox.max_binary_bytes"]);
}

#[test]
fn a_trap_in_describe_is_told_with_the_guests_own_words() {
    let refusal = refused(&guest("trap-in-describe"));
    assert!(matches!(refusal, Refusal::Describe(_)), "{refusal:?}");
    says(&refusal, &["could not describe itself", "trapped"]);
}

#[test]
fn what_runs_before_describe_is_held_to_the_limits_too() {
    let looping = refused(&module(Start::EndlessLoop, 1));
    says(
        &looping,
        &["could not describe itself", "50 ms of processor time"],
    );
    let trapping = refused(&module(Start::Trap, 1));
    says(&trapping, &["could not describe itself", "unreachable"]);
}

#[test]
fn a_description_without_a_name_is_refused() {
    let refusal = refused(&module(Start::Nothing, 1));
    says(
        &refusal,
        &[
            "what this plugin says of itself is not valid",
            "its name \"\"",
        ],
    );
}

#[test]
fn a_plugin_that_begins_with_more_memory_than_there_is_for_any_does_not_fit() {
    let refusal = refused(&module(Start::Nothing, 4_096));
    assert!(matches!(refusal, Refusal::Compile(_)), "{refusal:?}");
    says(&refusal, &["does not fit into the sandbox", "memory"]);
}

#[test]
fn a_plugin_that_cannot_start_under_its_own_limits_is_refused_when_it_is_loaded() {
    let limits = Limits {
        memory_bytes: 64 << 10,
        ..Limits::default()
    };
    let grants = Grants {
        limits,
        ..Grants::default()
    };
    let refusal = ready(&sandbox(), &guest("echo"), grants).unwrap_err();
    assert!(matches!(refusal, Refusal::Limits { .. }), "{refusal:?}");
    says(
        &refusal,
        &["echo", "65536 bytes of memory", "[plugins.echo.limits]"],
    );
}

#[test]
fn a_setting_that_the_plugin_does_not_read_is_refused_with_those_that_it_reads() {
    let refusal = refused_with(&guest("retry-then-ok"), &[("attempt", "2")]);
    assert!(
        matches!(refusal, Refusal::UnknownSetting { .. }),
        "{refusal:?}"
    );
    says(
        &refusal,
        &[
            "[plugins.retry-then-ok.settings]",
            "\"attempt\"",
            "it reads attempts",
        ],
    );
    says(
        &refused_with(&guest("echo"), &[("colour", "red")]),
        &["it reads none"],
    );
}

#[test]
fn settings_are_the_operators_where_given_and_the_defaults_where_not() {
    let sandbox = sandbox();
    let long = load_with(&sandbox, "slow", |limits| limits.cpu_ms = 1);
    assert_eq!(
        call(&mut long.session(Egress::Closed), MISBEHAVE)
            .unwrap_err()
            .code(),
        "cpu-time"
    );
    let grants = Grants {
        limits: long.limits().clone(),
        settings: HashMap::from([("rounds".to_owned(), "1".to_owned())]),
        ..Grants::default()
    };
    assert_eq!(long.grants().settings["rounds"], "13500000");
    // The same binary, examined once, under other grants.
    let short = long.examined().ready(grants, Arc::new(NoLog)).unwrap();
    notified(call(&mut short.session(Egress::Closed), MISBEHAVE));
}
