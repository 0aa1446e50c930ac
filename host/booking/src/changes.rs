//! What can be written, each change with its events and its entry of the audit record.

mod accept;
mod booking;
mod conflicts;
mod create;
mod edit;
mod feeds;
mod freed;
mod join;
mod leave;
mod master;
mod occurrence;
mod overdue;
mod remove;
mod resource;
mod scoped;
mod seed;
mod series;
mod shift;
mod step;
mod unavailable;
mod user;
mod waitlist;

pub(crate) use accept::{AcceptHold, Accepted};
pub(crate) use booking::{Access, NewBooking, NotPlaced, Refused, Taken};
pub(crate) use conflicts::{KEPT_CONFLICTS_MS, NewConflict, OpenConflict};
pub(crate) use create::{CreateBooking, Created};
pub(crate) use edit::{BookingEdit, EditBooking, Edited};
pub(crate) use feeds::{
    AddFeed, Feed, FeedAdded, FeedKind, MAX_FEEDS, RevokeFeed, Revoked, Secret, feed_of, feeds,
    subject_name,
};
pub(crate) use join::{JoinWaitlist, Joined, NewEntry};
pub(crate) use leave::{LeaveAll, LeaveWaitlist, Left};
pub(crate) use master::{Add, Added, Changed, Edit, MasterRecord, Named};
pub(crate) use occurrence::{Occurrence, Outcome};
pub(crate) use overdue::{Chore, Done, Due};
pub(crate) use remove::{Cleared, Remove, Removed, WithBookings};
pub(crate) use resource::ResourceEdit;
pub(crate) use scoped::{CancelScoped, EditScoped, ScopedCancelled, ScopedEdited};
pub(crate) use seed::SeedDemo;
pub(crate) use series::{CreateSeries, NewSeries, NoPlace, OnConflict, SeriesCreated};
pub(crate) use step::{Stepped, TakeStep};
pub(crate) use unavailable::{Close, Closed, NewClosure, Reopen};
pub(crate) use user::UserEdit;
pub(crate) use waitlist::EntryAccess;
