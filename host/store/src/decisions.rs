//! Decisions, and by them the recognition of events that come twice.
//!
//! They stand in one table an hour of log time, and a table is dropped whole once it
//! is older than the window: deleting row by row would cost as much as writing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use crate::bulk;
use crate::error::StoreError;
use crate::identity::{PluginId, VersionId};
use crate::open::{Store, read, write};
use crate::share::{Decision, Outcome, Share};

const HOUR_MS: i64 = 3_600_000;

/// Hours looked at by one statement: a window of a day and some more.
const HOURS_AT_ONCE: usize = 32;

/// What a plugin once decided on an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastDecision {
    /// Who decided.
    pub plugin: PluginId,
    /// With which binary.
    pub version: VersionId,
    /// See [`Decision::content_hash`].
    pub content_hash: u64,
    /// How.
    pub outcome: Outcome,
    /// How many actions.
    pub actions: u32,
    /// How many attempts it took.
    pub attempts: u32,
    /// On which partition of which log.
    pub partition: i32,
    /// On which record.
    pub offset: i64,
    /// The record's timestamp, milliseconds since 1970.
    pub logged_at_ms: i64,
}

impl Store {
    /// What was decided on these events within the window, by [`crate::event_key`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn decided(
        &self,
        keys: &[[u8; 16]],
    ) -> Result<HashMap<[u8; 16], Vec<PastDecision>>, StoreError> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        if keys.is_empty() {
            return Ok(found);
        }
        let mut sorted = keys.to_vec();
        // In the order of the table, so that neighbours share pages.
        sorted.sort_unstable();
        sorted.dedup();
        for row in self.rows_of(&sorted).await? {
            let key: Vec<u8> = row.get(0);
            let Ok(key) = <[u8; 16]>::try_from(key) else {
                continue;
            };
            found.entry(key).or_default().push(PastDecision {
                plugin: PluginId(row.get(1)),
                version: VersionId(row.get(2)),
                content_hash: row.get::<i64, _>(3).cast_unsigned(),
                outcome: outcome(row.get(4)),
                actions: row.get(5),
                attempts: row.get(6),
                partition: row.get(7),
                offset: row.get(8),
                logged_at_ms: row.get(9),
            });
        }
        Ok(found)
    }

    /// Each row: event key, plugin, version, content hash, outcome, actions, attempts, partition,
    /// offset, time, log.
    pub(crate) async fn rows_of(&self, keys: &[[u8; 16]]) -> Result<Vec<SqliteRow>, StoreError> {
        loop {
            let hours: BTreeSet<i64> = read(&self.inner.hours).clone();
            match self.rows_in(&hours, keys).await {
                // Some were dropped between the look at `hours` and the query.
                Err(_) if !hours.is_subset(&read(&self.inner.hours)) => {}
                rows => return rows.map_err(StoreError::database("look up decisions")),
            }
        }
    }

    async fn rows_in(
        &self,
        hours: &BTreeSet<i64>,
        keys: &[[u8; 16]],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut rows = Vec::new();
        let hours: Vec<i64> = hours.iter().copied().collect();
        for hours in hours.chunks(HOURS_AT_ONCE) {
            let arms: Vec<String> = hours
                .iter()
                .map(|hour| {
                    format!(
                        "SELECT event_key, plugin_id, version_id, content_hash, outcome, actions, attempts, partition, record_offset, logged_at_ms, log_id
                         FROM asked CROSS JOIN decisions_{hour} WHERE event_key = asked.asked_key"
                    )
                })
                .collect();
            let tail = format!(") {}", arms.join(" UNION ALL "));
            let head = "WITH asked (asked_key) AS MATERIALIZED (VALUES";
            rows.extend(
                bulk::fetch(
                    || &self.inner.readers,
                    head,
                    1,
                    &tail,
                    keys,
                    |row, key| row.bind(key.as_slice()).map(drop),
                )
                .await?,
            );
        }
        Ok(rows)
    }

    /// Drops the tables of hours that the window has passed; answers how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn drop_old_decisions(&self) -> Result<usize, StoreError> {
        let old = self.hours_past_the_window();
        self.drop_hours(&old).await?;
        Ok(old.len())
    }

    /// The hours that the window has passed.
    pub(crate) fn hours_past_the_window(&self) -> BTreeSet<i64> {
        let window = i64::from(self.inner.config.duplicate_window_hours);
        let hours = read(&self.inner.hours);
        let newest = hours.last().copied().unwrap_or_default();
        hours
            .iter()
            .copied()
            .take_while(|hour| *hour < newest - window)
            .collect()
    }

    pub(crate) async fn drop_hours(&self, old: &BTreeSet<i64>) -> Result<(), StoreError> {
        for hour in old {
            let mut writer = self.writer().await;
            // First, so that nobody looks for the table once it is gone.
            write(&self.inner.hours).remove(hour);
            let dropped = async {
                writer.begin().await?;
                sqlx::query("DELETE FROM decision_hours WHERE hour = ?")
                    .bind(hour)
                    .execute(writer.conn())
                    .await?;
                sqlx::query(AssertSqlSafe(format!(
                    "DROP TABLE IF EXISTS decisions_{hour}"
                )))
                .execute(writer.conn())
                .await?;
                writer.commit().await
            };
            if let Err(error) = dropped.await {
                writer.rollback().await;
                write(&self.inner.hours).insert(*hour);
                return Err(StoreError::database("drop old decisions")(error));
            }
        }
        Ok(())
    }
}

pub(crate) fn outcome(row: i64) -> Outcome {
    if row == 0 {
        Outcome::Handled
    } else {
        Outcome::DeadLettered
    }
}

/// What a group's decisions came to.
#[derive(Debug, Default)]
pub(crate) struct DecisionsWritten {
    /// The hours that got a table.
    pub(crate) made: BTreeSet<i64>,
    /// In which hour's table each decision stands, by event and plugin.
    pub(crate) decided: Vec<(([u8; 16], i64), i64)>,
}

/// Writes the decisions of a group.
pub(crate) async fn write_all(
    conn: &mut SqliteConnection,
    known: &BTreeSet<i64>,
    window_hours: i64,
    now_ms: i64,
    shares: &[&Share],
) -> Result<DecisionsWritten, sqlx::Error> {
    let mut written = DecisionsWritten::default();
    for (hour, mut decisions) in by_hour(known.last().copied(), window_hours, now_ms, shares) {
        if !known.contains(&hour) {
            make_table(conn, hour).await?;
            written.made.insert(hour);
        }
        // In the order of the table, so that neighbours share pages; of those that replace each
        // other the last one comes last.
        decisions.sort_by_key(|decision| decision.event_key);
        let (again, first): (Vec<_>, Vec<_>) =
            decisions.iter().partition(|decision| decision.replaces);
        insert(conn, hour, STANDS, &first).await?;
        clear_other_hours(conn, known, hour, &again).await?;
        insert(conn, hour, REPLACES, &again).await?;
        written.decided.extend(
            decisions
                .iter()
                .map(|decision| ((decision.event_key, decision.plugin.0), hour)),
        );
    }
    Ok(written)
}

/// Which hour's table each decision of a group belongs to.
fn by_hour<'a>(
    newest_known: Option<i64>,
    window_hours: i64,
    now_ms: i64,
    shares: &[&'a Share],
) -> BTreeMap<i64, Vec<&'a Decision>> {
    // A producer's wrong clock must neither push the window into the future nor make a
    // table for every hour since 1970.
    let hour = |decision: &Decision| decision.source.logged_at_ms.clamp(0, now_ms.max(0)) / HOUR_MS;
    let decisions = || shares.iter().flat_map(|share| &share.decisions);
    let newest = decisions()
        .map(hour)
        .chain(newest_known)
        .max()
        .unwrap_or_default();
    let mut by_hour: BTreeMap<i64, Vec<&Decision>> = BTreeMap::new();
    for decision in decisions() {
        by_hour
            .entry(hour(decision).max(newest - window_hours))
            .or_default()
            .push(decision);
    }
    by_hour
}

/// A decision that stands already is an error.
const STANDS: &str = "";
const REPLACES: &str =
    "ON CONFLICT (event_key, plugin_id) DO UPDATE SET version_id = excluded.version_id,
    content_hash = excluded.content_hash, outcome = excluded.outcome, actions = excluded.actions,
    attempts = excluded.attempts, log_id = excluded.log_id, partition = excluded.partition,
    record_offset = excluded.record_offset, logged_at_ms = excluded.logged_at_ms";

/// Deletes what `again` replaces from the tables of other hours: a decision stands in another
/// one if the producer's clock was wrong, or if the window has moved since.
async fn clear_other_hours(
    conn: &mut SqliteConnection,
    known: &BTreeSet<i64>,
    hour: i64,
    again: &[&Decision],
) -> Result<(), sqlx::Error> {
    if again.is_empty() {
        return Ok(());
    }
    let others: Vec<i64> = known
        .iter()
        .copied()
        .filter(|known| *known != hour)
        .collect();
    for hours in others.chunks(HOURS_AT_ONCE) {
        for (hour, key, plugin) in standing_in(conn, hours, again).await? {
            sqlx::query(AssertSqlSafe(format!(
                "DELETE FROM decisions_{hour} WHERE event_key = ? AND plugin_id = ?"
            )))
            .persistent(false)
            .bind(key)
            .bind(plugin)
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}

/// Which of the decisions stand in the tables of these hours: hour, event key, plugin.
async fn standing_in(
    conn: &mut SqliteConnection,
    hours: &[i64],
    decisions: &[&Decision],
) -> Result<Vec<(i64, Vec<u8>, i64)>, sqlx::Error> {
    let arms: Vec<String> = hours
        .iter()
        .map(|hour| {
            format!(
                "SELECT {hour}, event_key, plugin_id FROM asked CROSS JOIN decisions_{hour}
                 WHERE event_key = asked.asked_key AND plugin_id = asked.asked_plugin"
            )
        })
        .collect();
    let rows = bulk::fetch_on(
        conn,
        "WITH asked (asked_key, asked_plugin) AS MATERIALIZED (VALUES",
        2,
        &format!(") {}", arms.join(" UNION ALL ")),
        decisions,
        |row, decision| {
            row.bind(decision.event_key.as_slice())?
                .bind(decision.plugin.0)
                .map(drop)
        },
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

async fn insert(
    conn: &mut SqliteConnection,
    hour: i64,
    on_conflict: &str,
    decisions: &[&Decision],
) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        &format!(
            "INSERT INTO decisions_{hour} (event_key, plugin_id, version_id, content_hash, outcome, actions, attempts, log_id, partition, record_offset, logged_at_ms) VALUES"
        ),
        11,
        on_conflict,
        decisions,
        |row, decision| {
            row.bind(decision.event_key.as_slice())?
                .bind(decision.plugin.0)?
                .bind(decision.version.0)?
                .bind(decision.content_hash.cast_signed())?
                .bind(i64::from(decision.outcome == Outcome::DeadLettered))?
                .bind(decision.actions)?
                .bind(decision.attempts)?
                .bind(decision.source.log.0)?
                .bind(decision.source.partition)?
                .bind(decision.source.offset)?
                .bind(decision.source.logged_at_ms)
                .map(drop)
        },
    )
    .await
}

async fn make_table(conn: &mut SqliteConnection, hour: i64) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS decisions_{hour} (
            event_key BLOB NOT NULL, plugin_id INTEGER NOT NULL, version_id INTEGER NOT NULL,
            content_hash INTEGER NOT NULL, outcome INTEGER NOT NULL, actions INTEGER NOT NULL,
            attempts INTEGER NOT NULL, log_id INTEGER NOT NULL, partition INTEGER NOT NULL,
            record_offset INTEGER NOT NULL, logged_at_ms INTEGER NOT NULL,
            PRIMARY KEY (event_key, plugin_id)) WITHOUT ROWID"
    )))
    .execute(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO decision_hours (hour) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(hour)
        .execute(conn)
        .await?;
    Ok(())
}
