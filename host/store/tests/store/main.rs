//! The store on real SQLite files in temporary folders.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod candidates;
mod cursors;
mod dead_letters;
mod decisions;
mod effects;
mod explain;
mod full_disk;
mod groups;
mod inbox;
mod installs;
mod killed;
mod letters;
mod loads;
mod model;
mod older_database;
mod reopening;
mod schedule;
mod state;
mod trials;
mod trimming;
mod world;
