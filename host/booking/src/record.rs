//! What the tables hold, as the API shows it.

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::rfc3339;
use crate::status::Status;

/// One booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BookingRecord {
    /// Its id, a UUID of version 7.
    pub id: String,
    /// What is booked.
    pub resource_id: String,
    /// For whom.
    pub user_id: String,
    /// What for.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// When it begins, in milliseconds since the epoch; RFC 3339 in JSON, like the other times.
    #[serde(rename = "startTime", serialize_with = "rfc3339::serialize")]
    pub start_ms: i64,
    /// When it ends: the first moment that is free again.
    #[serde(rename = "endTime", serialize_with = "rfc3339::serialize")]
    pub end_ms: i64,
    /// How many people come.
    pub attendees_count: i64,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was made.
    #[serde(rename = "createdAt", serialize_with = "rfc3339::serialize")]
    pub created_ms: i64,
    /// When it was changed last.
    #[serde(rename = "updatedAt", serialize_with = "rfc3339::serialize")]
    pub updated_ms: i64,
}

impl<'r> sqlx::FromRow<'r, SqliteRow> for BookingRecord {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let status: &str = row.try_get("status")?;
        Ok(Self {
            id: row.try_get("id")?,
            resource_id: row.try_get("resource_id")?,
            user_id: row.try_get("user_id")?,
            title: row.try_get("title")?,
            status: status
                .parse()
                .map_err(|reason: String| sqlx::Error::Decode(reason.into()))?,
            start_ms: row.try_get("start_ms")?,
            end_ms: row.try_get("end_ms")?,
            attendees_count: row.try_get("attendees_count")?,
            version: row.try_get("version")?,
            created_ms: row.try_get("created_ms")?,
            updated_ms: row.try_get("updated_ms")?,
        })
    }
}

/// Something that can be booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is: `room`.
    pub kind: String,
    /// How many people it takes.
    pub capacity: i64,
    /// Whether a booking waits for `confirm`.
    pub requires_approval: bool,
}

/// A time that a refused booking collided with. It says whose fault it is not: no user, no title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldInterval {
    /// When it begins.
    #[serde(rename = "startTime", serialize_with = "rfc3339::serialize")]
    pub(crate) start_ms: i64,
    /// When it ends.
    #[serde(rename = "endTime", serialize_with = "rfc3339::serialize")]
    pub(crate) end_ms: i64,
}
