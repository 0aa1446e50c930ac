//! When a stored notification becomes visible, and on which channels it leaves.
//!
//! A notification that is wanted at once becomes visible with the decision on it. One with
//! a time of its own waits in the store, and [`run_schedule`] releases it.

mod schedule;

pub use schedule::run_schedule;
