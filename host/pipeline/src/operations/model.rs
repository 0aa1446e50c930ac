//! What operators ask and what they are told. All that they are told is JSON on the admin API, with
//! times in milliseconds since 1970.

mod dead_letters;
mod explanations;
mod loads;
mod logs;
mod plugins;
mod replays;
mod trials;

pub use dead_letters::{DeadLetterQuery, DeadLetterView, LetterReplayed};
pub use explanations::{Explanation, PluginStory};
pub use loads::{LoadOutcome, LoadRequest, RunAs, StartAt};
pub use logs::LogEntry;
pub use plugins::{
    CandidateSummary, LaneStatus, Latency, LimitDetails, PluginDetails, PluginSummary,
    SettingDetails,
};
pub use replays::{ReplayDifference, ReplayEffects, ReplayRequest, ReplayState, ReplayStatus};
pub use trials::{TrialReport, TrialSide};

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
