//! What can go wrong with the store.

/// A failure of the store as a whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened or migrated.
    #[error(
        "cannot open the database {path}: {source}; check that the folder exists, is writable and has free space"
    )]
    Open {
        /// The file.
        path: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A migration failed.
    #[error(
        "cannot bring the database {path} up to date: {source}; it may have been written by a newer version of Carillon"
    )]
    Migrate {
        /// The file.
        path: String,
        /// What the migration said.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the database did not {what}: {source}")]
    Database {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A row holds what this version cannot read.
    #[error("the database holds a {what} that cannot be read: {detail}")]
    Unreadable {
        /// The kind of value.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// What was named is not there.
    #[error("the database holds no {what} {name}; list what there is, and name one of those")]
    Missing {
        /// The kind of thing.
        what: &'static str,
        /// What it was called.
        name: String,
    },
}

impl StoreError {
    /// Names what was tried when a statement failed.
    pub(crate) fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { what, source }
    }
}

/// Why one share of a group was not written. The other shares are not touched by it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ShareError {
    /// The cursor was not where the share expected it: another host took over.
    #[error("the cursor stands at {found:?}, not at {expected}: another host has moved it")]
    Fenced {
        /// Where the share started.
        expected: i64,
        /// Where the store's cursor stands, if there is one.
        found: Option<i64>,
    },
    /// The plugin's state was changed by somebody else since the calls ran.
    #[error("the state of the plugin has moved on since its calls ran")]
    StateConflict,
    /// A decision of the share exists already.
    #[error("an event of the share was decided meanwhile: {0}")]
    AlreadyDecided(String),
    /// The database refuses a value of the share, for good.
    #[error("the database refuses a value: {0}")]
    Refused(String),
    /// The database cannot write at the moment: full disk, lost connection.
    #[error("the database cannot write: {0}")]
    Unavailable(String),
}

impl ShareError {
    pub(crate) fn from_sqlx(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(db)
                if db.is_unique_violation() && db.message().contains("decisions_") =>
            {
                Self::AlreadyDecided(db.message().to_owned())
            }
            sqlx::Error::Database(db)
                if db.is_unique_violation()
                    || db.is_check_violation()
                    || db.is_foreign_key_violation()
                    || matches!(db.kind(), sqlx::error::ErrorKind::NotNullViolation) =>
            {
                Self::Refused(db.message().to_owned())
            }
            // SQLITE_TOOBIG (18) and SQLITE_MISMATCH (20) blame the value, not the disk.
            sqlx::Error::Database(db) if matches!(db.code().as_deref(), Some("18" | "20")) => {
                Self::Refused(db.message().to_owned())
            }
            sqlx::Error::Encode(error) => Self::Refused(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }

    /// Whether the trouble is the database's own (full disk, failing disk, a lock), so that
    /// writing less at a time would not help.
    pub(crate) fn is_of_the_database(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Database(db) => {
                // The low byte of an extended result code is the primary one:
                // https://www.sqlite.org/rescode.html
                let primary = db
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .map(|code| code & 0xff);
                // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB
                matches!(primary, Some(5..=11 | 13..=15 | 26))
            }
            sqlx::Error::Encode(_) => false,
            _ => true,
        }
    }
}
