//! Users, as master data.

use carillon_events::Topic;
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::changes::master::{Kind, MasterRecord};
use crate::error::WriteError;
use crate::queries::{self, Owner};
use crate::record::User;
use crate::work::{Subject, Work};

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserEdit {
    pub(crate) email: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) locale: Option<String>,
}

/// A user of whom nothing but the id is known, as the event and the audit record have them.
#[derive(Serialize)]
struct Forgotten<'a> {
    id: &'a str,
    version: i64,
}

impl MasterRecord for User {
    type Edit = UserEdit;

    const KIND: Kind = Kind {
        table: "users",
        subject: Subject::User,
        topic: Topic::UserEvents,
        created: "user.created",
        updated: "user.updated",
        deleted: "user.deleted",
    };

    fn owner(&self) -> Owner<'_> {
        Owner::User(&self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn at_version(self, version: i64) -> Self {
        Self { version, ..self }
    }

    fn edited(&self, edit: &UserEdit) -> Self {
        let edit = edit.clone();
        let before = self.clone();
        Self {
            email: edit.email.unwrap_or(before.email),
            display_name: edit.display_name.unwrap_or(before.display_name),
            time_zone: edit.time_zone.unwrap_or(before.time_zone),
            locale: edit.locale.unwrap_or(before.locale),
            ..before
        }
    }

    fn removal(&self) -> String {
        "the user was removed".to_owned()
    }

    /// Erases the profile; neither the event nor the audit record holds what was erased. The id stays,
    /// which bookings of the past name.
    async fn end(&self, before: &Self, work: &mut Work<'_>) -> Result<(), WriteError> {
        sqlx::query(
            "UPDATE users SET display_name = '', email = '', time_zone = 'UTC', locale = 'en'
             WHERE id = ?",
        )
        .bind(&self.id)
        .execute(&mut *work.connection)
        .await?;
        let [before, after] = [before, self].map(|user| Forgotten {
            id: &user.id,
            version: user.version,
        });
        let kind = Self::KIND.deleted;
        work.note(kind, Subject::User, &self.id, Some(&before), None)
            .await?;
        work.tell_of_master(kind, self, &after).await
    }

    async fn find(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        queries::user(connection, id).await
    }

    async fn put(&self, work: &mut Work<'_>) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO users (id, display_name, email, time_zone, locale, version, updated_ms,
                                created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
             ON CONFLICT (id) DO UPDATE
             SET display_name = ?2, email = ?3, time_zone = ?4, locale = ?5, version = ?6,
                 updated_ms = ?7",
        )
        .bind(&self.id)
        .bind(&self.display_name)
        .bind(&self.email)
        .bind(&self.time_zone)
        .bind(&self.locale)
        .bind(self.version)
        .bind(work.now_ms)
        .execute(&mut *work.connection)
        .await?;
        Ok(())
    }
}
