//! What can be written, each change with its events and its entry of the audit record.

mod booking;
mod conflicts;
mod create;
mod edit;
mod feeds;
mod freed;
mod people;
mod scoped;
mod seed;
mod series;
mod step;

pub(crate) use booking::{Access, NewBooking, Refused, Taken};
pub(crate) use conflicts::{NewConflict, OpenConflict};
pub(crate) use create::{CreateBooking, Created};
pub(crate) use edit::{BookingEdit, EditBooking, Edited};
pub(crate) use feeds::{
    AddFeed, Feed, FeedAdded, FeedKind, MAX_FEEDS, RevokeFeed, Revoked, Secret, feed_of, feeds,
    subject_name,
};
pub(crate) use scoped::{CancelScoped, EditScoped, ScopedCancelled, ScopedEdited};
pub(crate) use seed::SeedDemo;
pub(crate) use series::{
    CreateSeries, NewSeries, NoPlace, Occurrence, OnConflict, Outcome, SeriesCreated,
};
pub(crate) use step::{Stepped, TakeStep};
