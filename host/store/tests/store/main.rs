//! The store on real SQLite files in temporary folders.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cursors;
mod dead_letters;
mod decisions;
mod effects;
mod full_disk;
mod groups;
mod inbox;
mod killed;
mod model;
mod reopening;
mod schedule;
mod state;
mod trimming;
mod world;
