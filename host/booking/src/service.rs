//! The service: its database, its writer, its readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::actor::Actor;
use crate::changes::SeedDemo;
use crate::clock::Clock;
use crate::command::{Asked, Command};
use crate::config::BookingConfig;
use crate::error::{BookingError, WriteError};
use crate::outbox::{self, Lag};
use crate::writer::Writer;

/// The database in the data folder.
const FILE: &str = "booking.db";

/// How many requests read at once; more wait their turn.
const READERS: u32 = 4;

/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection waits for a lock of another process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps: more than the service has.
const STATEMENTS: usize = 200;

/// The booking service. Cheap to clone; every clone is the same service.
#[derive(Clone)]
pub struct Booking(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) config: Arc<BookingConfig>,
    pub(crate) clock: Clock,
    pub(crate) writer: Writer,
    pub(crate) readers: SqlitePool,
    /// This service among those that share the database.
    pub(crate) node: String,
    opened_ms: i64,
}

impl Parts {
    /// Since when people can check in here, in milliseconds since the epoch; always, where it was
    /// opened by a clock that was ahead.
    pub(crate) fn open_since_ms(&self, now_ms: i64) -> i64 {
        match self.opened_ms <= now_ms {
            true => self.opened_ms,
            false => 0,
        }
    }
}

impl Booking {
    /// Opens `booking.db` in the data folder, made where it does not exist, and brings its tables up to
    /// date. Needs a tokio runtime: the writer is a task of its own.
    ///
    /// # Errors
    /// [`BookingError`] when a setting cannot work or the database cannot be opened.
    pub async fn open(
        data_dir: impl AsRef<Path>,
        config: BookingConfig,
    ) -> Result<Self, BookingError> {
        Self::open_at(data_dir, config, Clock::system()).await
    }

    /// [`Booking::open`] with a clock of one's own.
    ///
    /// # Errors
    /// As [`Booking::open`].
    pub async fn open_at(
        data_dir: impl AsRef<Path>,
        config: BookingConfig,
        clock: Clock,
    ) -> Result<Self, BookingError> {
        config.check()?;
        let folder = data_dir.as_ref();
        std::fs::create_dir_all(folder).map_err(|cause| BookingError::Folder {
            path: folder.to_owned(),
            cause,
        })?;
        let path = folder.join(FILE);
        let connection = open_writer(&path).await?;
        let readers = open_readers(&path).await?;
        let latest_ms = outbox::latest_ms(&readers).await?;
        let opened_ms = clock.now_ms();
        Ok(Self(Arc::new(Parts {
            config: Arc::new(config),
            clock: clock.clone(),
            writer: Writer::start(connection, clock, latest_ms),
            readers,
            node: uuid::Uuid::now_v7().to_string(),
            opened_ms,
        })))
    }

    /// Fills an empty database with resources `room-1` … `room-4` and users `user-1` … `user-7`, and
    /// tells of them. Answers whether there was anything to do.
    ///
    /// # Errors
    /// [`BookingError::Write`].
    pub async fn seed_demo(&self) -> Result<bool, BookingError> {
        Ok(self.carry_out(Actor::service(), SeedDemo).await?)
    }

    /// How far the log is behind the database.
    ///
    /// # Errors
    /// [`BookingError::Read`].
    pub async fn lag(&self) -> Result<Lag, BookingError> {
        Ok(outbox::lag(&self.0.readers).await?)
    }

    /// Carries out a command for whoever gives it; answers once it is on disk.
    pub(crate) async fn carry_out<C: Command>(
        &self,
        by: Actor,
        command: C,
    ) -> Result<C::Done, WriteError> {
        let config = Arc::clone(&self.0.config);
        let asked = Asked {
            config,
            by,
            command,
        };
        self.0.writer.write(asked).await
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Booking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the configuration: passwords for Kafka stand in it.
        f.debug_struct("Booking").finish_non_exhaustive()
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A booking that was answered with 201 survives the power going out.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .pragma("temp_store", "MEMORY")
        // Reads without copies.
        .pragma("mmap_size", "268435456")
        // 16 MiB. A page that is written again and again goes into the database once a checkpoint.
        .pragma("wal_autocheckpoint", "4000")
        // After a burst the write-ahead log gives its space back.
        .pragma("journal_size_limit", "134217728")
}

async fn open_writer(path: &Path) -> Result<SqliteConnection, BookingError> {
    let mut connection = options(path)
        .create_if_missing(true)
        // 64 MiB: a group of changes touches pages all over a year of bookings.
        .pragma("cache_size", "-65536")
        .connect()
        .await
        .map_err(cannot_open(path))?;
    sqlx::migrate!()
        .run(&mut connection)
        .await
        .map_err(|cause| BookingError::Migrate {
            path: path.to_owned(),
            cause,
        })?;
    Ok(connection)
}

async fn open_readers(path: &Path) -> Result<SqlitePool, BookingError> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(PATIENCE)
        .connect_with(options(path).read_only(true))
        .await
        .map_err(cannot_open(path))
}

fn cannot_open(path: &Path) -> impl FnOnce(sqlx::Error) -> BookingError {
    let path = PathBuf::from(path);
    move |cause| BookingError::Open { path, cause }
}
