//! What can go wrong in the booking service, apart from what a client did.

use std::path::PathBuf;

use carillon_web::Problem;

/// Why the service could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// A configured value cannot work.
    #[error("[booking_service] {key}: {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// The data folder could not be made.
    #[error(
        "the data folder {path:?} cannot be made: {cause}; check that its parent exists and is writable"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The database could not be opened.
    #[error(
        "the booking database {path:?} cannot be opened: {cause}; check that the file is a Carillon database, writable, and on a local disk"
    )]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        cause: sqlx::Error,
    },
    /// The tables could not be brought to this version.
    #[error("the tables of {path:?} cannot be brought up to date: {cause}")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// What went wrong.
        cause: sqlx::migrate::MigrateError,
    },
    /// A change could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database could not be read.
    #[error("the booking database cannot be read: {0}")]
    Read(#[from] sqlx::Error),
}

/// Why a change was not written. Nothing of it is in the database, except after [`WriteError::Stopped`],
/// where that is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// More changes wait than the queue holds, and none left it in time.
    #[error("too many changes wait to be written; the disk does not keep up")]
    Busy,
    /// The writer ended before it answered.
    #[error("the booking database was closed")]
    Stopped,
    /// The database refused the change, or the transaction it was part of.
    #[error("the booking database did not take a change: {0}")]
    Database(String),
    /// The event that belongs to the change could not be written down.
    #[error("the event of a change could not be made: {0}")]
    Event(String),
}

/// A read that failed, as a client hears of it.
pub(crate) fn unread(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::PoolTimedOut => Problem::unavailable(
            "More is being read than the service can take just now. Try again in a moment, and ask for less at a time.",
            5,
        ),
        other => Problem::internal(other),
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Problem::unavailable(
                "The service has more changes to write than it can take just now. Try again in a moment.",
                1,
            ),
            WriteError::Stopped => Problem::unavailable(
                "The service is stopping. Look whether the change was made before you send it again.",
                5,
            ),
            other => Problem::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn a_read_that_found_no_reader_free_may_be_tried_again() {
        let busy = unread(sqlx::Error::PoolTimedOut).into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "5");
        let broken = unread(sqlx::Error::RowNotFound).into_response();
        assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
