//! Resources, as master data. What is booked already stays as it is.

use carillon_events::Topic;
use sqlx::SqliteConnection;

use crate::changes::master::{Kind, MasterRecord};
use crate::columns::json;
use crate::error::WriteError;
use crate::queries::{self, Owner};
use crate::record::Resource;
use crate::rules::Rules;
use crate::work::{Subject, Work};

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceEdit {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) capacity: Option<i64>,
    pub(crate) requires_approval: Option<bool>,
    pub(crate) place: Option<String>,
    pub(crate) time_zone: Option<String>,
    /// All of them anew.
    pub(crate) rules: Option<Rules>,
}

impl MasterRecord for Resource {
    type Edit = ResourceEdit;

    const KIND: Kind = Kind {
        table: "resources",
        subject: Subject::Resource,
        topic: Topic::ResourceEvents,
        created: "resource.created",
        updated: "resource.updated",
        deleted: "resource.deleted",
    };

    fn owner(&self) -> Owner<'_> {
        Owner::Resource(&self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn at_version(self, version: i64) -> Self {
        Self { version, ..self }
    }

    fn edited(&self, edit: &ResourceEdit) -> Self {
        let edit = edit.clone();
        let before = self.clone();
        Self {
            name: edit.name.unwrap_or(before.name),
            kind: edit.kind.unwrap_or(before.kind),
            capacity: edit.capacity.unwrap_or(before.capacity),
            requires_approval: edit.requires_approval.unwrap_or(before.requires_approval),
            place: edit.place.unwrap_or(before.place),
            time_zone: edit.time_zone.unwrap_or(before.time_zone),
            rules: edit.rules.unwrap_or(before.rules),
            ..before
        }
    }

    fn allows_otherwise_than(&self, before: &Self) -> bool {
        (&self.rules, self.capacity, &self.time_zone)
            != (&before.rules, before.capacity, &before.time_zone)
    }

    fn removal(&self) -> String {
        format!("{} was removed", self.name)
    }

    async fn find(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        queries::resource(connection, id).await
    }

    async fn put(&self, work: &mut Work<'_>) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO resources (id, name, kind, capacity, requires_approval, place, time_zone,
                                    rules, version, updated_ms, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
             ON CONFLICT (id) DO UPDATE
             SET name = ?2, kind = ?3, capacity = ?4, requires_approval = ?5, place = ?6,
                 time_zone = ?7, rules = ?8, version = ?9, updated_ms = ?10",
        )
        .bind(&self.id)
        .bind(&self.name)
        .bind(&self.kind)
        .bind(self.capacity)
        .bind(self.requires_approval)
        .bind(&self.place)
        .bind(&self.time_zone)
        .bind(json(&self.rules)?)
        .bind(self.version)
        .bind(work.now_ms)
        .execute(&mut *work.connection)
        .await?;
        Ok(())
    }
}
