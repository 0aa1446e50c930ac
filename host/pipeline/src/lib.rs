//! Lanes: events in, actions out, one transaction.
//!
//! Each partition that the group gives to this host gets a head: it reads batches, decodes
//! them once and gives them to the lanes that stand there together. A lane that faults, waits
//! or lags leaves the head and goes on by itself, with a cursor of its own, until it has
//! caught up. Whatever is ready is committed together.

mod backoff;
mod batch;
mod calls;
mod committer;
mod config;
mod context;
mod dead_letter_relay;
mod direct;
mod duplicates;
mod effects;
mod head;
mod health;
mod lane;
mod offsets;
mod pipeline;
mod plugins;
mod positions;
mod reach;
mod state_space;
mod workers;

pub use config::{PipelineConfig, PluginConfig};
pub use pipeline::{Pipeline, PipelineError};
pub use plugins::{PluginStatus, PluginTable};
