//! The gateway as its clients see it: a real store, real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod event_streams;
mod host;
mod http;
mod limits;
mod pushes;
mod recovery;
