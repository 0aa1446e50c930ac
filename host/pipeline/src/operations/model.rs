//! What operators are told. All of it is JSON on the admin API, with times in milliseconds since
//! 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who operates, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name that the admin token stands for, or what works by itself: `watched folder`.
    pub who: String,
    /// The address that the request came from.
    pub from: Option<String>,
}

impl Operator {
    /// Something that works by itself.
    #[must_use]
    pub fn host(part: &str) -> Self {
        Self {
            who: part.to_owned(),
            from: None,
        }
    }
}

/// Why an operation was not done. Every text is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// There is no such plugin, load, letter or replay.
    #[error("{0}")]
    NotFound(String),
    /// The binary, its settings or its grants are not accepted.
    #[error("{0}")]
    Refused(String),
    /// It does not fit the state that things are in.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The host cannot do it at the moment.
    #[error("{0}")]
    Unavailable(String),
}

/// A plugin in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// One sentence.
    pub summary: String,
    /// `active`, `paused`, `quarantined`, or `missing` if its binary could not be loaded.
    pub state: String,
    /// Why, where the state has a reason.
    pub reason: Option<String>,
    /// Since when it has been in that state.
    pub since_ms: Option<i64>,
    /// What runs beside it.
    pub candidate: Option<CandidateSummary>,
    /// Events that its lanes have still to pass, over all partitions of this host.
    pub lag: u64,
    /// Events a second, over the last ten seconds.
    pub events_per_s: f64,
    /// Calls that were answered with actions, since the process began.
    pub handled: u64,
    /// Traps, limits and `retry`, since the process began.
    pub faults: u64,
    /// Events that became dead letters, since the process began.
    pub dead_letters: u64,
    /// Wall clock of a call, over the last minute or so, in milliseconds.
    pub p99_ms: f64,
    /// Linear memory of its instances, in bytes.
    pub memory_bytes: u64,
}

/// A candidate that runs beside an active version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateSummary {
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// `shadow` or `canary`.
    pub mode: String,
    /// The share of keys that a canary gets, in percent.
    pub percent: Option<u8>,
    /// After how many faults it is taken away.
    pub abort_after: Option<u32>,
    /// Calls that were answered with actions.
    pub handled: u64,
    /// Traps, limits and `retry`.
    pub faults: u64,
    /// Wall clock of a call, in milliseconds.
    pub p99_ms: f64,
    /// Since when.
    pub since_ms: i64,
}

/// Everything about a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginDetails {
    /// As in the list.
    #[serde(flatten)]
    pub plugin: PluginSummary,
    /// What it subscribes to.
    pub subscriptions: Vec<String>,
    /// The number of the load that runs.
    pub load: i64,
    /// When that was loaded.
    pub loaded_ms: i64,
    /// By whom.
    pub loaded_by: String,
    /// Where the binary came from.
    pub origin: String,
    /// Which shape of its state it writes.
    pub state_version: u32,
    /// What its keys and values take in the store, in bytes.
    pub state_bytes: u64,
    /// What it asks for: the interfaces that it imports.
    pub asked: Vec<String>,
    /// What the operator grants, by interface: a sentence for each thing.
    pub granted: BTreeMap<String, Vec<String>>,
    /// Its settings.
    pub settings: Vec<SettingDetails>,
    /// Its limits, and the highest value seen since it was loaded.
    pub limits: Vec<LimitDetails>,
    /// Wall clock of a call, over the last minute or so.
    pub latency: Latency,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
}

/// Wall clock of calls, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many calls.
    pub calls: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// One setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingDetails {
    /// Its key.
    pub key: String,
    /// What it is for.
    pub summary: String,
    /// What the plugin reads.
    pub value: Option<String>,
    /// Where that comes from: `operator`, `configuration`, `default` or `none`.
    pub source: String,
}

/// One limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitDetails {
    /// Its key in `[plugins.NAME.limits]`.
    pub limit: String,
    /// The largest value that is allowed.
    pub granted: u64,
    /// The largest value seen, where that is measured.
    pub highest: Option<u64>,
}

/// One lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// Whose.
    pub plugin: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of its next record.
    pub cursor: i64,
    /// The end of the log, as far as this host knows.
    pub end: i64,
    /// Records between the two.
    pub lag: u64,
    /// `head`, or `own` where it goes on by itself.
    pub place: String,
    /// What it waits for, if it does.
    pub waits: Option<String>,
}

/// What a load came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadOutcome {
    /// The plugin's name.
    pub plugin: String,
    /// The version that was loaded.
    pub version: String,
    /// The SHA-256 of its binary.
    pub sha256: String,
    /// The number of this load.
    pub load: i64,
    /// `active`, `shadow` or `canary`.
    pub runs_as: String,
    /// Whether the plugin was not known before.
    pub is_new: bool,
    /// The version that ran before.
    pub replaced: Option<String>,
    /// From the bytes to a plugin that is ready, in milliseconds.
    pub ready_ms: u64,
    /// From there until no call of the old version was running any more, in milliseconds.
    pub drained_ms: u64,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Where a plugin that is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// With events that arrive from now on.
    #[default]
    Latest,
    /// With the oldest event that the log still has.
    Earliest,
    /// With the first event that was logged at or after this time, milliseconds since 1970.
    Time(i64),
}

/// How a binary is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunAs {
    /// In place of what runs now.
    #[default]
    Active,
    /// Beside it: its answers are recorded and never take effect.
    Shadow {
        /// Ended after this many faults.
        abort_after: Option<u32>,
    },
    /// In its place for a share of the keys.
    Canary {
        /// The share, 1 to 99.
        percent: u8,
        /// Ended after this many faults.
        abort_after: Option<u32>,
    },
}

/// A binary to load.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The name that it must have; `None`: whatever it says.
    pub name: Option<String>,
    /// The binary.
    pub binary: Vec<u8>,
    /// An ed25519 signature of the binary, 64 bytes.
    pub signature: Option<Vec<u8>>,
    /// Where the binary comes from, for people.
    pub origin: String,
    /// Where a plugin that is new begins.
    pub start: StartAt,
    /// How it is to run.
    pub run_as: RunAs,
}

/// Which stretch of the log is handled again, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Events logged from this time on, milliseconds since 1970.
    pub from_ms: i64,
    /// Up to but not including this time, milliseconds since 1970.
    pub to_ms: i64,
    /// What is done with the answers.
    pub effects: ReplayEffects,
    /// What becomes of what the plugin writes to its state.
    pub state: ReplayState,
}

/// What a replay does with the plugin's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayEffects {
    /// They are compared with what was sent.
    Compare,
    /// They take effect, as far as they did not already.
    Apply,
}

/// What a replay does with the plugin's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// The plugin sees its state, and what it writes is dropped at the end.
    Leave,
    /// What it writes stays.
    Write,
}

/// How a replay stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// Its number.
    pub id: u64,
    /// The plugin.
    pub plugin: String,
    /// The version that handles the events.
    pub version: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it only compares.
    pub dry_run: bool,
    /// Whether it writes plugin state.
    pub with_state: bool,
    /// From when.
    pub from_ms: i64,
    /// Until when.
    pub to_ms: i64,
    /// Records in the stretch, as offsets tell.
    pub records: u64,
    /// Records that were read so far.
    pub read: u64,
    /// Events that the plugin handled.
    pub handled: u64,
    /// Events that it rejected, or faulted on.
    pub failed: u64,
    /// The first of these, with their reasons.
    pub failures: Vec<String>,
    /// Notifications that are as they were sent.
    pub same: u64,
    /// Notifications that were sent otherwise.
    pub changed: u64,
    /// Notifications that were never sent; a real replay sends them.
    pub new: u64,
    /// Notifications that were sent and would not be now.
    pub missing: u64,
    /// The first of those that are not the same.
    pub differences: Vec<ReplayDifference>,
}

/// One notification that a replay finds otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayDifference {
    /// `new`, `changed` or `missing`.
    pub what: String,
    /// The notification's id.
    pub id: String,
    /// The event's id.
    pub event_id: String,
    /// Whose stream.
    pub stream: String,
    /// What was sent.
    pub sent: Option<Value>,
    /// What would be sent now.
    pub now: Option<Value>,
}

/// A trial: how a candidate differs from what is active.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReport {
    /// The plugin.
    pub plugin: String,
    /// `shadow` or `canary`.
    pub mode: String,
    /// Whether it still runs.
    pub running: bool,
    /// The version that takes effect.
    pub active: TrialSide,
    /// The candidate.
    pub candidate: TrialSide,
    /// Events that both have answered. 0 for a canary, where each event goes to one of them.
    pub compared: u64,
    /// Events that both answered alike.
    pub equal: u64,
    /// Events that they answered otherwise.
    pub different: u64,
    /// Events that only the active version has answered so far.
    pub only_active: u64,
    /// Events that only the candidate has answered so far.
    pub only_candidate: u64,
    /// Events that they answered otherwise, in the order of their ids.
    pub differences: Vec<Value>,
    /// Where to go on.
    pub next: Option<String>,
}

/// One side of a trial.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialSide {
    /// Its version.
    pub version: String,
    /// Its binary.
    pub sha256: String,
    /// Calls.
    pub calls: u64,
    /// Calls that failed.
    pub faults: u64,
    /// Wall clock of a call.
    pub p50_ms: f64,
    /// Wall clock of a call.
    pub p99_ms: f64,
}

/// A dead letter, for an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// Its number.
    pub id: i64,
    /// The plugin, or `intake` for what is no event.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The topic of the record.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// A short name of the cause.
    pub code: String,
    /// The cause.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the record was logged.
    pub logged_ms: i64,
    /// When it became a dead letter.
    pub created_ms: i64,
    /// The record's key, as text.
    pub key: Option<String>,
    /// The record's value, as text; only where one letter is shown.
    pub value: Option<String>,
    /// The record's headers, as text; only where one letter is shown.
    pub headers: Option<BTreeMap<String, String>>,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Of this plugin; `intake` for what is no event.
    pub plugin: Option<String>,
    /// With this cause.
    pub code: Option<String>,
    /// From this topic.
    pub topic: Option<String>,
}

/// What became of a dead letter that was replayed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterReplayed {
    /// The letter's number.
    pub id: i64,
    /// The plugin that handled it.
    pub plugin: String,
    /// `handled`, or `failed`: then it stays a dead letter.
    pub outcome: String,
    /// Why it failed, or how many notifications came of it.
    pub detail: String,
}

/// The story of a notification, an event or a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked for.
    pub id: String,
    /// `notification`, `event` or `record`.
    pub subject: String,
    /// The story, a line for each step, from the record to the socket.
    pub story: Vec<String>,
    /// The record, its place in the log and what it says, where it is still there.
    pub record: Option<Value>,
    /// What each plugin did with the event, and why.
    pub plugins: Vec<PluginStory>,
    /// The notifications that came of it.
    pub notifications: Vec<Value>,
}

/// What one plugin did with an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStory {
    /// The plugin.
    pub plugin: String,
    /// The version that decided.
    pub version: Option<String>,
    /// The SHA-256 of that binary.
    pub sha256: Option<String>,
    /// `handled`, `no-actions`, `dead-letter`, `not-subscribed`, `not-reached`, `retrying`,
    /// `paused`, `quarantined`, `passed-over` or `forgotten`.
    pub outcome: String,
    /// In words.
    pub why: String,
}

/// A line of a plugin's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Rises by one with each line.
    pub number: u64,
    /// When it was written.
    pub at_ms: i64,
    /// `trace` to `error`.
    pub level: String,
    /// `plugin`, or `host` for what the host says about the plugin.
    pub from: String,
    /// The version that wrote it.
    pub version: String,
    /// The event that was being handled.
    pub event_id: Option<String>,
    /// Ties it to the request that caused the event.
    pub correlation_id: Option<String>,
    /// The line.
    pub text: String,
}
