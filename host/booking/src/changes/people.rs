//! Resources and users: adding them.

use carillon_events::Topic;

use crate::error::WriteError;
use crate::events;
use crate::record::{Resource, User};
use crate::work::{Subject, Work, json};

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
