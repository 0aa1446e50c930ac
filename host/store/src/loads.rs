//! Loads: which binary with which settings a plugin got, when, and from whom.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use crate::bulk;
use crate::error::StoreError;
use crate::identity::{LoadId, LogId, PluginId, VersionId};
use crate::installs;
use crate::open::{Store, write};
use crate::registry::{KeepsPlace, insert_version};

const RECORD: &str = "record a load";

/// Why a load was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadAction {
    /// A binary was handed in.
    Load,
    /// An earlier load was taken up again.
    Rollback,
    /// The settings were changed, with the same binary.
    Settings,
    /// A candidate became what runs.
    Promote,
    /// It began to run beside what runs.
    Candidate,
}

impl LoadAction {
    fn to_row(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Rollback => "rollback",
            Self::Settings => "settings",
            Self::Promote => "promote",
            Self::Candidate => "candidate",
        }
    }

    fn from_row(text: &str) -> Result<Self, StoreError> {
        match text {
            "load" => Ok(Self::Load),
            "rollback" => Ok(Self::Rollback),
            "settings" => Ok(Self::Settings),
            "promote" => Ok(Self::Promote),
            "candidate" => Ok(Self::Candidate),
            other => Err(StoreError::Unreadable {
                what: "load's action",
                detail: other.to_owned(),
            }),
        }
    }
}

/// One load of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadRecord {
    /// Its number.
    pub id: LoadId,
    /// The number of its binary, which decisions name.
    pub version_id: VersionId,
    /// What the binary calls its version.
    pub version: String,
    /// The hash of the binary, as 64 hexadecimal digits.
    pub sha256: String,
    /// Which layout of the state the binary declares.
    pub state_version: u32,
    /// The settings it was given.
    pub settings: BTreeMap<String, String>,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who asked for it.
    pub who: String,
    /// Where the binary came from.
    pub origin: String,
    /// Why.
    pub action: LoadAction,
}

/// A load to record.
#[derive(Debug, Clone)]
pub struct NewLoad<'a> {
    /// What the binary calls its version.
    pub version: &'a str,
    /// The hash of the binary, as 64 hexadecimal digits.
    pub sha256: &'a str,
    /// Which layout of the state the binary declares.
    pub state_version: u32,
    /// The binary; written once, however often it is loaded.
    pub binary: &'a [u8],
    /// The signature that came with it; `None` leaves the one that is kept.
    pub signature: Option<&'a [u8]>,
    /// The settings it is given.
    pub settings: BTreeMap<String, String>,
    /// Who asks for it.
    pub who: &'a str,
    /// Where the binary comes from.
    pub origin: &'a str,
    /// Why.
    pub action: LoadAction,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
}

/// A binary that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The component.
    pub bytes: Vec<u8>,
    /// The signature that came with it.
    pub signature: Option<Vec<u8>>,
}

/// Where a lane of a new plugin begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log.
    pub log: LogId,
    /// The partition.
    pub partition: i32,
    /// The offset of its first record.
    pub next: i64,
    /// No record before `next` is younger, milliseconds since 1970: state that expires is
    /// swept by it.
    pub logged_at_ms: i64,
}

impl Store {
    /// Makes a load what runs, in one transaction: the plugin is installed with it, it leaves
    /// quarantine (and stays paused if it is), and gets a cursor at each of `places` where it
    /// has none. A trial that runs beside it ends.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_load(
        &self,
        plugin: PluginId,
        load: NewLoad<'_>,
        places: &[Place],
    ) -> Result<LoadRecord, StoreError> {
        let mut writer = self.begin(RECORD).await?;
        let written = write_active(writer.conn(), plugin, load, places)
            .await
            .map_err(StoreError::database(RECORD));
        let name = self.plugin_name(plugin);
        let written = self.end(writer, RECORD, written, move |store, (record, ended)| {
            store.remember_load(plugin, record);
            store.remember_plugin(plugin, name, KeepsPlace::Always);
            store.forget_shadow(plugin, *ended);
        });
        written.await.map(|(record, _)| record)
    }

    /// Must be called while the writer is held, so that memory follows the commits.
    pub(crate) fn remember_load(&self, plugin: PluginId, record: &LoadRecord) {
        write(&self.inner.versions).insert((plugin, record.sha256.clone()), record.version_id);
    }

    /// When a plugin was loaded for the first time, milliseconds since 1970.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn first_load_ms(&self, plugin: PluginId) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT MIN(at_ms) FROM plugin_loads WHERE plugin_id = ?")
            .bind(plugin.0)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(StoreError::database("read the first load of a plugin"))
    }

    /// The loads of a plugin that it can be taken back to, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn loads(&self, plugin: PluginId) -> Result<Vec<LoadRecord>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM {} WHERE l.plugin_id = ? AND l.pruned = 0 ORDER BY l.id DESC",
            columns("l", "v"),
            WITH_VERSIONS
        )))
        .bind(plugin.0)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the loads of a plugin"))?;
        rows.iter().map(|row| load_at(row, 0)).collect()
    }

    /// The newest load of a binary, pruned or not, for those who explain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load_of_version(
        &self,
        version: VersionId,
    ) -> Result<Option<LoadRecord>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM {} WHERE l.version_id = ? ORDER BY l.id DESC LIMIT 1",
            columns("l", "v"),
            WITH_VERSIONS
        )))
        .bind(version.0)
        .fetch_optional(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the loads of a version"))?;
        row.map(|row| load_at(&row, 0)).transpose()
    }

    /// A binary, if it is kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn binary(&self, sha256: &str) -> Result<Option<Binary>, StoreError> {
        sqlx::query("SELECT bytes, signature FROM binaries WHERE sha256 = ?")
            .bind(sha256)
            .fetch_optional(&self.inner.readers)
            .await
            .map(|row| {
                row.map(|row| Binary {
                    bytes: row.get(0),
                    signature: row.get(1),
                })
            })
            .map_err(StoreError::database("read a binary"))
    }

    /// Gives up the loads of each plugin beyond the newest `keep`, but never one that is
    /// installed or tried, and the binaries that no load names any more. Answers how many
    /// loads were given up.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn prune_loads(&self, keep: u32) -> Result<u64, StoreError> {
        const WHAT: &str = "prune loads";
        let mut writer = self.begin(WHAT).await?;
        let written = prune(writer.conn(), keep)
            .await
            .map_err(StoreError::database(WHAT));
        self.end(writer, WHAT, written, |_, _| {}).await
    }
}

async fn write_active(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    load: NewLoad<'_>,
    places: &[Place],
) -> Result<(LoadRecord, Option<PluginId>), sqlx::Error> {
    let ended = crate::trials::end(conn, plugin, load.now_ms).await?;
    let record = insert(conn, plugin, load).await?;
    installs::take(conn, plugin, record.id).await?;
    insert_places(conn, plugin, places).await?;
    Ok((record, ended))
}

/// Writes a load, its version and its binary.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    load: NewLoad<'_>,
) -> Result<LoadRecord, sqlx::Error> {
    let (version_id, version) =
        insert_version(conn, plugin, load.version, load.sha256, load.now_ms).await?;
    keep_binary(conn, &load).await?;
    let id = sqlx::query_scalar(
        "INSERT INTO plugin_loads (plugin_id, version_id, state_version, settings, at_ms, who, origin, action)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(plugin.0)
    .bind(version_id.0)
    .bind(load.state_version)
    // Serialising strings cannot fail.
    .bind(serde_json::to_string(&load.settings).unwrap_or_default())
    .bind(load.now_ms)
    .bind(load.who)
    .bind(load.origin)
    .bind(load.action.to_row())
    .fetch_one(conn)
    .await?;
    Ok(LoadRecord {
        id: LoadId(id),
        version_id,
        version,
        sha256: load.sha256.to_owned(),
        state_version: load.state_version,
        settings: load.settings,
        at_ms: load.now_ms,
        who: load.who.to_owned(),
        origin: load.origin.to_owned(),
        action: load.action,
    })
}

/// Writes nothing where nothing changes: the row holds the whole binary.
async fn keep_binary(conn: &mut SqliteConnection, load: &NewLoad<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO binaries (sha256, bytes, signature) VALUES (?, ?, ?)
         ON CONFLICT (sha256) DO UPDATE SET signature = excluded.signature
         WHERE excluded.signature IS NOT NULL AND binaries.signature IS DISTINCT FROM excluded.signature",
    )
    .bind(load.sha256)
    .bind(load.binary)
    .bind(load.signature)
    .execute(conn)
    .await
    .map(drop)
}

async fn insert_places(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    places: &[Place],
) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        "INSERT INTO cursors (log_id, partition, plugin_id, next_offset, logged_at_ms) VALUES",
        5,
        "ON CONFLICT (log_id, partition, plugin_id) DO NOTHING",
        places,
        |row, place| {
            row.bind(place.log.0)?
                .bind(place.partition)?
                .bind(plugin.0)?
                .bind(place.next)?
                .bind(place.logged_at_ms)
                .map(drop)
        },
    )
    .await
}

async fn prune(conn: &mut SqliteConnection, keep: u32) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query(
        "UPDATE plugin_loads SET pruned = 1 WHERE id IN (
             SELECT id FROM (
                 SELECT id, ROW_NUMBER() OVER (PARTITION BY plugin_id ORDER BY id DESC) AS place
                 FROM plugin_loads WHERE pruned = 0) AS placed
             WHERE place > ?)
         AND id NOT IN (SELECT load_id FROM installs)
         AND id NOT IN (SELECT load_id FROM trials WHERE ended_ms IS NULL)",
    )
    .bind(keep)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM binaries WHERE sha256 NOT IN (
         SELECT v.sha256 FROM plugin_loads l JOIN plugin_versions v ON v.id = l.version_id WHERE l.pruned = 0)",
    )
    .execute(conn)
    .await?;
    Ok(pruned.rows_affected())
}

const WITH_VERSIONS: &str = "plugin_loads l JOIN plugin_versions v ON v.id = l.version_id";

/// How many columns [`columns`] names.
pub(crate) const COLUMNS: usize = 10;

/// The columns of a load, under the names that the tables of loads and versions have in a
/// statement.
pub(crate) fn columns(l: &str, v: &str) -> String {
    format!(
        "{l}.id, {l}.version_id, {v}.version, {v}.sha256, {l}.state_version, {l}.settings, {l}.at_ms, {l}.who, {l}.origin, {l}.action"
    )
}

/// Reads [`columns`], which begin at `first`.
pub(crate) fn load_at(row: &SqliteRow, first: usize) -> Result<LoadRecord, StoreError> {
    let settings: &str = row.get(first + 5);
    Ok(LoadRecord {
        id: LoadId(row.get(first)),
        version_id: VersionId(row.get(first + 1)),
        version: row.get(first + 2),
        sha256: row.get(first + 3),
        state_version: row.get(first + 4),
        settings: serde_json::from_str(settings).map_err(|error| StoreError::Unreadable {
            what: "load's settings",
            detail: error.to_string(),
        })?,
        at_ms: row.get(first + 6),
        who: row.get(first + 7),
        origin: row.get(first + 8),
        action: LoadAction::from_row(row.get(first + 9))?,
    })
}
