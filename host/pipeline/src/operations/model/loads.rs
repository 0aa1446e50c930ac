//! What is to be loaded, and what a load came to.

use serde::{Deserialize, Serialize};

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
