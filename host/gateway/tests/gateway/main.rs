//! The gateway as its clients see it: a real store, real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin_access;
mod admin_letters;
mod admin_logs;
mod admin_plugins;
mod client;
mod event_streams;
mod host;
mod http;
mod limits;
mod operator;
mod pushes;
mod recovery;
