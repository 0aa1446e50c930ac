//! Logs, plugins and versions: names that get numbers.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::error::StoreError;
use crate::identity::{LogId, PluginId, VersionId};
use crate::open::{Store, read, write};

impl Store {
    /// The number of a log, given on first sight.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn log(&self, cluster: &str, topic: &str, now_ms: i64) -> Result<LogId, StoreError> {
        let mut writer = self.writer().await;
        sqlx::query_scalar(
            "INSERT INTO logs (cluster, topic, seen_ms) VALUES (?, ?, ?)
             ON CONFLICT (cluster, topic) DO UPDATE SET seen_ms = excluded.seen_ms RETURNING id",
        )
        .bind(cluster)
        .bind(topic)
        .bind(now_ms)
        .fetch_one(writer.conn())
        .await
        .map(LogId)
        .map_err(StoreError::database("register a log"))
    }

    /// Other logs of the same topic name that hold cursors: a topic that was made anew, or
    /// another cluster.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn other_logs_with_cursors(
        &self,
        log: LogId,
        topic: &str,
    ) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT cluster FROM logs JOIN cursors ON cursors.log_id = logs.id WHERE topic = ? AND logs.id <> ?",
        )
        .bind(topic)
        .bind(log.0)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("read the logs"))
    }

    /// The number of the log of a topic, if the topic was ever seen.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn log_by_topic(
        &self,
        cluster: &str,
        topic: &str,
    ) -> Result<Option<LogId>, StoreError> {
        sqlx::query_scalar("SELECT id FROM logs WHERE cluster = ? AND topic = ?")
            .bind(cluster)
            .bind(topic)
            .fetch_optional(&self.inner.readers)
            .await
            .map(|id| id.map(LogId))
            .map_err(StoreError::database("read the logs"))
    }

    /// The number of a plugin, given on first sight, and nothing else: its lanes keep their
    /// place once it is installed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn plugin(&self, name: &str) -> Result<PluginId, StoreError> {
        self.register_plugin(name, KeepsPlace::OnceInstalled).await
    }

    /// The number of a plugin that is part of the host: its lanes keep their place always.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn builtin_plugin(&self, name: &str) -> Result<PluginId, StoreError> {
        self.register_plugin(name, KeepsPlace::Always).await
    }

    async fn register_plugin(&self, name: &str, keeps: KeepsPlace) -> Result<PluginId, StoreError> {
        const WHAT: &str = "register a plugin";
        let mut writer = self.begin(WHAT).await?;
        let written = insert_plugin(writer.conn(), name, keeps)
            .await
            .map_err(StoreError::database(WHAT));
        let name = Arc::from(name);
        self.end(writer, WHAT, written, move |store, plugin| {
            store.remember_plugin(*plugin, name, keeps);
        })
        .await
    }

    /// Must be called while the writer is held, so that memory follows the commits.
    pub(crate) fn remember_plugin(&self, plugin: PluginId, name: Arc<str>, keeps: KeepsPlace) {
        write(&self.inner.plugin_names).insert(plugin, name);
        if keeps == KeepsPlace::Always {
            write(&self.inner.keeping_place).insert(plugin);
            write(&self.inner.removed).remove(&plugin);
        }
    }

    /// Must be called while the writer is held, so that memory follows the commits.
    pub(crate) fn forget_place(&self, plugin: PluginId) {
        write(&self.inner.keeping_place).remove(&plugin);
        write(&self.inner.removed).insert(plugin);
    }

    /// The number of a plugin that was seen before, also of one that is not installed any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn plugin_by_name(&self, name: &str) -> Result<Option<PluginId>, StoreError> {
        sqlx::query_scalar("SELECT id FROM plugins WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.inner.readers)
            .await
            .map(|id| id.map(PluginId))
            .map_err(StoreError::database("look up a plugin"))
    }

    /// The number of one binary of a plugin, given on first sight.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn plugin_version(
        &self,
        plugin: PluginId,
        version: &str,
        sha256: &str,
        now_ms: i64,
    ) -> Result<VersionId, StoreError> {
        let key = (plugin, sha256.to_owned());
        if let Some(id) = read(&self.inner.versions).get(&key) {
            return Ok(*id);
        }
        let mut writer = self.writer().await;
        let (id, _) = insert_version(writer.conn(), plugin, version, sha256, now_ms)
            .await
            .map_err(StoreError::database("register a version"))?;
        write(&self.inner.versions).insert(key, id);
        Ok(id)
    }

    /// The plugins whose lanes keep their place while they are not loaded: those that are
    /// installed, with the shadows of running trials, and those that are built in.
    #[must_use]
    pub fn known_plugins(&self) -> Vec<(PluginId, Arc<str>)> {
        read(&self.inner.keeping_place)
            .iter()
            .map(|id| (*id, self.plugin_name(*id)))
            .collect()
    }

    pub(crate) fn plugin_name(&self, plugin: PluginId) -> Arc<str> {
        read(&self.inner.plugin_names)
            .get(&plugin)
            .cloned()
            .unwrap_or_else(|| Arc::from("unknown"))
    }

    /// Forgets the cursors of every log of `cluster_prefix…` but those of `current`: the logs
    /// of embedded brokers end with their process.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_ended_logs(
        &self,
        cluster_prefix: &str,
        current: &str,
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer().await;
        let rows = sqlx::query(
            "DELETE FROM cursors WHERE log_id IN
             (SELECT id FROM logs WHERE substr(cluster, 1, length(?1)) = ?1 AND cluster <> ?2)",
        )
        .bind(cluster_prefix)
        .bind(current)
        .execute(writer.conn())
        .await
        .map_err(StoreError::database("forget ended logs"))?;
        Ok(rows.rows_affected())
    }

    /// The hash of a stored version's binary, for those who explain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn version_label(
        &self,
        version: VersionId,
    ) -> Result<Option<(String, String)>, StoreError> {
        sqlx::query("SELECT version, sha256 FROM plugin_versions WHERE id = ?")
            .bind(version.0)
            .fetch_optional(&self.inner.readers)
            .await
            .map(|row| row.map(|row| (row.get(0), row.get(1))))
            .map_err(StoreError::database("read a version"))
    }
}

/// Whether a plugin that is registered keeps its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepsPlace {
    /// From now on.
    Always,
    /// Left as it is.
    OnceInstalled,
}

pub(crate) async fn insert_plugin(
    conn: &mut SqliteConnection,
    name: &str,
    keeps: KeepsPlace,
) -> Result<PluginId, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO plugins (name, keeps_place) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET
         keeps_place = CASE excluded.keeps_place WHEN 1 THEN 1 ELSE plugins.keeps_place END RETURNING id",
    )
    .bind(name)
    .bind(i64::from(keeps == KeepsPlace::Always))
    .fetch_one(conn)
    .await
    .map(PluginId)
}

/// Answers the number of a binary, and what it calls its version.
pub(crate) async fn insert_version(
    conn: &mut SqliteConnection,
    plugin: PluginId,
    version: &str,
    sha256: &str,
    now_ms: i64,
) -> Result<(VersionId, String), sqlx::Error> {
    sqlx::query(
        "INSERT INTO plugin_versions (plugin_id, version, sha256, loaded_ms) VALUES (?, ?, ?, ?)
         ON CONFLICT (plugin_id, sha256) DO UPDATE SET loaded_ms = excluded.loaded_ms RETURNING id, version",
    )
    .bind(plugin.0)
    .bind(version)
    .bind(sha256)
    .bind(now_ms)
    .fetch_one(conn)
    .await
    .map(|row| (VersionId(row.get(0)), row.get(1)))
}
