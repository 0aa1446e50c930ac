//! The pipeline, on the embedded broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod lanes;
mod loads;
mod panics;
mod replays;
mod rig;
mod trials;
