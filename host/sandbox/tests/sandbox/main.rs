//! The sandbox with real plugins: the guests of `tests/guests/`, honest and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binaries;
mod guests;
mod instances;
mod limits;
mod logs;
mod refusals;
mod state;
