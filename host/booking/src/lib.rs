//! The booking API, its tables, its outbox and the relay.
//!
//! A change and the event that tells of it are written in one SQLite transaction; the relay then
//! produces the event to Kafka and marks it sent. A crash between any two steps loses nothing: what is
//! not marked is sent again, with the same event id, and readers know it by that.
//!
//! - [`Booking`] is the service: open it, seed it, take its [`Booking::router`] and its
//!   [`Booking::relay`];
//! - `status` is the life of a booking as a pure type;
//! - `writer` is the only place that writes: one connection, one queue, many changes a commit;
//! - `changes` are the things that can be written, each with its events;
//! - `api` is the HTTP face.
//!
//! Double booking is prevented by triggers of the database (`migrations/`), not by this code.

mod actor;
mod alternatives;
mod analytics;
mod api;
mod audit;
mod availability;
mod calendar;
mod changes;
mod clock;
mod columns;
mod command;
mod config;
mod error;
mod events;
mod idempotency;
mod interval;
mod invitation;
mod lease;
mod outbox;
mod place;
mod proxy;
mod queries;
mod record;
mod recorder;
mod recurrence;
mod relay;
mod rfc3339;
mod rules;
mod series;
mod serve;
mod service;
mod status;
mod sweep;
mod telemetry;
mod unavailability;
mod waitlist;
mod whole;
mod work;
mod writer;

pub use api::{Surroundings, SurroundingsError};
pub use clock::Clock;
pub use config::BookingConfig;
pub use error::{BookingError, WriteError};
pub use outbox::Lag;
pub use proxy::TrustedProxy;
pub use record::{BookingRecord, Resource, User};
pub use relay::{RecordSink, RelaySettings};
pub use rules::{Clock24, Day, Rules, Stretch};
pub use serve::ServeError;
pub use service::Booking;
pub use status::{Refusal, Status, Step};
pub use sweep::Swept;
