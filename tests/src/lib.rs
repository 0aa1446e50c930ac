//! Tests that cross crates: end to end, real Kafka, hostile guests, load.
//!
//! The library is what the tests share: [`kafka`] starts Apache Kafka, [`host`] starts the
//! binary, [`operate`] operates it, [`client`] speaks the gateway's WebSocket protocol and
//! [`audience`] is many such clients, [`api`] and [`bookings`] speak the booking API and [`ledger`]
//! reads what it wrote and told, [`python`] runs programs of PyPI, [`proxy`] is a network
//! that can be cut, [`web`] and [`dns`] are what plugins find on the network, [`pace`] produces at
//! a rate, [`moment`] writes times and [`measure`] prints tables, [`store`] reads what the host wrote. Nothing here links a crate of the host: the tests
//! see what a user sees.

pub mod api;
pub mod audience;
pub mod bookings;
pub mod child;
pub mod client;
pub mod dns;
pub mod events;
pub mod host;
pub mod kafka;
pub mod ledger;
pub mod measure;
pub mod moment;
pub mod node;
pub mod operate;
pub mod pace;
pub mod proxy;
pub mod python;
pub mod store;
pub mod web;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository.
#[must_use]
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The target folder that the running test was built into.
///
/// # Errors
/// When the test's own path is unknown.
pub fn target_folder() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    // target/release/deps/NAME or target/release/NAME
    let release = executable
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == "release"))
        .context("the tests run from a release build: `cargo test --release`")?;
    Ok(release.parent().unwrap_or(release).to_path_buf())
}
