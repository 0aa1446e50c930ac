//! The commands of operators, as they are typed: the real binary, a running host with the embedded
//! broker, real plugins.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod events;
mod finding;
mod host;
mod loading;
mod logs;
mod web;
