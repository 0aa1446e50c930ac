//! The watched folder: files as people and programs write them, and files that are no plugins.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use carillon_tests::host::{Host, guest};
use carillon_tests::operate::Operator;
use serde_json::Value;

use crate::stage::{Stage, size};

/// How long somebody who writes a file in pieces pauses between two of them.
const PAUSE: Duration = Duration::from_millis(1_500);

/// A file that is refused: its name, how it is made, and a word of the sentence.
type Refused = (&'static str, fn(&Path), &'static str);

const REFUSED: [Refused; 8] = [
    (
        "truncated.wasm",
        |file| write(file, &half("counter")),
        "cut off",
    ),
    (
        "letter.wasm",
        |file| write(file, b"Dear operator, this is a letter."),
        "not WebAssembly",
    ),
    ("empty.wasm", |file| write(file, b""), "not WebAssembly"),
    (
        "wrong-world.wasm",
        |file| copy("wrong-world", file),
        "another world",
    ),
    (
        "newer-interface.wasm",
        |file| copy("newer-interface", file),
        "carillon:plugin/handler@0.2.0",
    ),
    (
        "trap-in-describe.wasm",
        |file| copy("trap-in-describe", file),
        "could not describe itself",
    ),
    ("unreadable.wasm", unreadable, "cannot be read"),
    ("large.wasm", large, "bytes and at most"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_folder_is_loaded_once_and_whole_or_refused_with_a_reason() {
    let stage = Stage::new("folder", 1).await;
    // Long enough for the pauses of somebody who is still writing.
    let patience = size(3_000, 10_000);
    let config = format!("[watch]\nincomplete_ms = {patience}");
    let mut host = stage.setup(&config).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let folder = host.plugin_folder();

    for (name, make, _) in REFUSED {
        make(&folder.join(name));
    }
    write_in_pieces(&folder.join("greeter.wasm"), "greeter-v1").await;
    append_in_pieces(&folder.join("echo.wasm"), "echo").await;
    rename_into_place(&folder, "counter");
    for name in ["greeter", "echo", "counter"] {
        operator
            .plugin_that(name, "active", |plugin| plugin["state"] == "active")
            .await
            .unwrap();
        assert_eq!(operator.versions(name).await.unwrap().len(), 1, "{name}");
    }
    println!(
        "folder: written in pieces with one handle, with three, and renamed into place: loaded once each"
    );
    for (name, _, word) in REFUSED {
        let record = operator.audited_load(name).await.unwrap();
        let sentence = record["outcome"].as_str().unwrap();
        assert!(sentence.contains(word), "{name}: {sentence}");
        assert_eq!(record["who"], "watched folder");
        host.log_line(&[name, word]).await.unwrap();
        println!("folder: {name}: {sentence}");
    }
    let audited = loads(&operator).await;
    assert_eq!(
        audited.len(),
        3 + REFUSED.len(),
        "each file is told of once: {audited:#?}"
    );

    // The file stays as it is; what an operator does after it has been read stands.
    copy("greeter-v2", &folder.join("greeter.new"));
    std::fs::rename(folder.join("greeter.new"), folder.join("greeter.wasm")).unwrap();
    operator
        .plugin_that("greeter", "version 2.0.0", |plugin| {
            plugin["version"] == "2.0.0"
        })
        .await
        .unwrap();
    operator
        .ask(&["plugin", "rollback", "greeter"])
        .await
        .unwrap();
    restarted(&mut host, &operator).await;
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// A restart brings back what ran, and loads no file again. What was refused is refused again:
/// the operator who restarts wants to know.
async fn restarted(host: &mut Host, operator: &Operator) {
    let before = loads(operator).await.len();
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    host.restart().await.unwrap();
    let greeter = operator.plugin("greeter").await.unwrap();
    assert_eq!(greeter["version"], "1.0.0", "what was rolled back to runs");
    let versions = operator.versions("greeter").await.unwrap();
    let actions: Vec<&str> = versions
        .iter()
        .map(|load| load["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["rollback", "load", "load"]);
    for name in ["echo", "counter"] {
        assert_eq!(operator.versions(name).await.unwrap().len(), 1, "{name}");
    }
    let after = loads(operator).await;
    let done = |records: &[Value]| {
        records
            .iter()
            .filter(|record| record["outcome"] == "done")
            .count()
    };
    assert_eq!(done(&after), 4, "{after:#?}");
    println!(
        "folder: after a restart the version that was rolled back to runs, and no file was loaded again ({} refusals were told again)",
        after.len() - before
    );
}

/// What the audit has of loads by the folder.
async fn loads(operator: &Operator) -> Vec<Value> {
    let audit = operator.audit().await.unwrap();
    let of_the_folder =
        |record: &Value| record["who"] == "watched folder" && record["action"] == "load";
    audit.into_iter().filter(of_the_folder).collect()
}

async fn write_in_pieces(file: &Path, name: &str) {
    let binary = std::fs::read(guest(name)).unwrap();
    let mut open = File::create(file).unwrap();
    for piece in pieces(&binary) {
        open.write_all(piece).unwrap();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn append_in_pieces(file: &Path, name: &str) {
    let binary = std::fs::read(guest(name)).unwrap();
    for piece in pieces(&binary) {
        let mut open = File::options()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        open.write_all(piece).unwrap();
        drop(open);
        tokio::time::sleep(PAUSE).await;
    }
}

fn pieces(binary: &[u8]) -> impl Iterator<Item = &[u8]> {
    binary.chunks(binary.len().div_ceil(3))
}

fn rename_into_place(folder: &Path, name: &str) {
    let written = folder.join(format!(".{name}.part"));
    copy(name, &written);
    std::fs::rename(written, folder.join(format!("{name}.wasm"))).unwrap();
}

fn half(name: &str) -> Vec<u8> {
    let mut binary = std::fs::read(guest(name)).unwrap();
    binary.truncate(binary.len() / 2);
    binary
}

fn write(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
}

fn copy(name: &str, file: &Path) {
    write(file, &std::fs::read(guest(name)).unwrap());
}

/// A file that can be seen and not be read, whoever looks: the tests may run as a user to whom no
/// mode forbids anything. Nothing is mapped at address 0 of a process.
fn unreadable(file: &Path) {
    std::os::unix::fs::symlink("/proc/self/mem", file).unwrap();
}

fn large(file: &Path) {
    File::create(file).unwrap().set_len(17 << 20).unwrap();
}
