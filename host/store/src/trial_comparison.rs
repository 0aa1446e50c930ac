//! The two sides of a trial, side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::error::StoreError;
use crate::identity::{TrialId, event_key_hex};
use crate::open::Store;
use crate::portion::fitting;
use crate::trial_answers::{IS_FAULT, Side};

/// What the answers of a trial come to, those that are kept and those that were dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialSummary {
    /// Events that both sides have answered.
    pub compared: u64,
    /// Of those, the ones answered with the same outcome and the same actions.
    pub equal: u64,
    /// Of those, the others.
    pub different: u64,
    /// Events that only the active version has answered, at least so far.
    pub only_active: u64,
    /// Events that only the candidate has answered, at least so far.
    pub only_candidate: u64,
    /// How often the active version answered neither with actions nor with `reject`.
    pub faults_active: u64,
    /// How often the candidate answered neither with actions nor with `reject`.
    pub faults_candidate: u64,
    /// The median of the times that the active version took, microseconds. Here and below,
    /// times of answers that were dropped are rounded down, by a sixteenth at the most.
    pub p50_us_active: Option<u32>,
    /// The time within which the active version answered 99 of 100 events, microseconds.
    pub p99_us_active: Option<u32>,
    /// The median of the times that the candidate took, microseconds.
    pub p50_us_candidate: Option<u32>,
    /// The time within which the candidate answered 99 of 100 events, microseconds.
    pub p99_us_candidate: Option<u32>,
}

/// An event that the two sides of a trial have answered differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialDifference {
    /// [`crate::event_key`] of the event's id; in JSON as 32 hexadecimal digits.
    #[serde(serialize_with = "as_digits")]
    pub event_key: [u8; 16],
    /// The event's id.
    pub event_id: String,
    /// The event's kind.
    pub kind: String,
    /// The topic of its record.
    pub topic: String,
    /// The partition of its record.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
    /// What the active version answered.
    pub active: SideAnswer,
    /// What the candidate answered.
    pub candidate: SideAnswer,
}

/// What one side of a trial answered to an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SideAnswer {
    /// How.
    pub outcome: String,
    /// The reason that was given or found.
    pub detail: Option<String>,
    /// The actions.
    pub actions: serde_json::Value,
    /// How long it took, microseconds.
    pub took_us: u32,
}

impl Store {
    /// What the answers of a trial come to. Reads all of them.
    ///
    /// # Errors
    /// When there is no such trial, or the database cannot be read.
    pub async fn trial_summary(&self, trial: TrialId) -> Result<TrialSummary, StoreError> {
        let fail = || StoreError::database("sum up a trial");
        // One look, so that what is dropped meanwhile is counted once.
        let mut look = self.inner.readers.begin().await.map_err(fail())?;
        let mut summary = dropped(&mut look, trial)
            .await
            .map_err(fail())?
            .ok_or_else(|| StoreError::Missing {
                what: "trial with the number",
                name: trial.to_string(),
            })?;
        add_kept(&mut summary, &mut look, trial)
            .await
            .map_err(fail())?;
        summary.compared = summary.equal + summary.different;
        let times = times(&mut look, trial).await.map_err(fail())?;
        let side = |side: Side| times.get(&side.to_row()).map_or(&[][..], Vec::as_slice);
        let (active, candidate) = (side(Side::Active), side(Side::Candidate));
        summary.faults_active = active.iter().map(|time| time.faults).sum();
        summary.faults_candidate = candidate.iter().map(|time| time.faults).sum();
        summary.p50_us_active = percentile(active, 50);
        summary.p99_us_active = percentile(active, 99);
        summary.p50_us_candidate = percentile(candidate, 50);
        summary.p99_us_candidate = percentile(candidate, 99);
        Ok(summary)
    }

    /// The events that both sides of a trial have answered, and differently, in the order of
    /// their keys, beyond `after`, at most `limit`. Fewer may come where they are large; there
    /// are no more once none comes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trial_differences(
        &self,
        trial: TrialId,
        after: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TrialDifference>, StoreError> {
        let fail = || StoreError::database("read the differences of a trial");
        // Sorts before every key.
        let after = after.map_or_else(Vec::new, |key| key.to_vec());
        let sizes: Vec<(Vec<u8>, i64)> = sqlx::query_as(DIFFERENT_KEYS)
            .bind(trial.0)
            .bind(&after)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(fail())?;
        let Some((last, _)) = fitting(&sizes).last() else {
            return Ok(Vec::new());
        };
        let rows = sqlx::query(DIFFERENCES)
            .bind(trial.0)
            .bind(&after)
            .bind(last)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(fail())?;
        rows.iter().map(difference).collect()
    }
}

/// The events that both sides have answered differently: the keys, and how long the answers are.
pub(crate) const DIFFERENT_KEYS: &str =
    "SELECT a.event_key, LENGTH(a.actions) + LENGTH(c.actions) FROM trial_answers a
    JOIN trial_answers c ON c.trial_id = a.trial_id AND c.event_key = a.event_key AND c.side = 1
    WHERE a.trial_id = ? AND a.event_key > ? AND a.side = 0
    AND (a.digest <> c.digest OR a.outcome <> c.outcome) ORDER BY a.event_key LIMIT ?";

const DIFFERENCES: &str =
    "SELECT a.event_key, a.event_id, a.kind, l.topic, a.partition, a.record_offset,
    a.outcome, a.detail, a.actions, a.took_us, c.outcome, c.detail, c.actions, c.took_us FROM trial_answers a
    JOIN trial_answers c ON c.trial_id = a.trial_id AND c.event_key = a.event_key AND c.side = 1
    JOIN logs l ON l.id = a.log_id
    WHERE a.trial_id = ? AND a.event_key > ? AND a.event_key <= ? AND a.side = 0
    AND (a.digest <> c.digest OR a.outcome <> c.outcome) ORDER BY a.event_key";

fn difference(row: &SqliteRow) -> Result<TrialDifference, StoreError> {
    let key: &[u8] = row.get(0);
    Ok(TrialDifference {
        event_key: key.try_into().map_err(|_| StoreError::Unreadable {
            what: "event key",
            detail: format!("{} bytes instead of 16", key.len()),
        })?,
        event_id: row.get(1),
        kind: row.get(2),
        topic: row.get(3),
        partition: row.get(4),
        offset: row.get(5),
        active: answer_at(row, 6)?,
        candidate: answer_at(row, 10)?,
    })
}

fn answer_at(row: &SqliteRow, first: usize) -> Result<SideAnswer, StoreError> {
    let actions: &str = row.get(first + 2);
    Ok(SideAnswer {
        outcome: row.get(first),
        detail: row.get(first + 1),
        actions: serde_json::from_str(actions).map_err(|error| StoreError::Unreadable {
            what: "trial's actions",
            detail: error.to_string(),
        })?,
        took_us: row.get(first + 3),
    })
}

/// What was dropped of a trial, if there is such a trial.
async fn dropped(
    conn: &mut SqliteConnection,
    trial: TrialId,
) -> Result<Option<TrialSummary>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT dropped_equal, dropped_different, dropped_only_active, dropped_only_candidate FROM trials WHERE id = ?",
    )
    .bind(trial.0)
    .fetch_optional(conn)
    .await?;
    let count = |row: &SqliteRow, column: usize| row.get::<i64, _>(column).cast_unsigned();
    Ok(row.map(|row| TrialSummary {
        equal: count(&row, 0),
        different: count(&row, 1),
        only_active: count(&row, 2),
        only_candidate: count(&row, 3),
        ..TrialSummary::default()
    }))
}

/// Walks the answers in the order of their table, and sorts nothing.
pub(crate) const RELATIONS: &str =
    "SELECT COALESCE(SUM(CASE WHEN sides = 2 AND same THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN sides = 2 AND NOT same THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN sides = 1 AND side = 0 THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN sides = 1 AND side = 1 THEN 1 ELSE 0 END), 0)
    FROM (SELECT COUNT(*) AS sides, MIN(side) AS side,
        MIN(digest) = MAX(digest) AND MIN(outcome) = MAX(outcome) AS same
        FROM trial_answers WHERE trial_id = ? GROUP BY event_key) AS events";

async fn add_kept(
    summary: &mut TrialSummary,
    conn: &mut SqliteConnection,
    trial: TrialId,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query(RELATIONS).bind(trial.0).fetch_one(conn).await?;
    summary.equal += row.get::<i64, _>(0).cast_unsigned();
    summary.different += row.get::<i64, _>(1).cast_unsigned();
    summary.only_active += row.get::<i64, _>(2).cast_unsigned();
    summary.only_candidate += row.get::<i64, _>(3).cast_unsigned();
    Ok(())
}

/// Answers that took the same time.
#[derive(Debug, Clone, Copy)]
struct Time {
    took_us: u32,
    answers: u64,
    faults: u64,
}

/// By side, the shortest first.
async fn times(
    conn: &mut SqliteConnection,
    trial: TrialId,
) -> Result<BTreeMap<i64, Vec<Time>>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT side, took_us, COUNT(*), SUM(CASE WHEN {IS_FAULT} THEN 1 ELSE 0 END)
         FROM trial_answers WHERE trial_id = ?1 GROUP BY side, took_us
         UNION ALL SELECT side, took_us, answers, faults FROM trial_tallies WHERE trial_id = ?1 ORDER BY 1, 2"
    )))
    .bind(trial.0)
    .fetch_all(conn)
    .await?;
    let mut sides: BTreeMap<i64, Vec<Time>> = BTreeMap::new();
    for row in &rows {
        sides.entry(row.get(0)).or_default().push(Time {
            took_us: row.get(1),
            answers: row.get::<i64, _>(2).cast_unsigned(),
            faults: row.get::<i64, _>(3).cast_unsigned(),
        });
    }
    Ok(sides)
}

/// The shortest time within which `percent` of the answers came.
fn percentile(times: &[Time], percent: u64) -> Option<u32> {
    let answers: u64 = times.iter().map(|time| time.answers).sum();
    let mut still = (answers * percent).div_ceil(100);
    for time in times {
        still = still.saturating_sub(time.answers);
        if still == 0 {
            return Some(time.took_us);
        }
    }
    None
}

// Its shape is what serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn as_digits<S: serde::Serializer>(key: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&event_key_hex(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_shortest_time_within_which_so_many_answers_came() {
        let time = |took_us, answers| Time {
            took_us,
            answers,
            faults: 0,
        };
        let times = [time(10, 98), time(20, 1), time(500, 1)];
        assert_eq!(percentile(&times, 50), Some(10));
        assert_eq!(percentile(&times, 99), Some(20));
        assert_eq!(percentile(&[time(7, 1)], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
