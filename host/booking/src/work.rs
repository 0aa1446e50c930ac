//! What a change works with.

use carillon_events::{Draft, Topic};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::actor::Actor;
use crate::columns::json;
use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::outbox::{self, Kept, Outgoing};

/// A change under way: its transaction and its time, who asks for it, and how the service is set up.
/// Everything that is done to the tables goes through one, so that nothing is written without
/// its event and without the audit record.
pub(crate) struct Work<'a> {
    pub(crate) connection: &'a mut SqliteConnection,
    pub(crate) now_ms: i64,
    pub(crate) config: &'a BookingConfig,
    pub(crate) by: &'a Actor,
}

/// What an entry of the audit record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    Booking,
    Resource,
    User,
    #[serde(rename = "waitlist")]
    WaitlistEntry,
    Series,
    Feed,
    Unavailability,
    Conflict,
}

impl Subject {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Booking => "booking",
            Self::Resource => "resource",
            Self::User => "user",
            Self::WaitlistEntry => "waitlist",
            Self::Series => "series",
            Self::Feed => "feed",
            Self::Unavailability => "unavailability",
            Self::Conflict => "conflict",
        }
    }
}

impl Work<'_> {
    /// Begins a part of the change that may be taken back by itself. One at a time.
    pub(crate) async fn begin_part(&mut self) -> Result<(), WriteError> {
        self.control("SAVEPOINT part").await
    }

    /// Takes back what was written since the part began, events and all, and ends it.
    pub(crate) async fn take_back_part(&mut self) -> Result<(), WriteError> {
        self.control("ROLLBACK TO part").await?;
        self.control("RELEASE part").await
    }

    /// Ends the part, which stands.
    pub(crate) async fn end_part(&mut self) -> Result<(), WriteError> {
        self.control("RELEASE part").await
    }

    async fn control(&mut self, statement: &'static str) -> Result<(), WriteError> {
        sqlx::query(statement)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Writes an event into the outbox; `key` keeps the events of one subject in their order.
    pub(crate) async fn tell(
        &mut self,
        topic: Topic,
        key: &str,
        draft: Draft,
    ) -> Result<(), WriteError> {
        let outgoing = Outgoing {
            topic: self.config.kafka.topics.name(topic),
            key: key.into(),
            correlation_id: &self.by.correlation_id,
            kept: Kept::ForTheWindow,
            draft,
        };
        outbox::append(self.connection, self.now_ms, vec![outgoing]).await
    }

    /// Notes what was done to a subject, by its states before and after.
    pub(crate) async fn note<T: Serialize>(
        &mut self,
        action: &str,
        subject: Subject,
        id: &str,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO audit (at_ms, actor, role, origin, correlation_id, action, subject_kind,
                                subject_id, before, after)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.now_ms)
        .bind(&self.by.id)
        .bind(self.by.role.as_str())
        .bind(self.by.origin.map(|origin| origin.to_string()))
        .bind(&self.by.correlation_id)
        .bind(action)
        .bind(subject.as_str())
        .bind(id)
        .bind(before.map(json).transpose()?)
        .bind(after.map(json).transpose()?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
