//! Lanes: events in, actions out, one transaction.
//!
//! Each partition that the group gives to this host gets a head: it reads batches, decodes
//! them once and gives them to the lanes that stand there together. A lane that faults, waits
//! or lags leaves the head and goes on by itself, with a cursor of its own, until it has
//! caught up. Whatever is ready is committed together.

mod backoff;
mod batch;
mod board;
mod calls;
mod committer;
mod comparison;
mod config;
mod context;
mod counted;
mod dead_letter_relay;
mod direct;
mod duplicates;
mod effects;
mod folder;
mod gate;
mod handler;
mod head;
mod health;
mod lane;
mod log_book;
mod offsets;
mod operations;
mod pipeline;
mod plan;
mod positions;
mod reach;
mod scratch;
mod state_space;
mod stats;
mod table;
mod trust;
mod workers;

pub use carillon_store::{AuditRecord, LoadRecord, StateFate};
pub use config::{PipelineConfig, PluginConfig, WatchConfig};
pub use operations::Operations;
pub use operations::model::*;
pub use pipeline::{Pipeline, PipelineError, PipelineParts};
pub use trust::{Requirement, TrustConfig, read_signature};
