//! What operators do to plugins while events flow, on Apache Kafka: each test has a topic, a
//! consumer group and a host of its own, and prints a line with its counts. `OPERATIONS=long` makes
//! them as large as the project promises; without it they are short.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod explanations;
mod folder;
mod languages;
mod pausing;
mod quarantine;
mod replays;
mod retention;
mod settings;
mod stage;
mod starts;
mod swaps;
mod trials;
mod trust;
