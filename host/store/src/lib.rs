//! Everything that must survive: notifications, streams, plugin state, versions,
//! cursors, decisions and dead letters.
//!
//! The store has one writer. A group of [`Share`]s is written in one transaction by
//! [`Store::commit`]; what becomes visible in it is handed to the [`Publisher`] in
//! the order of the commits. Reading goes through connections of its own and never
//! waits for the writer.

mod bulk;
mod commit;
mod cursors;
mod dead_letters;
mod decisions;
mod effects;
mod entry;
mod error;
mod identity;
mod inbox;
mod maintenance;
mod offsets;
mod open;
#[cfg(test)]
mod plans;
mod recent;
mod registry;
mod share;
mod state;
mod streams;
mod trimming;
mod visibility;
mod writer;

pub use cursors::{Cursor, PartitionCursors};
pub use dead_letters::{DeadLetterRow, StoredDeadLetter};
pub use decisions::PastDecision;
pub use entry::{Entry, Notification, Priority, Publication, Publisher, Withdrawal};
pub use error::{ShareError, StoreError};
pub use identity::{LogId, NotificationId, PluginId, VersionId, event_key};
pub use inbox::{InboxCursor, InboxItem};
pub use open::{Store, StoreConfig};
pub use share::{
    CursorMove, DeadLetter, Decision, Detached, Effect, Lane, NewNotification, NewWithdrawal,
    Outcome, RetryState, Share, Source, StateWrite, StateWrites,
};
pub use state::StateSnapshot;
pub use streams::StreamHead;
