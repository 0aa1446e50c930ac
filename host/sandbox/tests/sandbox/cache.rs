//! Compiled code on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use carillon_sandbox::{Egress, Grants, Sandbox, SandboxConfig};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::captured::logged;
use crate::guests::{MISBEHAVE, call, guest, notified, ready};

fn sandbox(folder: &Path) -> Sandbox {
    let config = SandboxConfig {
        max_instances: 20,
        ..SandboxConfig::default()
    };
    Sandbox::new(config, Some(folder)).unwrap()
}

/// Loads a guest in a sandbox of its own, as after a restart, and has it handle an event. Answers
/// what the host logged.
#[track_caller]
fn load(folder: &Path, name: &str) -> Vec<String> {
    logged(|| {
        let plugin = ready(&sandbox(folder), &guest(name), Grants::default()).unwrap();
        notified(call(&mut plugin.session(Egress::Closed), MISBEHAVE));
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn used(file: &Path) -> SystemTime {
    file.metadata().unwrap().modified().unwrap()
}

const MANY_YEARS: Duration = Duration::from_secs(20 * 365 * 86_400);

fn make_old(file: &Path) {
    let file = std::fs::File::options().append(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - MANY_YEARS).unwrap();
}

#[test]
fn a_binary_is_compiled_once_and_read_from_the_cache_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("below/code");
    assert_eq!(load(&cache, "echo"), Vec::<String>::new());
    let [file] = &files(&cache)[..] else {
        panic!("one file: {:?}", files(&cache));
    };
    let written = std::fs::read(file).unwrap();
    make_old(file);
    assert_eq!(load(&cache, "echo"), Vec::<String>::new());
    // It was used, and not written again.
    assert!(used(file).elapsed().unwrap() < MANY_YEARS / 2);
    assert!(std::fs::read(file).unwrap() == written);
    load(&cache, "impure");
    assert_eq!(files(&cache).len(), 2);
}

#[test]
fn a_damaged_file_is_told_of_once_and_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path(), "echo");
    let file = files(folder.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cut = whole[..whole.len() / 2].to_vec();
    for damaged in [flipped, cut, vec![0; whole.len()], Vec::new()] {
        std::fs::write(&file, damaged).unwrap();
        let told = load(folder.path(), "echo");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("is damaged"), "{told:?}");
        assert!(std::fs::read(&file).unwrap() == whole);
        assert_eq!(load(folder.path(), "echo"), Vec::<String>::new());
    }
}

#[test]
fn a_folder_that_cannot_be_used_costs_time_and_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let not_a_folder = folder.path().join("file");
    std::fs::write(&not_a_folder, "").unwrap();
    let told = load(&not_a_folder, "echo");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("compiled anew at every start"), "{told:?}");

    // It goes away while the host runs.
    let gone = folder.path().join("gone");
    let told = logged(|| {
        let sandbox = sandbox(&gone);
        std::fs::remove_dir(&gone).unwrap();
        for name in ["echo", "impure"] {
            ready(&sandbox, &guest(name), Grants::default()).unwrap();
        }
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cannot be kept"), "{told:?}");
}

#[test]
fn a_folder_that_others_may_write_into_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let told = load(folder.path(), "echo");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("chmod go-w"), "{told:?}");
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_another_engine_compiled_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path(), "echo");
    let config = SandboxConfig {
        max_instances: 20,
        max_memory_bytes: 16 << 20,
        ..SandboxConfig::default()
    };
    let other = Sandbox::new(config, Some(folder.path())).unwrap();
    let plugin = ready(&other, &guest("echo"), Grants::default()).unwrap();
    notified(call(&mut plugin.session(Egress::Closed), MISBEHAVE));
}

#[test]
fn a_refused_binary_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    sandbox(folder.path())
        .examine(&guest("wrong-world"))
        .unwrap_err();
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

const FULL: &str = "CARILLON_TEST_FULL_FOLDER";

/// A limit on the size of files stands for the full disk. It holds for a whole process, so a
/// child is the one that suffers.
#[test]
fn a_full_disk_costs_time_and_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    // What it prints comes by a pipe: the limit would hold for a file that the output goes to.
    let child = Command::new("sh")
        // Without this the kernel would kill the process instead of failing the write.
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "cache::child_whose_disk_is_full", "--ignored"])
        .env(FULL, folder.path())
        .output()
        .unwrap();
    let told = [child.stdout, child.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(child.status.success(), "{told}");
}

#[test]
#[ignore = "a child of another test"]
fn child_whose_disk_is_full() {
    let folder = PathBuf::from(std::env::var_os(FULL).unwrap());
    let limit = Rlimit {
        current: Some(64 << 10),
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    let told = logged(|| {
        let sandbox = sandbox(&folder);
        for name in ["echo", "impure"] {
            let plugin = ready(&sandbox, &guest(name), Grants::default()).unwrap();
            notified(call(&mut plugin.session(Egress::Closed), MISBEHAVE));
        }
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cannot be kept"), "{told:?}");
    // Nothing that is half written stays.
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}
