//! What plugins remember.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::error::{ShareError, StoreError};
use crate::identity::PluginId;
use crate::open::Store;
use crate::share::{Share, StateWrite, StateWrites};

/// What a deletion adds to the version of a state: more than shares can be under way, so that none
/// of them fits on it by accident.
const JUMP: i64 = 1_000_000;

/// How many values are swept in one transaction: what holds the writer up is bounded.
const SWEPT_AT_ONCE: u32 = 2_000;

/// A committed value, and the version of the plugin's whole state it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSnapshot {
    /// The value and the time from which it is hidden (milliseconds since 1970).
    pub value: Option<(Vec<u8>, Option<i64>)>,
}

/// The versions of the states that a group touches.
pub(crate) struct StateVersions {
    current: HashMap<i64, i64>,
}

impl StateVersions {
    pub(crate) async fn load(
        conn: &mut SqliteConnection,
        shares: &[&Share],
    ) -> Result<Self, sqlx::Error> {
        let mut plugins: Vec<i64> = shares
            .iter()
            .flat_map(|share| &share.state)
            .map(|writes| writes.plugin.0)
            .collect();
        plugins.sort_unstable();
        plugins.dedup();
        let rows = bulk::fetch_on(
            conn,
            "SELECT plugin_id, version FROM plugin_state_versions WHERE plugin_id IN (VALUES",
            1,
            ")",
            &plugins,
            |row, plugin| row.bind(*plugin).map(drop),
        )
        .await?;
        let mut current: HashMap<i64, i64> =
            plugins.into_iter().map(|plugin| (plugin, 0)).collect();
        current.extend(
            rows.iter()
                .map(|row| (row.get::<i64, _>(0), row.get::<i64, _>(1))),
        );
        Ok(Self { current })
    }

    /// Strikes out shares whose calls did not start from the state as it stands, or as the
    /// shares that remain leave it; answers whether there were any. Within a group the shares
    /// of a plugin may stand in any order: what counts is that their versions follow on each
    /// other without a gap, and each once.
    pub(crate) fn strike_out(
        &self,
        shares: &[&Share],
        results: &mut [Result<(), ShareError>],
    ) -> bool {
        let mut any = false;
        loop {
            // Who starts from a version: the first of several that claim it.
            let mut owners: HashMap<(i64, i64), usize> = HashMap::new();
            for (index, share) in shares
                .iter()
                .enumerate()
                .filter(|(index, _)| results[*index].is_ok())
            {
                for writes in &share.state {
                    owners
                        .entry((writes.plugin.0, writes.base_version))
                        .or_insert(index);
                }
            }
            // How far the versions of each plugin go without a gap.
            let reach: HashMap<i64, i64> = self
                .current
                .iter()
                .map(|(plugin, current)| {
                    let mut version = *current;
                    while owners.contains_key(&(*plugin, version)) {
                        version += 1;
                    }
                    (*plugin, version)
                })
                .collect();
            let mut struck = false;
            for (index, share) in shares.iter().enumerate() {
                let in_line = |writes: &StateWrites| {
                    let plugin = writes.plugin.0;
                    let from = self.current.get(&plugin).copied().unwrap_or(0);
                    let to = reach.get(&plugin).copied().unwrap_or(0);
                    (from..to).contains(&writes.base_version)
                        && owners.get(&(plugin, writes.base_version)) == Some(&index)
                };
                if results[index].is_ok() && !share.state.iter().all(in_line) {
                    results[index] = Err(ShareError::StateConflict);
                    struck = true;
                }
            }
            if !struck {
                return any;
            }
            any = true;
        }
    }

    pub(crate) async fn write(
        conn: &mut SqliteConnection,
        shares: &[&Share],
    ) -> Result<(), sqlx::Error> {
        let mut in_order: Vec<&StateWrites> =
            shares.iter().flat_map(|share| &share.state).collect();
        in_order.sort_by_key(|writes| writes.base_version);
        let mut next: HashMap<i64, i64> = HashMap::new();
        // The last write of a key wins.
        let mut last: HashMap<(i64, &str), &StateWrite> = HashMap::new();
        for writes in in_order {
            next.insert(writes.plugin.0, writes.base_version + 1);
            for write in &writes.writes {
                last.insert((writes.plugin.0, &write.key), write);
            }
        }
        let (set, removed): (Vec<_>, Vec<_>) = last
            .into_iter()
            .partition(|(_, write)| write.value.is_some());
        bulk::execute(
            conn,
            "DELETE FROM plugin_state WHERE (plugin_id, key) IN (SELECT column1, column2 FROM (VALUES",
            2,
            ") AS asked)",
            &removed,
            |row, ((plugin, key), _)| row.bind(*plugin)?.bind(*key).map(drop),
        )
        .await?;
        bulk::execute(
            conn,
            "INSERT INTO plugin_state (plugin_id, key, value, expires_at_ms) VALUES",
            4,
            "ON CONFLICT (plugin_id, key) DO UPDATE SET value = excluded.value, expires_at_ms = excluded.expires_at_ms",
            &set,
            |row, ((plugin, key), write)| {
                row.bind(*plugin)?
                    .bind(*key)?
                    .bind(write.value.as_deref())?
                    .bind(write.expires_at_ms)
                    .map(drop)
            },
        )
        .await?;
        let versions: Vec<(i64, i64)> = next.into_iter().collect();
        bulk::execute(
            conn,
            "INSERT INTO plugin_state_versions (plugin_id, version) VALUES",
            2,
            "ON CONFLICT (plugin_id) DO UPDATE SET version = excluded.version",
            &versions,
            |row, (plugin, version)| row.bind(*plugin)?.bind(*version).map(drop),
        )
        .await
    }
}

impl Store {
    /// The committed value of a key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn state_value(
        &self,
        plugin: PluginId,
        key: &str,
    ) -> Result<StateSnapshot, StoreError> {
        let row = sqlx::query(
            "SELECT value, expires_at_ms FROM plugin_state WHERE plugin_id = ? AND key = ?",
        )
        .bind(plugin.0)
        .bind(key)
        .fetch_optional(&self.inner.readers)
        .await
        .map_err(StoreError::database("read plugin state"))?;
        Ok(StateSnapshot {
            value: row.map(|row| (row.get(0), row.get(1))),
        })
    }

    /// The version of a plugin's state; 0 before its first write.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn state_version(&self, plugin: PluginId) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT version FROM plugin_state_versions WHERE plugin_id = ?")
            .bind(plugin.0)
            .fetch_optional(&self.inner.readers)
            .await
            .map(|version| version.unwrap_or(0))
            .map_err(StoreError::database("read the version of plugin state"))
    }

    /// How many bytes a plugin's keys and values take.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn state_bytes(&self, plugin: PluginId) -> Result<u64, StoreError> {
        sqlx::query_scalar::<_, i64>(
            "SELECT COALESCE(SUM(LENGTH(CAST(key AS BLOB)) + LENGTH(value)), 0) FROM plugin_state WHERE plugin_id = ?",
        )
        .bind(plugin.0)
        .fetch_one(&self.inner.readers)
        .await
        .map(|bytes| u64::try_from(bytes).unwrap_or(0))
        .map_err(StoreError::database("measure plugin state"))
    }

    /// Deletes all that a plugin remembers. What was computed from it and is not committed yet
    /// is refused.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_state(&self, plugin: PluginId) -> Result<(), StoreError> {
        const WHAT: &str = "delete plugin state";
        let mut writer = self.begin(WHAT).await?;
        let written = delete(writer.conn(), plugin)
            .await
            .map_err(StoreError::database(WHAT));
        self.end(writer, WHAT, written, |_, ()| {}).await
    }

    /// Removes values that were hidden before the time that every cursor of the cluster at hand has
    /// passed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_expired_state(&self) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let mut writer = self.writer().await;
            let swept = sqlx::query(
                "DELETE FROM plugin_state WHERE (plugin_id, key) IN (
                 SELECT plugin_id, key FROM plugin_state WHERE expires_at_ms IS NOT NULL
                 AND expires_at_ms < (SELECT MIN(logged_at_ms) FROM cursors WHERE log_id IN (
                     SELECT id FROM logs WHERE cluster = (SELECT cluster FROM logs ORDER BY seen_ms DESC, id DESC LIMIT 1)))
                 LIMIT ?)",
            )
            .bind(SWEPT_AT_ONCE)
            .execute(writer.conn())
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::database("sweep expired state"))?;
            gone += swept;
            if swept < u64::from(SWEPT_AT_ONCE) {
                return Ok(gone);
            }
        }
    }
}

/// Deletes the state of a plugin. Its version rises, so that a commit computed from what was
/// there is noticed.
pub(crate) async fn delete(
    conn: &mut SqliteConnection,
    plugin: PluginId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM plugin_state WHERE plugin_id = ?")
        .bind(plugin.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO plugin_state_versions (plugin_id, version) VALUES (?1, ?2)
         ON CONFLICT (plugin_id) DO UPDATE SET version = plugin_state_versions.version + ?2",
    )
    .bind(plugin.0)
    .bind(JUMP)
    .execute(conn)
    .await
    .map(drop)
}

/// Gives one plugin the state of another, in place of its own.
pub(crate) async fn copy(
    conn: &mut SqliteConnection,
    from: PluginId,
    to: PluginId,
) -> Result<(), sqlx::Error> {
    delete(conn, to).await?;
    sqlx::query(
        "INSERT INTO plugin_state (plugin_id, key, value, expires_at_ms)
         SELECT ?, key, value, expires_at_ms FROM plugin_state WHERE plugin_id = ?",
    )
    .bind(to.0)
    .bind(from.0)
    .execute(conn)
    .await
    .map(drop)
}
