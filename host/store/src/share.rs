//! What is written together: one lane's progress and all that follows from it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dead_letters::DeadLetterRow;
use crate::entry::Priority;
use crate::identity::{LogId, NotificationId, PluginId, VersionId};
use crate::trial_answers::TrialAnswer;

/// Which cursor a share moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The row that all lanes at the head share.
    Head,
    /// A lane with a row of its own.
    Plugin(PluginId),
}

impl Lane {
    pub(crate) fn row(self) -> i64 {
        match self {
            Self::Head => PluginId::NONE.0,
            Self::Plugin(plugin) => plugin.0,
        }
    }
}

/// Faults in a row at the record where a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryState {
    /// How often the record was tried.
    pub attempts: u32,
    /// Not tried again before this time, milliseconds since 1970.
    pub retry_at_ms: i64,
    /// What the last attempt said.
    pub last_error: String,
}

/// A compare-and-set of one cursor.
#[derive(Debug, Clone)]
pub struct CursorMove {
    /// The log.
    pub log: LogId,
    /// The partition.
    pub partition: i32,
    /// Whose cursor.
    pub lane: Lane,
    /// Where the cursor must stand; `None`: there must be no cursor yet.
    pub expected: Option<i64>,
    /// Where it goes: the offset of the next record.
    pub next: i64,
    /// The time of the last record before `next`, milliseconds since 1970.
    pub logged_at_ms: i64,
    /// Faults at `next`, for a lane of its own.
    pub retry: Option<RetryState>,
}

/// A lane that leaves the head: it gets a cursor of its own.
#[derive(Debug, Clone)]
pub struct Detached {
    /// Whose lane.
    pub plugin: PluginId,
    /// Its next record.
    pub next: i64,
    /// Faults at that record.
    pub retry: Option<RetryState>,
}

/// The record that something follows from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The log.
    pub log: LogId,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's own timestamp, milliseconds since 1970.
    pub logged_at_ms: i64,
}

/// How a plugin answered an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With actions, perhaps none.
    Handled,
    /// With `reject`, or attempts ran out: the event is a dead letter of the plugin.
    DeadLettered,
}

/// The record of one plugin having handled one event.
#[derive(Debug, Clone)]
pub struct Decision {
    /// [`crate::event_key`] of the event's id.
    pub event_key: [u8; 16],
    /// Tells a repeat from another event that claims the same id.
    pub content_hash: u64,
    /// Who decided.
    pub plugin: PluginId,
    /// With which binary.
    pub version: VersionId,
    /// How.
    pub outcome: Outcome,
    /// How many actions.
    pub actions: u32,
    /// How many attempts it took.
    pub attempts: u32,
    /// On which record.
    pub source: Source,
    /// Takes the place of an earlier decision of the plugin on the event, as a replay does;
    /// otherwise a share that decides again is refused.
    pub replaces: bool,
}

/// A notification to store.
#[derive(Debug, Clone)]
pub struct NewNotification {
    /// See [`NotificationId::derive`].
    pub id: NotificationId,
    /// `user:<id>` or `group:<name>`.
    pub stream: Arc<str>,
    /// Who decided on it.
    pub plugin: PluginId,
    /// The plugin's name, for the push.
    pub plugin_name: Arc<str>,
    /// With which binary.
    pub version: VersionId,
    /// The event's id.
    pub event_id: String,
    /// The event's kind.
    pub kind: String,
    /// On which record.
    pub source: Source,
    /// What it is about.
    pub category: String,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Further data.
    pub data: Option<Box<RawValue>>,
    /// Where a click leads.
    pub link: Option<String>,
    /// The channels asked for, comma-separated; `None`: the recipient's choice.
    pub channels: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// Replaces older ones with the same key.
    pub collapse_key: Option<String>,
    /// Not visible before, milliseconds since 1970.
    pub deliver_at_ms: Option<i64>,
    /// Not visible after, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// Gathered with others of this key …
    pub digest_key: Option<String>,
    /// … over this time.
    pub digest_window_ms: Option<i64>,
    /// Ties it to the request that caused the event.
    pub correlation_id: Option<String>,
}

/// A withdrawal to store.
#[derive(Debug, Clone)]
pub struct NewWithdrawal {
    /// The identity of the withdrawal itself.
    pub id: NotificationId,
    /// Whose stream.
    pub stream: Arc<str>,
    /// Who takes back.
    pub plugin: PluginId,
    /// The plugin's name, for the push.
    pub plugin_name: Arc<str>,
    /// With which binary.
    pub version: VersionId,
    /// The event's id.
    pub event_id: String,
    /// The event's kind.
    pub kind: String,
    /// On which record.
    pub source: Source,
    /// What is taken back.
    pub collapse_key: String,
    /// Ties it to the request that caused the event.
    pub correlation_id: Option<String>,
}

/// One effect on a stream. Their order in a share is their order in the stream.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Tell somebody something.
    Notify(Box<NewNotification>),
    /// Take something back.
    Withdraw(Box<NewWithdrawal>),
}

/// A value that a plugin's key gets, or its removal.
#[derive(Debug, Clone)]
pub struct StateWrite {
    /// The key.
    pub key: String,
    /// The value; `None` removes the key.
    pub value: Option<Vec<u8>>,
    /// Hidden from this time of the log on, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}

/// What the calls of one plugin in a share wrote to its state.
#[derive(Debug, Clone)]
pub struct StateWrites {
    /// Whose state.
    pub plugin: PluginId,
    /// The version of the state that the calls started from. Shares of one group must
    /// come in the order of these; each adds one.
    pub base_version: i64,
    /// The last value of each key.
    pub writes: Vec<StateWrite>,
}

/// A record that a lane could not handle.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Whose lane; [`PluginId::NONE`] is `intake`.
    pub plugin: PluginId,
    /// With which binary; 0 for `intake`.
    pub version: VersionId,
    /// The record.
    pub source: Source,
    /// The event's id, if it could be read.
    pub event_id: Option<String>,
    /// A short name of the cause, kebab-case.
    pub code: String,
    /// The cause, for a person.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What is written together or not at all: mostly one cursor's move and all that follows
/// from the records it passes.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// The move; `None` for what moves no cursor, as a replay does.
    pub cursor: Option<CursorMove>,
    /// Lanes that leave the head with the move; none without one.
    pub detached: Vec<Detached>,
    /// Lanes that join the head with the move: their rows, which must stand at the
    /// move's `expected`, are removed. None without a move.
    pub joined: Vec<PluginId>,
    /// The decisions taken.
    pub decisions: Vec<Decision>,
    /// Effects on streams, in order.
    pub effects: Vec<Effect>,
    /// Writes to plugin state.
    pub state: Vec<StateWrites>,
    /// Records that could not be handled.
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters that are dealt with by this share: they are deleted. What was not copied
    /// to the dead-letter topic yet is not copied any more.
    pub settled: Vec<DeadLetterRow>,
    /// What the two sides of a trial answered.
    pub answers: Vec<TrialAnswer>,
}

impl Share {
    /// A share that only moves a cursor.
    #[must_use]
    pub fn moving(cursor: CursorMove) -> Self {
        Self {
            cursor: Some(cursor),
            ..Self::default()
        }
    }

    /// A share that moves no cursor. Nothing fences it but the plugin state that it starts from.
    #[must_use]
    pub fn without_cursor() -> Self {
        Self::default()
    }

    /// Takes out everything that follows from a plugin's decisions. The cursor stays. No dead
    /// letter is settled any more: one that stays too long is seen again, one that goes too
    /// early is lost.
    pub fn strike(&mut self, plugin: PluginId) {
        self.decisions.retain(|decision| decision.plugin != plugin);
        self.dead_letters.retain(|letter| letter.plugin != plugin);
        self.state.retain(|writes| writes.plugin != plugin);
        self.answers.retain(|answer| answer.plugin != plugin);
        self.effects.retain(|effect| match effect {
            Effect::Notify(new) => new.plugin != plugin,
            Effect::Withdraw(new) => new.plugin != plugin,
        });
        self.settled.clear();
    }
}
