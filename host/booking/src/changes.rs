//! What can be written, each change with the events that tell of it.

mod create;
mod seed;
mod step;

pub(crate) use create::{CreateBooking, Created};
pub(crate) use seed::SeedDemo;
pub(crate) use step::{Stepped, TakeStep};
