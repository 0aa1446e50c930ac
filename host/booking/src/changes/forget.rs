//! What is left of a user who was deleted: an id, which bookings of the past name.

use carillon_events::Topic;
use serde::Serialize;

use crate::error::WriteError;
use crate::events;
use crate::record::User;
use crate::work::{Subject, Work};

/// A user of whom nothing but the id is known, as the event and the audit record have them.
#[derive(Serialize)]
struct Forgotten<'a> {
    id: &'a str,
    version: i64,
}

impl Work<'_> {
    /// Erases the profile of a user who is marked as deleted, tells of it and notes it; neither holds
    /// what was erased.
    pub(super) async fn forget_user(&mut self, user: &User) -> Result<(), WriteError> {
        sqlx::query(
            "UPDATE users SET display_name = '', email = '', time_zone = 'UTC', locale = 'en'
             WHERE id = ?",
        )
        .bind(&user.id)
        .execute(&mut *self.connection)
        .await?;
        let kind = "user.deleted";
        let [before, after] = [user.version, user.version + 1].map(|version| Forgotten {
            id: &user.id,
            version,
        });
        self.note(kind, Subject::User, &user.id, Some(&before), None)
            .await?;
        let draft = events::draft(kind, self.now_ms, after)?
            .user(&*user.id)
            .subject(&*user.id);
        self.tell(Topic::UserEvents, &user.id, draft).await
    }
}
