//! What the booking service promises, on Apache Kafka with the real binary, and its database read
//! from outside afterwards. Each test has topics of its own and prints a line with its counts.
//! `BOOKING=long` makes them as large as the project promises; without it they are short.
//! `BOOKING_SEED` repeats a run's random choices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calendars;
mod fight;
mod flows;
mod schemathesis;
mod series;
mod stage;
mod waiting;
