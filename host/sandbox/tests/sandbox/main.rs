//! The sandbox with real plugins: the guests of `tests/guests/`, honest and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binaries;
mod cache;
mod captured;
mod guests;
mod http;
mod instances;
mod limits;
mod logs;
mod made;
mod name_server;
mod refusals;
mod servers;
mod starts;
mod state;
mod system;
mod usage;
mod versions;
mod wasi;
