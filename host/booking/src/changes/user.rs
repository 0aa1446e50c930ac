//! A new user, and changes of their profile.

use carillon_events::Topic;

use crate::changes::people::{Added, Changed, seen};
use crate::command::Command;
use crate::error::WriteError;
use crate::events;
use crate::queries;
use crate::record::User;
use crate::work::{Subject, Work};

/// Asks for a new user. The values have been checked.
pub(crate) struct CreateUser {
    pub(crate) user: User,
}

impl Command for CreateUser {
    type Done = Added<User>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Self::Done, WriteError> {
        let before: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT deleted_ms FROM users WHERE id = ?")
                .bind(&self.user.id)
                .fetch_optional(&mut *work.connection)
                .await?;
        match before {
            Some((None,)) => return Ok(Added::Exists),
            Some((Some(_),)) => return Ok(Added::WasDeleted),
            None => {}
        }
        work.add_user(&self.user).await?;
        Ok(Added::New(self.user.clone()))
    }
}

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserEdit {
    pub(crate) email: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) locale: Option<String>,
}

impl UserEdit {
    fn applied_to(&self, before: &User) -> User {
        let edit = self.clone();
        let before = before.clone();
        User {
            email: edit.email.unwrap_or(before.email),
            display_name: edit.display_name.unwrap_or(before.display_name),
            time_zone: edit.time_zone.unwrap_or(before.time_zone),
            locale: edit.locale.unwrap_or(before.locale),
            ..before
        }
    }
}

/// Asks for a change of a user.
pub(crate) struct EditUser {
    pub(crate) id: String,
    /// The versions that `If-Match` names; `None` where any will do.
    pub(crate) versions: Option<Vec<i64>>,
    pub(crate) edit: UserEdit,
}

impl Command for EditUser {
    type Done = Changed<User>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Self::Done, WriteError> {
        let found = queries::user(&mut *work.connection, &self.id).await?;
        let before = match seen(found, self.versions.as_deref(), |found| found.version) {
            Changed::Now(before) => before,
            other => return Ok(other),
        };
        Ok(Changed::Now(work.edit_user(before, &self.edit).await?))
    }
}

impl Work<'_> {
    async fn edit_user(&mut self, before: User, edit: &UserEdit) -> Result<User, WriteError> {
        let mut user = edit.applied_to(&before);
        if user == before {
            return Ok(before);
        }
        user.version += 1;
        sqlx::query(
            "UPDATE users SET display_name = ?, email = ?, time_zone = ?, locale = ?, version = ?,
                              updated_ms = ?
             WHERE id = ?",
        )
        .bind(&user.display_name)
        .bind(&user.email)
        .bind(&user.time_zone)
        .bind(&user.locale)
        .bind(user.version)
        .bind(self.now_ms)
        .bind(&user.id)
        .execute(&mut *self.connection)
        .await?;
        self.told_of_user("user.updated", Some(&before), &user)
            .await?;
        Ok(user)
    }

    /// Tells of a change of a user that is written, and notes it.
    pub(super) async fn told_of_user(
        &mut self,
        kind: &str,
        before: Option<&User>,
        user: &User,
    ) -> Result<(), WriteError> {
        self.note(kind, Subject::User, &user.id, before, Some(user))
            .await?;
        let draft = events::of_user(kind, user, self.now_ms)?;
        self.tell(Topic::UserEvents, &user.id, draft).await
    }
}
