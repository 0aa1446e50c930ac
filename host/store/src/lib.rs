//! Everything that must survive: notifications, streams, plugin state, versions,
//! cursors, decisions and dead letters, and what operators did: loads, trials, the audit.
//!
//! The store has one writer. A group of [`Share`]s is written in one transaction by
//! [`Store::commit`]; what becomes visible in it is handed to the [`Publisher`] in
//! the order of the commits. Reading goes through connections of its own and never
//! waits for the writer.

mod audit;
mod bulk;
mod commit;
mod cursors;
mod dead_letters;
mod decisions;
mod effects;
mod entry;
mod error;
mod explain;
mod identity;
mod inbox;
mod installs;
mod loads;
mod maintenance;
mod offsets;
mod open;
#[cfg(test)]
mod plans;
mod portion;
mod recent;
mod registry;
mod relay;
mod share;
mod state;
mod streams;
mod trial_answers;
mod trial_comparison;
mod trial_trimming;
mod trials;
mod trimming;
mod visibility;
mod watched_files;
mod writer;

pub use audit::{AuditRecord, NewAudit};
pub use cursors::{Cursor, PartitionCursors};
pub use dead_letters::{DeadLetterFilter, DeadLetterRow, StoredDeadLetter};
pub use decisions::PastDecision;
pub use entry::{Entry, Notification, Priority, Publication, Publisher, Withdrawal};
pub use error::{ShareError, StoreError};
pub use explain::{DecisionRecord, NotificationRecord};
pub use identity::{
    LoadId, LogId, NotificationId, PluginId, TrialId, VersionId, event_key, event_key_from_hex,
    event_key_hex,
};
pub use inbox::{InboxCursor, InboxItem};
pub use installs::{Install, RunState, StateFate};
pub use loads::{Binary, LoadAction, LoadRecord, NewLoad, Place};
pub use open::{Store, StoreConfig};
pub use share::{
    CursorMove, DeadLetter, Decision, Detached, Effect, Lane, NewNotification, NewWithdrawal,
    Outcome, RetryState, Share, Source, StateWrite, StateWrites,
};
pub use state::StateSnapshot;
pub use streams::StreamHead;
pub use trial_answers::{Side, TrialAnswer};
pub use trial_comparison::{SideAnswer, TrialDifference, TrialSummary};
pub use trials::{Candidate, TrialMode, TrialRow};
