//! How a candidate differs from what is active.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
