//! What the tables keep as text of its own.

use serde::Serialize;

use crate::error::WriteError;

/// As the tables keep what has no columns of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<String, WriteError> {
    serde_json::to_string(value).map_err(|error| WriteError::Event(error.to_string()))
}
