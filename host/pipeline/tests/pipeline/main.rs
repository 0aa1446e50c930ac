//! The pipeline, on the embedded broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lanes;
mod operations;
mod panics;
mod rig;
