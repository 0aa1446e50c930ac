//! A small store of the plugin's own, shared by all its partitions.
//!
//! Calls behave as if they had run one after another. What a call writes is durable together
//! with its notifications, and gone if the call fails. This is the place for everything that a
//! plugin must remember: its memory may be dropped between any two events.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
#[cfg(target_arch = "wasm32")]
use crate::bindings::carillon::plugin::state as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::state as host;

pub use crate::bindings::carillon::plugin::state::Error;

/// The value of a key, unless it is missing or has expired.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// The value of a key, read as JSON.
///
/// # Errors
/// [`Failure::Reject`] when the value is not what `T` looks like.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    let Some(value) = get(key) else {
        return Ok(None);
    };
    match serde_json::from_slice(&value) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Failure::reject(format!(
            "state: the value of `{key}` cannot be read: {error}"
        ))),
    }
}

/// Sets a value that stays until it is set again or deleted.
///
/// # Errors
/// See [`Error`].
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
    host::set(key, value.as_ref(), None)
}

/// Sets a value that is hidden once `time_to_live` has passed since the event's `logged_at`.
///
/// # Errors
/// See [`Error`].
pub fn set_for(key: &str, value: impl AsRef<[u8]>, time_to_live: Duration) -> Result<(), Error> {
    host::set(key, value.as_ref(), Some(milliseconds(time_to_live)))
}

/// Sets a value as JSON.
///
/// # Errors
/// [`Failure::Reject`] when the value cannot be written as JSON or the host refuses it.
pub fn set_json(key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Failure::reject(format!("state: `{key}` cannot be written: {error}")))?;
    Ok(set(key, text)?)
}

/// Removes a key. Removing a missing key is no error.
pub fn delete(key: &str) {
    host::delete(key);
}

/// Adds to a decimal integer (a missing key counts as 0) and answers the sum.
///
/// # Errors
/// See [`Error`].
pub fn increment(key: &str, by: i64) -> Result<i64, Error> {
    host::increment(key, by, None)
}

/// Like [`increment`]; the key is hidden once `time_to_live` has passed since the event's
/// `logged_at`, counted anew each time.
///
/// # Errors
/// See [`Error`].
pub fn increment_for(key: &str, by: i64, time_to_live: Duration) -> Result<i64, Error> {
    host::increment(key, by, Some(milliseconds(time_to_live)))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Error> for Failure {
    /// Trying again would not help: a rejection, in words.
    fn from(error: Error) -> Self {
        Self::reject(match error {
            Error::InvalidKey => "state: the key is empty or longer than 512 bytes",
            Error::ValueTooLarge => "state: the value is longer than one value may be",
            Error::QuotaExceeded => "state: the plugin's space is full",
            Error::NotANumber => "state: the value is not a decimal integer, or the sum overflowed",
        })
    }
}
