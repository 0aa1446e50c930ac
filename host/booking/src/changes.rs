//! What can be written, each change with its events and its entry of the audit record.

mod booking;
mod conflicts;
mod create;
mod edit;
mod freed;
mod people;
mod seed;
mod step;

pub(crate) use booking::{Access, NewBooking, Refused, Taken};
pub(crate) use conflicts::{NewConflict, OpenConflict};
pub(crate) use create::{CreateBooking, Created};
pub(crate) use edit::{BookingEdit, EditBooking, Edited};
pub(crate) use seed::SeedDemo;
pub(crate) use step::{Stepped, TakeStep};
