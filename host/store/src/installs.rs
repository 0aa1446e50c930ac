//! What is installed, and in which state it runs.

use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use crate::commit::now_ms;
use crate::error::StoreError;
use crate::identity::{LoadId, PluginId, TrialId};
use crate::loads::{self, LoadRecord, load_at};
use crate::open::Store;
use crate::state;
use crate::trials::{self, Candidate, TrialMode};

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Its number.
    pub plugin: PluginId,
    /// Its name.
    pub name: Arc<str>,
    /// What runs.
    pub load: LoadRecord,
    /// Whether it runs.
    pub run_state: RunState,
    /// What is tried beside it.
    pub candidate: Option<Candidate>,
}

/// Whether an installed plugin runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum RunState {
    /// It runs.
    Active,
    /// An operator has paused it.
    Paused {
        /// Since when, milliseconds since 1970.
        since_ms: i64,
    },
    /// It was set aside after faults in a row.
    Quarantined {
        /// Since when, milliseconds since 1970.
        since_ms: i64,
        /// The last fault.
        reason: String,
        /// How often it was tried again since.
        probes: u32,
    },
}

/// What becomes of a plugin's state when the plugin is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFate {
    /// It stays for a later load under the same name.
    Keep,
    /// It is deleted.
    Delete,
}

impl Store {
    /// All that is installed, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn installs(&self) -> Result<Vec<Install>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!("{} ORDER BY p.name", select())))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::database("read what is installed"))?;
        rows.iter().map(install).collect()
    }

    /// What is installed under a name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn install(&self, name: &str) -> Result<Option<Install>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("{} WHERE p.name = ?", select())))
            .bind(name)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(StoreError::database("read what is installed"))?;
        row.as_ref().map(install).transpose()
    }

    /// Notes whether an installed plugin runs.
    ///
    /// # Errors
    /// When the plugin is not installed, or the database cannot be written.
    pub async fn set_run_state(
        &self,
        plugin: PluginId,
        state: &RunState,
    ) -> Result<(), StoreError> {
        let (name, since_ms, reason, probes) = match state {
            RunState::Active => (ACTIVE, None, None, 0),
            RunState::Paused { since_ms } => (PAUSED, Some(*since_ms), None, 0),
            RunState::Quarantined {
                since_ms,
                reason,
                probes,
            } => (QUARANTINED, Some(*since_ms), Some(reason.as_str()), *probes),
        };
        let mut writer = self.writer().await;
        let done = sqlx::query(
            "UPDATE installs SET run_state = ?, since_ms = ?, reason = ?, probes = ? WHERE plugin_id = ?",
        )
        .bind(name)
        .bind(since_ms)
        .bind(reason)
        .bind(probes)
        .bind(plugin.0)
        .execute(writer.conn())
        .await
        .map_err(StoreError::database("note the state of a plugin"))?;
        if done.rows_affected() == 0 {
            return Err(self.not_installed(plugin));
        }
        Ok(())
    }

    /// Removes a plugin: the install, the cursors of its lanes and its candidate go. Its loads,
    /// binaries, decisions, notifications and dead letters stay.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn uninstall(&self, plugin: PluginId, fate: StateFate) -> Result<(), StoreError> {
        const WHAT: &str = "remove a plugin";
        let mut writer = self.begin(WHAT).await?;
        let written = remove(writer.conn(), plugin, fate)
            .await
            .map_err(StoreError::database(WHAT));
        let removed = self.end(writer, WHAT, written, move |store, shadow| {
            store.forget_shadow(plugin, *shadow);
            store.forget_place(plugin);
        });
        removed.await.map(drop)
    }

    pub(crate) fn not_installed(&self, plugin: PluginId) -> StoreError {
        StoreError::Missing {
            what: "installed plugin",
            name: self.plugin_name(plugin).to_string(),
        }
    }
}

const ACTIVE: &str = "active";
const PAUSED: &str = "paused";
const QUARANTINED: &str = "quarantined";

/// Makes a load what runs. Cursors of a plugin that kept no place are gone afterwards: a share
/// that was under way when the plugin was removed may have left one.
pub(crate) async fn take(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    load: LoadId,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM cursors WHERE plugin_id IN (SELECT id FROM plugins WHERE id = ? AND keeps_place = 0)",
    )
    .bind(plugin.0)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO installs (plugin_id, load_id, run_state) VALUES (?1, ?2, ?3)
         ON CONFLICT (plugin_id) DO UPDATE SET load_id = excluded.load_id, reason = NULL, probes = 0,
         since_ms = CASE run_state WHEN ?4 THEN since_ms END,
         run_state = CASE run_state WHEN ?4 THEN ?4 ELSE ?3 END",
    )
    .bind(plugin.0)
    .bind(load.0)
    .bind(ACTIVE)
    .bind(PAUSED)
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE plugins SET keeps_place = 1 WHERE id = ?")
        .bind(plugin.0)
        .execute(conn)
        .await
        .map(drop)
}

/// What runs of a plugin, if it is installed.
pub(crate) async fn active_load(
    conn: &mut SqliteConnection,
    plugin: PluginId,
) -> Result<Option<LoadId>, sqlx::Error> {
    sqlx::query_scalar("SELECT load_id FROM installs WHERE plugin_id = ?")
        .bind(plugin.0)
        .fetch_optional(conn)
        .await
        .map(|id| id.map(LoadId))
}

/// The lanes of a plugin keep no place any more.
pub(crate) async fn give_up_places(
    conn: &mut SqliteConnection,
    plugin: PluginId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM cursors WHERE plugin_id = ?")
        .bind(plugin.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE plugins SET keeps_place = 0 WHERE id = ?")
        .bind(plugin.0)
        .execute(conn)
        .await
        .map(drop)
}

/// Answers the shadow that ended with the plugin.
async fn remove(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    fate: StateFate,
) -> Result<Option<PluginId>, sqlx::Error> {
    let shadow = trials::end(conn, plugin, now_ms()).await?;
    sqlx::query("DELETE FROM installs WHERE plugin_id = ?")
        .bind(plugin.0)
        .execute(&mut *conn)
        .await?;
    give_up_places(conn, plugin).await?;
    if fate == StateFate::Delete {
        state::delete(conn, plugin).await?;
    }
    Ok(shadow)
}

fn select() -> String {
    format!(
        "SELECT p.id, p.name, i.run_state, i.since_ms, i.reason, i.probes,
         t.id, t.mode, t.percent, t.since_ms, t.abort_after, t.candidate_plugin_id, {}, {}
         FROM installs i JOIN plugins p ON p.id = i.plugin_id
         JOIN plugin_loads l ON l.id = i.load_id JOIN plugin_versions v ON v.id = l.version_id
         LEFT JOIN trials t ON t.plugin_id = i.plugin_id AND t.ended_ms IS NULL
         LEFT JOIN plugin_loads tl ON tl.id = t.load_id LEFT JOIN plugin_versions tv ON tv.id = tl.version_id",
        loads::columns("l", "v"),
        loads::columns("tl", "tv")
    )
}

/// Reads a row of [`select`].
fn install(row: &SqliteRow) -> Result<Install, StoreError> {
    const LOAD: usize = 12;
    let candidate = match row.get::<Option<i64>, _>(6) {
        None => None,
        Some(trial) => Some(Candidate {
            trial: TrialId(trial),
            load: load_at(row, LOAD + loads::COLUMNS)?,
            mode: TrialMode::from_row(row.get(7), row.get(8))?,
            since_ms: row.get(9),
            abort_after: row.get(10),
            plugin: PluginId(row.get(11)),
        }),
    };
    Ok(Install {
        plugin: PluginId(row.get(0)),
        name: Arc::from(row.get::<&str, _>(1)),
        load: load_at(row, LOAD)?,
        run_state: run_state(row)?,
        candidate,
    })
}

fn run_state(row: &SqliteRow) -> Result<RunState, StoreError> {
    let since_ms = row.get::<Option<i64>, _>(3).unwrap_or(0);
    match row.get(2) {
        ACTIVE => Ok(RunState::Active),
        PAUSED => Ok(RunState::Paused { since_ms }),
        QUARANTINED => Ok(RunState::Quarantined {
            since_ms,
            reason: row.get::<Option<String>, _>(4).unwrap_or_default(),
            probes: row.get(5),
        }),
        other => Err(StoreError::Unreadable {
            what: "plugin's state",
            detail: String::from(other),
        }),
    }
}
