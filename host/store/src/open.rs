//! Opening the store.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::Deserialize;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::{Mutex, Notify};

use crate::entry::{Publication, Publisher};
use crate::error::StoreError;
use crate::identity::{PluginId, VersionId};
use crate::recent::Recent;
use crate::trial_trimming::TrialSizes;
use crate::writer::Writer;

/// How the store keeps and forgets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// How many entries of a stream are kept at least; older ones are trimmed.
    pub history_per_stream: u32,
    /// How long, in hours of log time, a plugin's decision on an event is remembered, so
    /// that an event which a producer sends twice is handled once.
    pub duplicate_window_hours: u32,
    /// How often trimming and sweeping run, in milliseconds.
    pub maintenance_interval_ms: u64,
    /// How many answers of a trial are kept at most; those in which both sides agree go
    /// first, and stay counted.
    pub trial_answers: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            history_per_stream: 10_000,
            duplicate_window_hours: 24,
            maintenance_interval_ms: 10_000,
            trial_answers: 400_000,
        }
    }
}

/// The store. Cheap to clone; all clones share one writer.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("epoch", &self.inner.epoch)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) writer: Arc<Mutex<Writer>>,
    pub(crate) readers: SqlitePool,
    pub(crate) config: StoreConfig,
    /// Drawn when the database was made. Clients hold it beside their offsets: another
    /// epoch means another history.
    pub(crate) epoch: Arc<str>,
    pub(crate) plugin_names: RwLock<HashMap<PluginId, Arc<str>>>,
    /// The plugins whose lanes keep their place while they are not loaded.
    pub(crate) keeping_place: RwLock<BTreeSet<PluginId>>,
    /// Those that were removed since the process began: shares that were under way then must not
    /// leave cursors behind.
    pub(crate) removed: RwLock<BTreeSet<PluginId>>,
    /// By plugin and hash of the binary.
    pub(crate) versions: RwLock<HashMap<(PluginId, String), VersionId>>,
    /// The hours for which a table of decisions exists.
    pub(crate) hours: RwLock<BTreeSet<i64>>,
    /// What was decided last: a decision may fall between a lane's look at the store and
    /// its commit.
    pub(crate) recent: std::sync::Mutex<Recent>,
    pub(crate) trial_sizes: TrialSizes,
    publishers: RwLock<Vec<Arc<dyn Publisher>>>,
    /// Rung when a notification was stored that waits for its time.
    pub(crate) waiting_stored: Notify,
    /// Rung when a dead letter was stored.
    pub(crate) dead_letter_stored: Notify,
}

impl Store {
    /// Opens, or makes, the database `carillon.db` in `folder`.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub async fn open(folder: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let path = folder.join("carillon.db");
        let shown = path.display().to_string();
        let open = |source| StoreError::Open {
            path: shown.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(|error| open(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::from_str("sqlite:")
            .map_err(open)?
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Group commit pays for it: a commit that was answered survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(200)
            .pragma("cache_size", "-65536")
            .pragma("temp_store", "MEMORY")
            // A page that is written again and again goes into the database once a checkpoint.
            .pragma("wal_autocheckpoint", "16000")
            .pragma("mmap_size", "268435456")
            // After a burst the write-ahead log gives its space back.
            .pragma("journal_size_limit", "134217728")
            .disable_statement_logging();
        let mut writer = options.clone().connect().await.map_err(open)?;
        sqlx::migrate!("./migrations")
            .run(&mut writer)
            .await
            .map_err(|source| StoreError::Migrate {
                path: shown.clone(),
                source,
            })?;
        let epoch = epoch(&mut writer).await.map_err(open)?;
        let hours = sqlx::query_scalar::<_, i64>("SELECT hour FROM decision_hours")
            .fetch_all(&mut writer)
            .await
            .map_err(open)?;
        let names = sqlx::query("SELECT id, name, keeps_place FROM plugins")
            .fetch_all(&mut writer)
            .await
            .map_err(open)?;
        let plugin_names = names
            .iter()
            .map(|row| (PluginId(row.get(0)), Arc::from(row.get::<&str, _>(1))))
            .collect();
        let keeping_place = names
            .iter()
            .filter(|row| row.get::<i64, _>(2) == 1)
            .map(|row| PluginId(row.get(0)))
            .collect();
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(open)?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Arc::new(Mutex::new(Writer::new(writer))),
                readers,
                config,
                epoch,
                plugin_names: RwLock::new(plugin_names),
                keeping_place: RwLock::new(keeping_place),
                removed: RwLock::default(),
                versions: RwLock::default(),
                hours: RwLock::new(hours.into_iter().collect()),
                recent: std::sync::Mutex::default(),
                trial_sizes: TrialSizes::default(),
                publishers: RwLock::default(),
                waiting_stored: Notify::new(),
                dead_letter_stored: Notify::new(),
            }),
        })
    }

    /// From now on `publisher` hears of everything that becomes visible.
    pub fn subscribe(&self, publisher: Arc<dyn Publisher>) {
        write(&self.inner.publishers).push(publisher);
    }

    /// How the store was configured.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.inner.config
    }

    /// Must be called while the writer is held, so that publishers hear the commits in
    /// their order.
    pub(crate) fn publish(&self, batch: &[Publication]) {
        if batch.is_empty() {
            return;
        }
        metrics::counter!("carillon_publications_total").increment(batch.len() as u64);
        for publisher in read(&self.inner.publishers).iter() {
            publisher.published(batch);
        }
    }
}

async fn epoch(conn: &mut SqliteConnection) -> Result<Arc<str>, sqlx::Error> {
    // The short form keeps tokens and SSE ids short; 48 random bits tell stores apart.
    let drawn = format!("{:012x}", rand::random::<u64>() >> 16);
    sqlx::query("INSERT INTO meta (key, value) VALUES ('epoch', ?) ON CONFLICT DO NOTHING")
        .bind(drawn)
        .execute(&mut *conn)
        .await?;
    let stored: String = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'epoch'")
        .fetch_one(conn)
        .await?;
    Ok(stored.into())
}

/// A poisoned lock here guards plain maps that are never left half changed.
pub(crate) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// See [`read`].
pub(crate) fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
