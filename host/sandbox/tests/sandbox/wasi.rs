//! What components make of the interfaces of WASI: those that use them all, and those that do not
//! keep to them.

use carillon_sandbox::{Answer, Egress, Fault, Grants, Plugin, Refusal};

use crate::guests::{call, ready, sandbox};
use crate::made::{Made, Step, WASI};

fn granted() -> Grants {
    Grants {
        wasi: true,
        ..Grants::default()
    }
}

#[track_caller]
fn loaded(made: &Made) -> Plugin {
    ready(&sandbox(), &made.bytes(), granted()).unwrap()
}

#[track_caller]
fn refused(made: &Made) -> Refusal {
    sandbox().examine(&made.bytes()).unwrap_err()
}

#[track_caller]
fn fault(made: &Made) -> Fault {
    call(&mut loaded(made).session(Egress::Closed), "{}").unwrap_err()
}

/// The names of all interfaces that are offered, with a version.
fn every_interface(version: &str) -> Vec<String> {
    let mut package = "";
    let mut names = Vec::new();
    for line in WASI.lines().map(str::trim) {
        let word = line.split([' ', '@']).nth(1).unwrap_or_default();
        match line {
            _ if line.starts_with("package wasi:") => package = word,
            _ if line.starts_with("interface ") => {
                names.push(format!("{package}/{word}@{version}"))
            }
            _ => {}
        }
    }
    names
}

#[test]
fn a_component_may_import_every_function_of_wasi_and_two_patches_at_once() {
    let (first, later) = (every_interface("0.2.0"), every_interface("0.2.12"));
    assert_eq!(later.len(), 27);
    let (_, packages) = WASI.split_once("package tests:wasi;").unwrap();
    let made = Made {
        packages: packages.replace("0.2.12", "0.2.0"),
        in_handle: vec![Step::Print("stdout", "one")],
        ..Made::with([first, later].concat())
    };
    let plugin = loaded(&made);
    assert_eq!(plugin.examined().asked()[0], "wasi");
    let answer = call(&mut plugin.session(Egress::Closed), "{}");
    assert!(matches!(answer, Ok(Answer::Handled(_))), "{answer:?}");
}

#[test]
fn a_function_of_another_type_is_refused_when_it_is_loaded() {
    for (package, interface, function) in [
        (
            "wasi:sockets@0.2.0",
            "tcp-create-socket",
            "create-tcp-socket",
        ),
        (
            "wasi:sockets@0.2.0",
            "udp-create-socket",
            "create-udp-socket",
        ),
        ("wasi:sockets@0.2.0", "ip-name-lookup", "resolve-addresses"),
        ("wasi:clocks@0.2.0", "wall-clock", "now"),
    ] {
        let made = Made::with_package(package, interface, &format!("{function}: func();"));
        let refusal = refused(&made);
        assert!(matches!(refusal, Refusal::WrongTypes(_)), "{refusal:?}");
        assert!(refusal.to_string().contains(function), "{refusal}");
    }
}

#[test]
fn what_came_before_0_2_0_is_an_unknown_import() {
    let made = Made::with_package("wasi:io@0.2.0-rc-2023-11-10", "poll", "poll: func();");
    let refusal = refused(&made);
    assert!(
        matches!(&refusal, Refusal::UnknownImport { name, .. } if name == "wasi:io/poll@0.2.0-rc-2023-11-10"),
        "{refusal:?}"
    );
}

#[test]
fn a_function_that_a_later_patch_added_loads_and_calling_it_is_a_fault_that_names_it() {
    const CLOCK: &str = "wasi:clocks/wall-clock@0.2.99";
    for (function, mut steps) in [
        ("leap: func();", vec![Step::Call(CLOCK, "leap")]),
        // With something to give and something to answer.
        (
            "leap: func(at: u32) -> u32;",
            vec![Step::Number(7), Step::Call(CLOCK, "leap"), Step::Drop],
        ),
    ] {
        let mut made = Made::with_package("wasi:clocks@0.2.99", "wall-clock", function);
        loaded(&made);
        made.in_handle.append(&mut steps);
        let fault = fault(&made);
        let told = "it called leap of wasi:clocks/wall-clock@0.2.99, and its system is empty";
        assert_eq!(fault, Fault::Trap(told.to_owned()));
    }
}

#[test]
fn a_reason_with_the_components_own_words_in_it_is_no_longer_than_a_log_line() {
    let name: &'static str = "leap".repeat(5_000).leak();
    let function = format!("{name}: func();");
    let made = Made {
        in_handle: vec![Step::Call("wasi:clocks/wall-clock@0.2.99", name)],
        ..Made::with_package("wasi:clocks@0.2.99", "wall-clock", &function)
    };
    let Fault::Trap(reason) = fault(&made) else {
        panic!("it is a trap");
    };
    assert!(reason.starts_with("it called leapleap"), "{reason}");
    assert_eq!(reason.len(), 1_024);
}
