//! The event envelope, the catalogue of kinds and the rules of validation. No I/O.
//!
//! A record of an event topic becomes an [`Event`] through [`decode`], which parses it once,
//! resolves aliases and refuses what is not an event with a sentence that a person understands.
//! A producer writes the same envelope with [`Draft`]. What exists is listed in [`catalogue`],
//! as data; `docs/events.md` is printed from it by [`document`].

pub mod catalogue;
pub mod document;

mod decode;
mod draft;
mod envelope;
mod error;
mod event;
mod kind;
mod scan;
mod subject;
mod subscription;
mod timestamp;
mod topic;

pub use decode::{MAX_DEPTH, MAX_IDENTIFIER_BYTES, MAX_RECORD_BYTES, decode};
pub use draft::{Draft, DraftError};
pub use error::DecodeError;
pub use event::Event;
pub use kind::{Kind, KindError, MAX_KIND_BYTES};
pub use subject::Subject;
pub use subscription::{Subscription, SubscriptionError};
pub use timestamp::{MAX_TIME_MS, MIN_TIME_MS};
pub use topic::Topic;
