//! The answers of a trial are bounded: what goes stays counted, so that the summary stays true.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use crate::bulk;
use crate::error::StoreError;
use crate::identity::TrialId;
use crate::open::Store;
use crate::trial_answers::{Side, is_fault};

/// Events whose answers go in one transaction, or answers of a trial that nobody asks for any
/// more: what holds the writer up is bounded.
const AT_ONCE: u64 = 2_000;

/// How many answers each trial has at most: counting them exactly reads them all.
#[derive(Default)]
pub(crate) struct TrialSizes(Mutex<HashMap<TrialId, u64>>);

impl TrialSizes {
    fn lock(&self) -> MutexGuard<'_, HashMap<TrialId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a trial that was not counted yet, nothing is known and nothing is noted.
    pub(crate) fn grow(&self, answers: &BTreeMap<TrialId, u64>) {
        if answers.is_empty() {
            return;
        }
        let mut sizes = self.lock();
        for (trial, more) in answers {
            if let Some(size) = sizes.get_mut(trial) {
                *size += more;
            }
        }
    }

    fn of(&self, trial: TrialId) -> Option<u64> {
        self.lock().get(&trial).copied()
    }

    fn begin_count(&self, trial: TrialId) {
        self.lock().insert(trial, 0);
    }

    fn end_count(&self, trial: TrialId, counted: u64) {
        if let Some(size) = self.lock().get_mut(&trial) {
            *size += counted;
        }
    }

    fn shrink(&self, trial: TrialId, gone: u64) {
        if let Some(size) = self.lock().get_mut(&trial) {
            *size = size.saturating_sub(gone);
        }
    }

    fn retain(&self, trials: &[TrialId]) {
        self.lock().retain(|trial, _| trials.contains(trial));
    }
}

/// Answers that go, in this order.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Both sides agree.
    Equal,
    /// The other side has not answered.
    OneSided,
    /// What a trial is there for.
    Different,
}

impl Kind {
    /// Which groups of the answers to one event are of the kind.
    fn having(self) -> &'static str {
        HAVING[self as usize]
    }

    /// How many answers go with an event.
    fn answers(self) -> u64 {
        match self {
            Self::OneSided => 1,
            Self::Equal | Self::Different => 2,
        }
    }
}

/// See [`Kind::having`].
pub(crate) const HAVING: [&str; 3] = [
    "COUNT(*) = 2 AND MIN(digest) = MAX(digest) AND MIN(outcome) = MAX(outcome)",
    "COUNT(*) = 1",
    "COUNT(*) = 2 AND (MIN(digest) <> MAX(digest) OR MIN(outcome) <> MAX(outcome))",
];

impl Store {
    /// Drops answers of trials that have more than configured, until they have a tenth less:
    /// events on which both sides agree first, then those that one side has answered, and the
    /// differences last; of each the oldest keys first. All answers of a trial go once a newer
    /// one of the same plugin has begun, or the plugin was removed. Answers how many went.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn trim_trials(&self) -> Result<u64, StoreError> {
        let mut gone = self.forget_old_trials().await?;
        let kept = self.trials_asked_for().await?;
        self.inner.trial_sizes.retain(&kept);
        for trial in kept {
            gone += self.trim_trial(trial).await?;
        }
        Ok(gone)
    }

    async fn trials_asked_for(&self) -> Result<Vec<TrialId>, StoreError> {
        sqlx::query_scalar(ASKED_FOR)
            .fetch_all(&self.inner.readers)
            .await
            .map(|ids| ids.into_iter().map(TrialId).collect())
            .map_err(StoreError::database("read the trials"))
    }

    async fn forget_old_trials(&self) -> Result<u64, StoreError> {
        let old: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT t.id FROM trials t WHERE t.id NOT IN ({ASKED_FOR})
             AND (EXISTS (SELECT 1 FROM trial_answers a WHERE a.trial_id = t.id)
             OR EXISTS (SELECT 1 FROM trial_tallies y WHERE y.trial_id = t.id))"
        )))
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("find old trials"))?;
        let mut gone = 0;
        for trial in old {
            loop {
                let forgotten = self.forget_some(trial).await?;
                gone += forgotten;
                if forgotten < AT_ONCE {
                    break;
                }
            }
            self.forget_tallies(trial).await?;
        }
        Ok(gone)
    }

    async fn forget_tallies(&self, trial: i64) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        sqlx::query("DELETE FROM trial_tallies WHERE trial_id = ?")
            .bind(trial)
            .execute(writer.conn())
            .await
            .map(drop)
            .map_err(StoreError::database("forget an old trial"))
    }

    async fn forget_some(&self, trial: i64) -> Result<u64, StoreError> {
        let mut writer = self.writer().await;
        sqlx::query(FORGET)
            .bind(trial)
            .bind(AT_ONCE.cast_signed())
            .execute(writer.conn())
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::database("forget an old trial"))
    }

    async fn trim_trial(&self, trial: TrialId) -> Result<u64, StoreError> {
        let most = u64::from(self.inner.config.trial_answers);
        if self
            .inner
            .trial_sizes
            .of(trial)
            .is_some_and(|size| size <= most)
        {
            return Ok(0);
        }
        let counted = self.count_answers(trial).await?;
        if counted <= most {
            return Ok(0);
        }
        let too_many = counted - (most - most / 10);
        let mut gone = 0;
        for kind in [Kind::Equal, Kind::OneSided, Kind::Different] {
            gone += self
                .drop_kind(trial, kind, too_many.saturating_sub(gone))
                .await?;
        }
        Ok(gone)
    }

    async fn count_answers(&self, trial: TrialId) -> Result<u64, StoreError> {
        // Before the look, so that no answer that comes meanwhile is left out.
        self.inner.trial_sizes.begin_count(trial);
        let counted: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM trial_answers WHERE trial_id = ?")
                .bind(trial.0)
                .fetch_one(&self.inner.readers)
                .await
                .map_err(StoreError::database("count the answers of a trial"))?;
        self.inner
            .trial_sizes
            .end_count(trial, counted.cast_unsigned());
        Ok(counted.cast_unsigned())
    }

    /// Drops answers of one kind, `too_many` of them if there are so many.
    async fn drop_kind(
        &self,
        trial: TrialId,
        kind: Kind,
        too_many: u64,
    ) -> Result<u64, StoreError> {
        // Sorts before every key.
        let mut after = Vec::new();
        let mut gone = 0;
        while gone < too_many {
            let limit = AT_ONCE.min((too_many - gone).div_ceil(kind.answers()));
            let keys: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(keys_of(kind.having())))
                .bind(trial.0)
                .bind(&after)
                .bind(limit.cast_signed())
                .fetch_all(&self.inner.readers)
                .await
                .map_err(StoreError::database("find answers to drop"))?;
            let Some(last) = keys.last() else { break };
            after.clone_from(last);
            gone += self.drop_answers(trial, &keys).await?;
        }
        Ok(gone)
    }

    async fn drop_answers(&self, trial: TrialId, keys: &[Vec<u8>]) -> Result<u64, StoreError> {
        const WHAT: &str = "drop answers of a trial";
        let mut writer = self.begin(WHAT).await?;
        let dropped = drop_and_count(writer.conn(), trial, keys)
            .await
            .map_err(StoreError::database(WHAT));
        self.end(writer, WHAT, dropped, move |store, gone| {
            store.inner.trial_sizes.shrink(trial, *gone);
        })
        .await
    }
}

/// The newest trial of each plugin that is installed.
const ASKED_FOR: &str = "SELECT MAX(n.id) FROM trials n JOIN installs i ON i.plugin_id = n.plugin_id GROUP BY n.plugin_id";

pub(crate) const FORGET: &str = "DELETE FROM trial_answers WHERE (trial_id, event_key, side) IN (
    SELECT trial_id, event_key, side FROM trial_answers WHERE trial_id = ? LIMIT ?)";

/// The keys of a kind, by [`Kind::having`]. Walks the answers in the order of their table.
pub(crate) fn keys_of(having: &str) -> String {
    format!(
        "SELECT event_key FROM trial_answers WHERE trial_id = ? AND event_key > ?
         GROUP BY event_key HAVING {having} ORDER BY event_key LIMIT ?"
    )
}

/// What went, counted as the summary counts.
#[derive(Default)]
struct Dropped {
    answers: u64,
    equal: i64,
    different: i64,
    only_active: i64,
    only_candidate: i64,
    /// By side and rounded time: answers, and faults among them.
    tallies: BTreeMap<(i64, u32), (i64, i64)>,
}

impl Dropped {
    /// Each row: event key, side, outcome, digest, time. They may be others than those that
    /// were looked up, since a repeat replaces an answer.
    fn count(rows: &[SqliteRow]) -> Self {
        let mut dropped = Self {
            answers: rows.len() as u64,
            ..Self::default()
        };
        let mut events: HashMap<&[u8], Vec<&SqliteRow>> = HashMap::new();
        for row in rows {
            events.entry(row.get(0)).or_default().push(row);
            let tally = dropped
                .tallies
                .entry((row.get(1), rounded(row.get(4))))
                .or_default();
            tally.0 += 1;
            tally.1 += i64::from(is_fault(row.get(2)));
        }
        let answer = |row: &SqliteRow| (row.get::<String, _>(2), row.get::<i64, _>(3));
        for rows in events.values() {
            let kind = match rows.as_slice() {
                [one, other] if answer(one) == answer(other) => &mut dropped.equal,
                [_, _] => &mut dropped.different,
                [one, ..] if one.get::<i64, _>(1) == Side::Active.to_row() => {
                    &mut dropped.only_active
                }
                _ => &mut dropped.only_candidate,
            };
            *kind += 1;
        }
        dropped
    }
}

async fn drop_and_count(
    conn: &mut SqliteConnection,
    trial: TrialId,
    keys: &[Vec<u8>],
) -> Result<u64, sqlx::Error> {
    let rows = bulk::fetch_on(
        conn,
        "DELETE FROM trial_answers WHERE (trial_id, event_key) IN (SELECT column1, column2 FROM (VALUES",
        2,
        ") AS asked) RETURNING event_key, side, outcome, digest, took_us",
        keys,
        |row, key| row.bind(trial.0)?.bind(key.as_slice()).map(drop),
    )
    .await?;
    let dropped = Dropped::count(&rows);
    sqlx::query(
        "UPDATE trials SET dropped_equal = dropped_equal + ?, dropped_different = dropped_different + ?,
         dropped_only_active = dropped_only_active + ?, dropped_only_candidate = dropped_only_candidate + ? WHERE id = ?",
    )
    .bind(dropped.equal)
    .bind(dropped.different)
    .bind(dropped.only_active)
    .bind(dropped.only_candidate)
    .bind(trial.0)
    .execute(&mut *conn)
    .await?;
    let tallies: Vec<_> = dropped.tallies.into_iter().collect();
    bulk::execute(
        conn,
        "INSERT INTO trial_tallies (trial_id, side, took_us, answers, faults) VALUES",
        5,
        "ON CONFLICT (trial_id, side, took_us) DO UPDATE SET answers = trial_tallies.answers + excluded.answers,
         faults = trial_tallies.faults + excluded.faults",
        &tallies,
        |row, ((side, took_us), (answers, faults))| {
            row.bind(trial.0)?.bind(*side)?.bind(*took_us)?.bind(*answers)?.bind(*faults).map(drop)
        },
    )
    .await?;
    Ok(dropped.answers)
}

/// A time rounded down by a sixteenth at the most, so that a trial has a few hundred of them.
fn rounded(took_us: u32) -> u32 {
    let kept_bits = 5;
    let shift = u32::BITS
        .saturating_sub(took_us.leading_zeros())
        .saturating_sub(kept_bits);
    (took_us >> shift) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down_by_a_sixteenth_at_the_most_to_a_few_hundred() {
        let mut steps = std::collections::BTreeSet::new();
        for exponent in 0..32 {
            for offset in [0, 1, 77, 12_345, 999_999_999] {
                let took = (1_u32 << exponent).saturating_add(offset);
                let short = rounded(took);
                assert!(
                    short <= took && took - short <= took / 16,
                    "{took}: {short}"
                );
                assert_eq!(rounded(short), short);
            }
        }
        for took in 0..1_000_000 {
            steps.insert(rounded(took));
        }
        assert!(steps.len() < 320, "{}", steps.len());
        assert_eq!((rounded(0), rounded(31), rounded(33)), (0, 31, 32));
        assert_eq!(rounded(u32::MAX), 0xf800_0000);
    }
}
