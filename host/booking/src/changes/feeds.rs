//! Calendars that can be read by who knows their address.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::SqliteExecutor;

use crate::actor::Role;
use crate::command::Command;
use crate::error::WriteError;
use crate::queries::{self, Owner};
use crate::rfc3339;
use crate::work::{Subject, Work};

/// How many calendars one resource or user may have: one for each device, and some to spare.
pub(crate) const MAX_FEEDS: i64 = 20;

/// Whose bookings a calendar shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FeedKind {
    Resource,
    User,
}

impl FeedKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::User => "user",
        }
    }
}

/// A calendar, without the secret that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Feed {
    pub(crate) id: String,
    pub(crate) kind: FeedKind,
    pub(crate) subject_id: String,
    #[serde(rename = "createdAt", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) created_ms: i64,
}

impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for Feed {
    fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row;
        Ok(Self {
            id: row.try_get("id")?,
            kind: match row.try_get("kind")? {
                "resource" => FeedKind::Resource,
                _ => FeedKind::User,
            },
            subject_id: row.try_get("subject_id")?,
            created_ms: row.try_get("created_ms")?,
        })
    }
}

/// What stands in the address of a calendar: 128 random bits, in hexadecimal digits. It is shown
/// once, and never written to the disk.
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    fn random() -> Self {
        let bits: u128 = rand::rng().random();
        Self(format!("{bits:032x}"))
    }

    /// What the table keeps. The secret has too many bits to be found from it, so a plain digest
    /// will do.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// Asks for a calendar.
pub(crate) struct AddFeed {
    pub(crate) kind: FeedKind,
    pub(crate) subject_id: String,
}

/// What became of it.
pub(crate) enum FeedAdded {
    /// It can be read.
    Added(Feed, Secret),
    /// There is nothing of which it could be.
    NoSubject,
    /// There are too many already.
    TooMany,
}

impl Command for AddFeed {
    type Done = FeedAdded;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<FeedAdded, WriteError> {
        let subject = subject_name(&mut *work.connection, self.kind, &self.subject_id).await?;
        if subject.is_none() {
            return Ok(FeedAdded::NoSubject);
        }
        let existing = feeds(&mut *work.connection, self.kind, &self.subject_id).await?;
        if existing.len() >= usize::try_from(MAX_FEEDS).unwrap_or(0) {
            return Ok(FeedAdded::TooMany);
        }
        let feed = Feed {
            id: uuid::Uuid::now_v7().to_string(),
            kind: self.kind,
            subject_id: self.subject_id.clone(),
            created_ms: work.now_ms,
        };
        let secret = Secret::random();
        sqlx::query(
            "INSERT INTO feeds (secret_hash, id, kind, subject_id, created_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&secret.hash()[..])
        .bind(&feed.id)
        .bind(feed.kind.as_str())
        .bind(&feed.subject_id)
        .bind(feed.created_ms)
        .execute(&mut *work.connection)
        .await?;
        work.note("feed.added", Subject::Feed, &feed.id, None, Some(&feed))
            .await?;
        Ok(FeedAdded::Added(feed, secret))
    }
}

/// Asks to take a calendar away.
pub(crate) struct RevokeFeed {
    pub(crate) id: String,
}

/// What became of it.
pub(crate) enum Revoked {
    /// Its address opens nothing any more.
    Revoked,
    /// There is no such calendar, or it is somebody else's.
    NoFeed,
}

impl Command for RevokeFeed {
    type Done = Revoked;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Revoked, WriteError> {
        let feed: Option<Feed> = sqlx::query_as("SELECT * FROM feeds WHERE id = ?")
            .bind(&self.id)
            .fetch_optional(&mut *work.connection)
            .await?;
        let may_touch = |feed: &Feed| match feed.kind {
            FeedKind::Resource => work.by.role >= Role::Staff,
            FeedKind::User => work.by.may_act_for(&feed.subject_id),
        };
        let Some(feed) = feed.filter(may_touch) else {
            return Ok(Revoked::NoFeed);
        };
        work.revoke(&feed).await?;
        Ok(Revoked::Revoked)
    }
}

impl Work<'_> {
    /// Takes the calendars of a resource or a user away: it is removed.
    pub(super) async fn revoke_all(&mut self, owner: Owner<'_>) -> Result<(), WriteError> {
        let kind = match owner {
            Owner::Resource(_) => FeedKind::Resource,
            Owner::User(_) => FeedKind::User,
        };
        for feed in feeds(&mut *self.connection, kind, owner.id()).await? {
            self.revoke(&feed).await?;
        }
        Ok(())
    }

    async fn revoke(&mut self, feed: &Feed) -> Result<(), WriteError> {
        sqlx::query("DELETE FROM feeds WHERE id = ?")
            .bind(&feed.id)
            .execute(&mut *self.connection)
            .await?;
        self.note("feed.revoked", Subject::Feed, &feed.id, Some(feed), None)
            .await
    }
}

/// The calendars of a resource or a user, oldest first.
pub(crate) async fn feeds(
    database: impl SqliteExecutor<'_>,
    kind: FeedKind,
    subject_id: &str,
) -> Result<Vec<Feed>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM feeds WHERE kind = ? AND subject_id = ? ORDER BY created_ms, id LIMIT ?",
    )
    .bind(kind.as_str())
    .bind(subject_id)
    .bind(MAX_FEEDS)
    .fetch_all(database)
    .await
}

/// The calendar that a secret opens.
pub(crate) async fn feed_of(
    database: impl SqliteExecutor<'_>,
    secret: &Secret,
) -> Result<Option<Feed>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM feeds WHERE secret_hash = ?")
        .bind(&secret.hash()[..])
        .fetch_optional(database)
        .await
}

/// What people call the resource or the user, if there is such a one.
pub(crate) async fn subject_name(
    database: impl SqliteExecutor<'_>,
    kind: FeedKind,
    id: &str,
) -> Result<Option<String>, sqlx::Error> {
    Ok(match kind {
        FeedKind::Resource => queries::resource(database, id).await?.map(|one| one.name),
        FeedKind::User => queries::user(database, id)
            .await?
            .map(|one| one.display_name),
    })
}
