//! Logs, plugins and versions: names that get numbers.

use std::sync::Arc;

use sqlx::Row as _;

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

    /// The number of a plugin, given on first sight.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn plugin(&self, name: &str) -> Result<PluginId, StoreError> {
        let mut writer = self.writer().await;
        let id = sqlx::query_scalar(
            "INSERT INTO plugins (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
        )
        .bind(name)
        .fetch_one(writer.conn())
        .await
        .map(PluginId)
        .map_err(StoreError::database("register a plugin"))?;
        write(&self.inner.plugin_names).insert(id, Arc::from(name));
        Ok(id)
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
        let id = sqlx::query_scalar(
            "INSERT INTO plugin_versions (plugin_id, version, sha256, loaded_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (plugin_id, sha256) DO UPDATE SET loaded_ms = excluded.loaded_ms RETURNING id",
        )
        .bind(plugin.0)
        .bind(version)
        .bind(sha256)
        .bind(now_ms)
        .fetch_one(writer.conn())
        .await
        .map(VersionId)
        .map_err(StoreError::database("register a version"))?;
        write(&self.inner.versions).insert(key, id);
        Ok(id)
    }

    /// All plugins that were ever seen, with their names.
    #[must_use]
    pub fn known_plugins(&self) -> Vec<(PluginId, Arc<str>)> {
        read(&self.inner.plugin_names)
            .iter()
            .map(|(id, name)| (*id, Arc::clone(name)))
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
