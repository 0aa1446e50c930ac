//! The resources and users of `--demo`.

use std::sync::Arc;

use carillon_events::Topic;
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::events;
use crate::outbox::{self, Outgoing};
use crate::queries;
use crate::record::Resource;
use crate::writer::Change;

/// Id, name, capacity, and whether bookings wait for approval.
const RESOURCES: [(&str, &str, i64, bool); 4] = [
    ("room-1", "Aurora", 8, false),
    ("room-2", "Borealis", 12, false),
    ("room-3", "Cumulus", 20, false),
    ("room-4", "Delta Hall", 60, true),
];

/// Id, name, time zone, language.
const USERS: [(&str, &str, &str, &str); 7] = [
    ("user-1", "Ada Lindqvist", "Europe/Stockholm", "sv"),
    ("user-2", "Bao Nguyen", "Asia/Ho_Chi_Minh", "vi"),
    ("user-3", "Chidi Okafor", "Africa/Lagos", "en"),
    ("user-4", "Daniela Größ", "Europe/Berlin", "de"),
    ("user-5", "Emiko Tanaka", "Asia/Tokyo", "ja"),
    ("user-6", "Farid Haddad", "Africa/Casablanca", "fr"),
    ("user-7", "Grace Miller", "America/New_York", "en"),
];

/// Fills an empty database; leaves any other as it is.
pub(crate) struct SeedDemo {
    pub(crate) config: Arc<BookingConfig>,
}

/// `eventData` of `user.created`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserData<'a> {
    id: &'a str,
    email: String,
    display_name: &'a str,
    time_zone: &'a str,
    locale: &'a str,
}

impl Change for SeedDemo {
    /// Whether there was anything to do.
    type Done = bool;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<bool, WriteError> {
        if !queries::is_empty(&mut *connection).await? {
            return Ok(false);
        }
        for (id, name, capacity, requires_approval) in RESOURCES {
            let resource = Resource {
                id: id.into(),
                name: name.into(),
                kind: "room".into(),
                capacity,
                requires_approval,
            };
            self.add_resource(connection, &resource, now_ms).await?;
        }
        for (id, display_name, time_zone, locale) in USERS {
            let user = UserData {
                id,
                email: format!("{id}@example.com"),
                display_name,
                time_zone,
                locale,
            };
            self.add_user(connection, &user, now_ms).await?;
        }
        Ok(true)
    }
}

impl SeedDemo {
    async fn add_resource(
        &self,
        connection: &mut SqliteConnection,
        resource: &Resource,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO resources (id, name, kind, capacity, requires_approval, created_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&resource.id)
        .bind(&resource.name)
        .bind(&resource.kind)
        .bind(resource.capacity)
        .bind(resource.requires_approval)
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
        let event = Outgoing {
            topic: self.config.kafka.topics.name(Topic::ResourceEvents),
            key: &resource.id,
            draft: events::of_new_resource(resource, now_ms)?,
        };
        outbox::append(connection, now_ms, event).await
    }

    async fn add_user(
        &self,
        connection: &mut SqliteConnection,
        user: &UserData<'_>,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO users (id, display_name, email, time_zone, locale, created_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(user.id)
        .bind(user.display_name)
        .bind(&user.email)
        .bind(user.time_zone)
        .bind(user.locale)
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
        let event = Outgoing {
            topic: self.config.kafka.topics.name(Topic::UserEvents),
            key: user.id,
            draft: events::of_new_user(user.id, user, now_ms)?,
        };
        outbox::append(connection, now_ms, event).await
    }
}
