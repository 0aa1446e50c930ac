//! The walls between the crates, as ARCHITECTURE.md draws them, held over `cargo metadata`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Which crates of the workspace a crate may depend on: arrows run one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("carillon-events", &[]),
    ("carillon-web", &[]),
    ("carillon-bus", &["carillon-events"]),
    ("carillon-sandbox", &["carillon-events"]),
    ("carillon-store", &["carillon-events"]),
    (
        "carillon-pipeline",
        &[
            "carillon-events",
            "carillon-bus",
            "carillon-sandbox",
            "carillon-store",
        ],
    ),
    ("carillon-delivery", &["carillon-events", "carillon-store"]),
    (
        "carillon-gateway",
        &[
            "carillon-events",
            "carillon-store",
            "carillon-pipeline",
            "carillon-delivery",
            "carillon-web",
        ],
    ),
    (
        "carillon-booking",
        &["carillon-events", "carillon-bus", "carillon-web"],
    ),
    (
        "carillon",
        &[
            "carillon-events",
            "carillon-bus",
            "carillon-sandbox",
            "carillon-store",
            "carillon-pipeline",
            "carillon-delivery",
            "carillon-web",
            "carillon-gateway",
            "carillon-booking",
        ],
    ),
    // The tests see what a user sees: they link nothing of the host.
    ("carillon-tests", &[]),
    ("carillon-plugin-macros", &[]),
    ("carillon-plugin", &["carillon-plugin-macros"]),
    ("booking-updates", &["carillon-plugin"]),
    ("waitlist-updates", &["carillon-plugin"]),
    ("conflict-alerts", &["carillon-plugin"]),
    ("hello-plugin", &["carillon-plugin"]),
    ("carillon-guests", &["carillon-plugin"]),
];

/// The only crates that may name a library.
const ONLY: &[(&str, &[&str])] = &[
    ("rdkafka", &["carillon-bus", "carillon-tests"]),
    ("wasmtime", &["carillon-sandbox"]),
    (
        "sqlx",
        &["carillon-store", "carillon-booking", "carillon-tests"],
    ),
    ("lettre", &["carillon-delivery"]),
    (
        "axum",
        &["carillon-gateway", "carillon-booking", "carillon-web"],
    ),
    ("clap", &["carillon"]),
];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(carillon_tests::root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .unwrap();
    metadata.packages
}

#[test]
fn arrows_between_crates_run_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package.name.as_str();
        let Some(allowed) = arrows.get(name) else {
            wrong.push(format!("{name} is new: say in ARROWS what it may know"));
            continue;
        };
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            // What a crate's own tests use builds no arrow.
            if dependency.kind != DependencyKind::Development
                && arrows.contains_key(other)
                && !allowed.contains(&other)
            {
                wrong.push(format!("{name} knows {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_library_is_named_by_its_own_crate_only() {
    let mut wrong = Vec::new();
    for package in packages() {
        for dependency in &package.dependencies {
            let only = ONLY.iter().find(|(library, _)| *library == dependency.name);
            if only.is_some_and(|(_, crates)| !crates.contains(&package.name.as_str())) {
                wrong.push(format!("{} names {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_host_depends_on_no_plugin_and_no_sdk() {
    let (plugins, host): (Vec<_>, Vec<_>) = packages()
        .into_iter()
        .filter(|package| package.name.as_str() != "carillon-tests")
        .partition(|package| {
            !package
                .manifest_path
                .starts_with(carillon_tests::root().join("host"))
        });
    let mut wrong = Vec::new();
    for package in &host {
        for dependency in &package.dependencies {
            // A benchmark may run a plugin's logic natively, to compare.
            if dependency.kind != DependencyKind::Development
                && plugins
                    .iter()
                    .any(|plugin| plugin.name.as_str() == dependency.name)
            {
                wrong.push(format!("{} knows {}", package.name, dependency.name));
            }
        }
    }
    assert!(!host.is_empty() && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let missing: Vec<String> = packages()
        .iter()
        .filter(|package| {
            let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|package| package.name.to_string())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn there_is_one_lock_file_and_no_mod_rs() {
    let mut files = Vec::new();
    list(carillon_tests::root(), &mut files);
    let named = |name: &str| -> Vec<&PathBuf> {
        files
            .iter()
            .filter(|path| path.file_name().is_some_and(|n| n == name))
            .collect()
    };
    // A fuzz crate is a workspace of its own: it needs another compiler.
    let locks: Vec<_> = named("Cargo.lock")
        .into_iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "fuzz"))
        .collect();
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert!(named("mod.rs").is_empty(), "{:?}", named("mod.rs"));
}

/// All files of the repository, without what is built or fetched.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let skipped = ["target", "node_modules", ".git", "data"]
            .iter()
            .any(|skip| name == *skip);
        if entry.file_type().unwrap().is_dir() {
            if !skipped {
                list(&entry.path(), files);
            }
        } else {
            files.push(entry.path());
        }
    }
}
