//! Trials: a candidate runs beside the active version.

use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::commit::now_ms;
use crate::error::StoreError;
use crate::identity::{LoadId, PluginId, TrialId};
use crate::loads::{self, LoadRecord, NewLoad, load_at};
use crate::open::Store;
use crate::registry::{KeepsPlace, insert_plugin};
use crate::{installs, state};

const BEGIN: &str = "begin a trial";

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "camelCase")]
pub enum TrialMode {
    /// On every event, and nothing that it does is sent.
    Shadow,
    /// On a share of the keys, in place of the active version.
    Canary {
        /// The share, 1 to 100.
        percent: u8,
    },
}

impl TrialMode {
    fn to_row(self) -> (&'static str, Option<u8>) {
        match self {
            Self::Shadow => ("shadow", None),
            Self::Canary { percent } => ("canary", Some(percent)),
        }
    }

    pub(crate) fn from_row(mode: &str, percent: Option<u8>) -> Result<Self, StoreError> {
        match (mode, percent) {
            ("shadow", _) => Ok(Self::Shadow),
            ("canary", Some(percent)) => Ok(Self::Canary { percent }),
            (other, _) => Err(StoreError::Unreadable {
                what: "trial's mode",
                detail: other.to_owned(),
            }),
        }
    }
}

/// What is tried beside the active version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The number of the trial.
    pub trial: TrialId,
    /// What is tried.
    pub load: LoadRecord,
    /// How.
    pub mode: TrialMode,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Faults of the candidate after which the trial ends.
    pub abort_after: Option<u32>,
    /// Under which number the candidate runs: a shadow has its own, registered as
    /// `<name>@shadow`; a canary runs as the plugin itself.
    pub plugin: PluginId,
}

/// A trial that runs, or has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialRow {
    /// Its number.
    pub trial: TrialId,
    /// Whose candidate was tried.
    pub plugin: PluginId,
    /// Under which number the candidate ran.
    pub candidate_plugin: PluginId,
    /// What ran when the trial began.
    pub active: LoadRecord,
    /// What was tried.
    pub candidate: LoadRecord,
    /// How.
    #[serde(flatten)]
    pub mode: TrialMode,
    /// Faults of the candidate after which the trial was to end.
    pub abort_after: Option<u32>,
    /// When it began, milliseconds since 1970.
    pub since_ms: i64,
    /// When it ended, milliseconds since 1970; `None` while it runs.
    pub ended_ms: Option<i64>,
}

impl Store {
    /// Makes a load the candidate of an installed plugin, in place of the one that it may have,
    /// in one transaction. A shadow is registered as a plugin of its own, without cursors and
    /// with a copy of the plugin's state.
    ///
    /// # Errors
    /// When the plugin is not installed, or the database cannot be written.
    pub async fn record_candidate(
        &self,
        plugin: PluginId,
        load: NewLoad<'_>,
        mode: TrialMode,
        abort_after: Option<u32>,
    ) -> Result<Candidate, StoreError> {
        let shadow: Arc<str> = format!("{}@shadow", self.plugin_name(plugin)).into();
        let mut writer = self.begin(BEGIN).await?;
        let begun = match installs::active_load(writer.conn(), plugin).await {
            Ok(Some(active)) => {
                let rule = Rule { mode, abort_after };
                begin(writer.conn(), plugin, active, load, rule, &shadow)
                    .await
                    .map_err(StoreError::database(BEGIN))
            }
            Ok(None) => Err(self.not_installed(plugin)),
            Err(error) => Err(StoreError::database(BEGIN)(error)),
        };
        let begun = self.end(
            writer,
            BEGIN,
            begun,
            move |store, (candidate, ended): &(Candidate, _)| {
                store.remember_load(plugin, &candidate.load);
                store.forget_shadow(plugin, *ended);
                if candidate.plugin != plugin {
                    store.remember_plugin(candidate.plugin, shadow, KeepsPlace::Always);
                }
            },
        );
        begun.await.map(|(candidate, _)| candidate)
    }

    /// Ends the trial of a plugin, if there is one: a shadow's cursors and state go, the answers
    /// stay until the next trial of the plugin begins.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_trial(&self, plugin: PluginId) -> Result<(), StoreError> {
        const WHAT: &str = "end a trial";
        let mut writer = self.begin(WHAT).await?;
        let ended = end(writer.conn(), plugin, now_ms())
            .await
            .map_err(StoreError::database(WHAT));
        let ended = self.end(writer, WHAT, ended, move |store, shadow| {
            store.forget_shadow(plugin, *shadow);
        });
        ended.await.map(drop)
    }

    /// The newest trial of a plugin, running or ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_trial(&self, plugin: PluginId) -> Result<Option<TrialRow>, StoreError> {
        const LOADS: usize = 8;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT t.id, t.plugin_id, t.candidate_plugin_id, t.mode, t.percent, t.abort_after, t.since_ms, t.ended_ms, {}, {}
             FROM trials t
             JOIN plugin_loads al ON al.id = t.active_load_id JOIN plugin_versions av ON av.id = al.version_id
             JOIN plugin_loads l ON l.id = t.load_id JOIN plugin_versions v ON v.id = l.version_id
             WHERE t.plugin_id = ? ORDER BY t.id DESC LIMIT 1",
            loads::columns("al", "av"),
            loads::columns("l", "v")
        )))
        .bind(plugin.0)
        .fetch_optional(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the trials of a plugin"))?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(TrialRow {
            trial: TrialId(row.get(0)),
            plugin: PluginId(row.get(1)),
            candidate_plugin: PluginId(row.get(2)),
            mode: TrialMode::from_row(row.get(3), row.get(4))?,
            abort_after: row.get(5),
            since_ms: row.get(6),
            ended_ms: row.get(7),
            active: load_at(&row, LOADS)?,
            candidate: load_at(&row, LOADS + loads::COLUMNS)?,
        }))
    }

    /// Must be called while the writer is held, so that memory follows the commits.
    pub(crate) fn forget_shadow(&self, plugin: PluginId, ended: Option<PluginId>) {
        if let Some(shadow) = ended.filter(|shadow| *shadow != plugin) {
            self.forget_place(shadow);
        }
    }
}

/// How a trial is run.
#[derive(Clone, Copy)]
struct Rule {
    mode: TrialMode,
    abort_after: Option<u32>,
}

/// Begins a trial. Answers the candidate, and under which number the one before it ran.
async fn begin(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    active: LoadId,
    load: NewLoad<'_>,
    rule: Rule,
    shadow: &str,
) -> Result<(Candidate, Option<PluginId>), sqlx::Error> {
    let load = loads::insert(conn, plugin, load).await?;
    let ended = end(conn, plugin, load.at_ms).await?;
    let runs_as = match rule.mode {
        TrialMode::Canary { .. } => plugin,
        TrialMode::Shadow => make_shadow(conn, plugin, shadow).await?,
    };
    let (mode, percent) = rule.mode.to_row();
    let trial = sqlx::query_scalar(
        "INSERT INTO trials (plugin_id, candidate_plugin_id, active_load_id, load_id, mode, percent, abort_after, since_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(plugin.0)
    .bind(runs_as.0)
    .bind(active.0)
    .bind(load.id.0)
    .bind(mode)
    .bind(percent)
    .bind(rule.abort_after)
    .bind(load.at_ms)
    .fetch_one(conn)
    .await
    .map(TrialId)?;
    let candidate = Candidate {
        trial,
        mode: rule.mode,
        since_ms: load.at_ms,
        load,
        abort_after: rule.abort_after,
        plugin: runs_as,
    };
    Ok((candidate, ended))
}

async fn make_shadow(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    name: &str,
) -> Result<PluginId, sqlx::Error> {
    let shadow = insert_plugin(conn, name, KeepsPlace::Always).await?;
    // What a share that came late may have left of an earlier one.
    sqlx::query("DELETE FROM cursors WHERE plugin_id = ?")
        .bind(shadow.0)
        .execute(&mut *conn)
        .await?;
    state::copy(conn, plugin, shadow).await?;
    Ok(shadow)
}

/// Ends the trial of a plugin; answers under which number its candidate ran.
pub(crate) async fn end(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    now_ms: i64,
) -> Result<Option<PluginId>, sqlx::Error> {
    let candidate = sqlx::query_scalar(
        "UPDATE trials SET ended_ms = ? WHERE plugin_id = ? AND ended_ms IS NULL RETURNING candidate_plugin_id",
    )
    .bind(now_ms)
    .bind(plugin.0)
    .fetch_optional(&mut *conn)
    .await?
    .map(PluginId);
    if let Some(shadow) = candidate.filter(|candidate| *candidate != plugin) {
        installs::give_up_places(conn, shadow).await?;
        state::delete(conn, shadow).await?;
    }
    Ok(candidate)
}
