//! What the tables hold, as the API shows it.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::interval::Interval;
use crate::rfc3339;
use crate::rules::Rules;
use crate::status::Status;

/// One booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    #[serde(rename = "startTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub start_ms: i64,
    /// When it ends.
    #[serde(rename = "endTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub end_ms: i64,
    /// Until when it keeps others from the resource: its end, and what the resource needs after it;
    /// absent once it keeps nobody.
    #[serde(
        rename = "blockedUntil",
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = rfc3339::schema)]
    pub blocked_until_ms: Option<i64>,
    /// How many people come.
    pub attendees_count: i64,
    /// The series that it is an occurrence of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_id: Option<String>,
    /// When the occurrence would begin by the rule of its series.
    #[serde(
        rename = "occurrenceTime",
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = rfc3339::schema)]
    pub occurrence_ms: Option<i64>,
    /// Until when it is held for somebody from the waitlist.
    #[serde(
        rename = "holdUntil",
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = rfc3339::schema)]
    pub hold_until_ms: Option<i64>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was made.
    #[serde(rename = "createdAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub created_ms: i64,
    /// When it was changed last.
    #[serde(rename = "updatedAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub updated_ms: i64,
    /// When its state, start or resource last became another: from then on it can be missed.
    #[serde(skip)]
    pub(crate) settled_ms: i64,
}

impl BookingRecord {
    /// Counts a change of it. Whoever changes its title is not waited for any longer than before.
    pub(crate) fn touched(&mut self, before: &Self, now_ms: i64) {
        self.version = before.version + 1;
        self.updated_ms = now_ms;
        if self.status != before.status
            || self.start_ms != before.start_ms
            || self.resource_id != before.resource_id
        {
            self.settled_ms = now_ms;
        }
    }

    /// Its time, without what the resource needs after it.
    pub(crate) fn interval(&self) -> Interval {
        Interval::new(self.start_ms, self.end_ms)
    }

    /// For how long it keeps others from its resource, if it does.
    pub(crate) fn blocked(&self) -> Option<Interval> {
        let until_ms = self.blocked_until_ms?;
        Some(Interval::new(self.start_ms, until_ms))
    }
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
            blocked_until_ms: row.try_get("blocked_until_ms")?,
            attendees_count: row.try_get("attendees_count")?,
            series_id: row.try_get("series_id")?,
            occurrence_ms: row.try_get("occurrence_ms")?,
            hold_until_ms: row.try_get("hold_until_ms")?,
            version: row.try_get("version")?,
            created_ms: row.try_get("created_ms")?,
            updated_ms: row.try_get("updated_ms")?,
            settled_ms: row.try_get("settled_ms")?,
        })
    }
}

/// Something that can be booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// Where it is: resources at one place stand in for each other first.
    pub place: String,
    /// The IANA time zone of its opening hours.
    pub time_zone: String,
    /// When it may be booked, and for how long.
    pub rules: Rules,
    /// Counts the changes, from 1.
    pub version: i64,
}

impl Resource {
    /// Its time zone; one that this machine does not know counts as UTC.
    pub(crate) fn zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.time_zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

impl<'r> sqlx::FromRow<'r, SqliteRow> for Resource {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let rules: &str = row.try_get("rules")?;
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            capacity: row.try_get("capacity")?,
            requires_approval: row.try_get("requires_approval")?,
            place: row.try_get("place")?,
            time_zone: row.try_get("time_zone")?,
            rules: serde_json::from_str(rules)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            version: row.try_get("version")?,
        })
    }
}

/// Somebody who books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id, which is the `sub` of their tokens.
    pub id: String,
    /// The address for e-mail.
    pub email: String,
    /// The name that others see.
    pub display_name: String,
    /// An IANA time zone.
    pub time_zone: String,
    /// A BCP 47 language tag.
    pub locale: String,
    /// Counts the changes, from 1.
    pub version: i64,
}
