//! The booking service from outside: real SQLite files, the router driven in the process, the relay
//! against a log that records, fails or loses acknowledgements, and against the embedded broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alternatives;
mod api;
mod availability;
mod calendars;
mod clock;
mod conflicts;
mod core;
mod crash;
mod crowd;
mod document;
mod double_booking;
mod embedded_broker;
mod feeds;
mod figures;
mod freed;
mod history;
mod leaving;
mod limits;
mod log;
mod outbox;
mod problems;
mod reading;
mod relay;
mod resources;
mod roles;
mod running;
mod series;
mod series_changes;
mod sweeps;
mod times;
mod tokens;
mod unavailable;
mod users;
mod waitlist;
