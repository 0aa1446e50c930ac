//! What the two sides of a trial answered.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::identity::{PluginId, TrialId};
use crate::share::{Share, Source};

/// One of the two that answer in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// What runs.
    Active,
    /// What is tried.
    Candidate,
}

impl Side {
    pub(crate) fn to_row(self) -> i64 {
        self as i64
    }
}

/// What one side of a trial answered to an event. A repeat replaces.
#[derive(Debug, Clone)]
pub struct TrialAnswer {
    /// Which trial.
    pub trial: TrialId,
    /// Under which number this side runs.
    pub plugin: PluginId,
    /// Which side.
    pub side: Side,
    /// [`crate::event_key`] of the event's id.
    pub event_key: [u8; 16],
    /// The event's id.
    pub event_id: String,
    /// The event's kind.
    pub kind: String,
    /// On which record.
    pub source: Source,
    /// How it answered: `handled` or `rejected`; everything else (`retry`, `trap`, …) counts as
    /// a fault.
    pub outcome: String,
    /// The reason that it gave, or that was found.
    pub detail: Option<String>,
    /// A hash of the actions: two answers are equal if this and the outcome are.
    pub digest: u64,
    /// The actions as JSON.
    pub actions: String,
    /// How long it took, microseconds.
    pub took_us: u32,
}

/// Whether an outcome is neither of the two that a plugin may give on purpose.
pub(crate) fn is_fault(outcome: &str) -> bool {
    !matches!(outcome, "handled" | "rejected")
}

/// [`is_fault`] in SQL.
pub(crate) const IS_FAULT: &str = "outcome NOT IN ('handled', 'rejected')";

/// Writes the answers of a group; answers how many there were of each trial.
pub(crate) async fn write_all(
    conn: &mut SqliteConnection,
    shares: &[&Share],
) -> Result<BTreeMap<TrialId, u64>, sqlx::Error> {
    let mut answers: Vec<&TrialAnswer> = shares.iter().flat_map(|share| &share.answers).collect();
    // In the order of the table, so that neighbours share pages; of a repeat the last one
    // comes last.
    answers.sort_by_key(|answer| (answer.trial, answer.event_key, answer.side));
    bulk::execute(
        conn,
        "INSERT INTO trial_answers (trial_id, event_key, side, event_id, kind, log_id, partition, record_offset,
         outcome, detail, digest, took_us, actions) VALUES",
        13,
        "ON CONFLICT (trial_id, event_key, side) DO UPDATE SET event_id = excluded.event_id, kind = excluded.kind,
         log_id = excluded.log_id, partition = excluded.partition, record_offset = excluded.record_offset,
         outcome = excluded.outcome, detail = excluded.detail, digest = excluded.digest,
         took_us = excluded.took_us, actions = excluded.actions",
        &answers,
        |row, answer| {
            row.bind(answer.trial.0)?
                .bind(answer.event_key.as_slice())?
                .bind(answer.side.to_row())?
                .bind(answer.event_id.as_str())?
                .bind(answer.kind.as_str())?
                .bind(answer.source.log.0)?
                .bind(answer.source.partition)?
                .bind(answer.source.offset)?
                .bind(answer.outcome.as_str())?
                .bind(answer.detail.as_deref())?
                .bind(answer.digest.cast_signed())?
                .bind(answer.took_us)?
                .bind(answer.actions.as_str())
                .map(drop)
        },
    )
    .await?;
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.trial).or_insert(0) += 1;
    }
    Ok(counts)
}
