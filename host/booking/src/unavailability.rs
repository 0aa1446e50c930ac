//! Times at which a resource cannot be used.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// The longest of them, in milliseconds (five years); the schema holds them to it.
pub(crate) const MAX_CLOSED_MS: i64 = 5 * 366 * 24 * 60 * 60 * 1000;

/// One of them, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unavailability {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub(crate) interval: Interval,
    /// Why, in words.
    pub(crate) reason: String,
    #[serde(rename = "createdAt", with = "crate::rfc3339")]
    #[schema(schema_with = crate::rfc3339::schema)]
    pub(crate) created_ms: i64,
}
