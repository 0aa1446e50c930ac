//! Resources and users: adding them, and what else their changes have in common.

use carillon_events::Topic;
use serde::{Deserialize, Serialize};

use crate::error::WriteError;
use crate::events;
use crate::record::{Resource, User};
use crate::work::{Subject, Work, json};

/// What became of something that was to be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Added<T> {
    /// It is there.
    New(T),
    /// Another one has its id.
    Exists,
    /// Another one had its id, and what happened to that one still names it.
    WasDeleted,
}

/// What became of something that was to be changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Changed<T> {
    /// As it is now.
    Now(T),
    /// There is none with this id.
    Missing,
    /// It was changed since the caller has seen it.
    OtherVersion(i64),
}

/// The one that is there, if it is at a version that the caller has seen.
pub(super) fn seen<T>(
    found: Option<T>,
    versions: Option<&[i64]>,
    version: impl Fn(&T) -> i64,
) -> Changed<T> {
    let Some(found) = found else {
        return Changed::Missing;
    };
    let at = version(&found);
    match versions {
        Some(versions) if !versions.contains(&at) => Changed::OtherVersion(at),
        _ => Changed::Now(found),
    }
}

impl Work<'_> {
    pub(crate) async fn add_resource(&mut self, resource: &Resource) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO resources (id, name, kind, capacity, requires_approval, place, time_zone,
                                    rules, version, created_ms, updated_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&resource.id)
        .bind(&resource.name)
        .bind(&resource.kind)
        .bind(resource.capacity)
        .bind(resource.requires_approval)
        .bind(&resource.place)
        .bind(&resource.time_zone)
        .bind(json(&resource.rules)?)
        .bind(resource.version)
        .bind(self.now_ms)
        .bind(self.now_ms)
        .execute(&mut *self.connection)
        .await?;
        let kind = "resource.created";
        self.note(kind, Subject::Resource, &resource.id, None, Some(resource))
            .await?;
        let draft = events::of_resource(kind, resource, self.now_ms)?;
        self.tell(Topic::ResourceEvents, &resource.id, draft).await
    }

    pub(crate) async fn add_user(&mut self, user: &User) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO users (id, display_name, email, time_zone, locale, version, created_ms,
                                updated_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&user.id)
        .bind(&user.display_name)
        .bind(&user.email)
        .bind(&user.time_zone)
        .bind(&user.locale)
        .bind(user.version)
        .bind(self.now_ms)
        .bind(self.now_ms)
        .execute(&mut *self.connection)
        .await?;
        let kind = "user.created";
        self.note(kind, Subject::User, &user.id, None, Some(user))
            .await?;
        let draft = events::of_user(kind, user, self.now_ms)?;
        self.tell(Topic::UserEvents, &user.id, draft).await
    }
}
