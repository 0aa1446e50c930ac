//! Master data: the resources and users that bookings name. They are added, changed and told of alike;
//! how they end is in `remove.rs`.

use std::marker::PhantomData;

use carillon_events::Topic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::command::Command;
use crate::error::WriteError;
use crate::events;
use crate::interval::Interval;
use crate::queries::Owner;
use crate::work::{Subject, Work};

/// A resource or a user.
pub(crate) trait MasterRecord:
    Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What can be different about it.
    type Edit: Send + Sync + 'static;

    const KIND: Kind;

    /// What its bookings are found by.
    fn owner(&self) -> Owner<'_>;

    fn id(&self) -> &str {
        self.owner().id()
    }

    /// Counts the changes, from 1.
    fn version(&self) -> i64;

    /// The same at another version.
    fn at_version(self, version: i64) -> Self;

    /// As it is to be. What the edit says nothing of stays.
    fn edited(&self, edit: &Self::Edit) -> Self;

    /// Whether what was forbidden to somebody who waits may be allowed since `before`.
    fn allows_otherwise_than(&self, _before: &Self) -> bool {
        false
    }

    /// Why its bookings are cancelled when it is removed.
    fn removal(&self) -> String;

    /// Erases what is not to be kept of it once it is removed, tells of the removal and notes it. It is
    /// at the version after `before`.
    fn end(
        &self,
        before: &Self,
        work: &mut Work<'_>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send {
        work.told_of_master(Self::KIND.deleted, Some(before), self)
    }

    /// The one with this id, unless it was removed.
    fn find(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> impl Future<Output = Result<Option<Self>, sqlx::Error>> + Send;

    /// Writes it: a new row, or what is different in the row that is there.
    fn put(&self, work: &mut Work<'_>) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// What all records of a kind have in common.
pub(crate) struct Kind {
    /// The table; the API calls the collection by the same name.
    pub(crate) table: &'static str,
    pub(super) subject: Subject,
    pub(super) topic: Topic,
    pub(super) created: &'static str,
    pub(super) updated: &'static str,
    pub(super) deleted: &'static str,
}

/// Asks for a new one. Its values have been checked.
pub(crate) struct Add<R>(pub(crate) R);

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

impl<R: MasterRecord> Command for Add<R> {
    type Done = Added<R>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Added<R>, WriteError> {
        let Self(record) = self;
        match work.is_deleted::<R>(record.id()).await? {
            Some(false) => Ok(Added::Exists),
            Some(true) => Ok(Added::WasDeleted),
            None => {
                work.add_master(record).await?;
                Ok(Added::New(record.clone()))
            }
        }
    }
}

/// One that is there, at a version that whoever names it has seen.
pub(crate) struct Named<R> {
    pub(crate) id: String,
    /// The versions that `If-Match` names; `None` where any will do.
    versions: Option<Vec<i64>>,
    record: PhantomData<fn() -> R>,
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

impl<R: MasterRecord> Named<R> {
    pub(crate) fn new(id: String, versions: Option<Vec<i64>>) -> Self {
        Self {
            id,
            versions,
            record: PhantomData,
        }
    }

    /// As it is before the change.
    pub(super) async fn find(&self, work: &mut Work<'_>) -> Result<Changed<R>, WriteError> {
        let Some(found) = R::find(&mut *work.connection, &self.id).await? else {
            return Ok(Changed::Missing);
        };
        let at = found.version();
        Ok(match &self.versions {
            Some(versions) if !versions.contains(&at) => Changed::OtherVersion(at),
            _ => Changed::Now(found),
        })
    }
}

/// Asks for a change of one.
pub(crate) struct Edit<R: MasterRecord> {
    pub(crate) named: Named<R>,
    pub(crate) edit: R::Edit,
}

impl<R: MasterRecord> Command for Edit<R> {
    type Done = Changed<R>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Changed<R>, WriteError> {
        let before = match self.named.find(work).await? {
            Changed::Now(before) => before,
            other => return Ok(other),
        };
        let edited = before.edited(&self.edit);
        if edited == before {
            return Ok(Changed::Now(before));
        }
        let record = edited.at_version(before.version() + 1);
        record.put(work).await?;
        work.told_of_master(R::KIND.updated, Some(&before), &record)
            .await?;
        if record.allows_otherwise_than(&before) {
            let ever = Interval::new(work.now_ms, i64::MAX);
            work.ask_waiting(record.id(), vec![ever]).await?;
        }
        Ok(Changed::Now(record))
    }
}

impl Work<'_> {
    pub(crate) async fn add_master<R: MasterRecord>(
        &mut self,
        record: &R,
    ) -> Result<(), WriteError> {
        record.put(self).await?;
        self.told_of_master(R::KIND.created, None, record).await
    }

    /// Whether the one with this id was deleted; none where there never was one.
    async fn is_deleted<R: MasterRecord>(&mut self, id: &str) -> Result<Option<bool>, WriteError> {
        let mut query = sqlx::QueryBuilder::new("SELECT deleted_ms IS NOT NULL FROM ");
        query.push(R::KIND.table).push(" WHERE id = ").push_bind(id);
        let is_deleted = query.build_query_scalar();
        Ok(is_deleted.fetch_optional(&mut *self.connection).await?)
    }

    /// Tells of a change that is written, and notes it.
    pub(super) async fn told_of_master<R: MasterRecord>(
        &mut self,
        kind: &str,
        before: Option<&R>,
        record: &R,
    ) -> Result<(), WriteError> {
        self.note(kind, R::KIND.subject, record.id(), before, Some(record))
            .await?;
        self.tell_of_master(kind, record, record).await
    }

    /// Tells of a change in the words of `data`.
    pub(super) async fn tell_of_master<R: MasterRecord>(
        &mut self,
        kind: &str,
        record: &R,
        data: &impl Serialize,
    ) -> Result<(), WriteError> {
        let draft = events::draft(kind, self.now_ms, data)?.subject(record.id());
        let draft = match record.owner() {
            Owner::Resource(id) => draft.resource(id),
            Owner::User(id) => draft.user(id),
        };
        self.tell(R::KIND.topic, record.id(), draft).await
    }
}
