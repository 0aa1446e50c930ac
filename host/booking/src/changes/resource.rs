//! A new resource, and changes of one. What is booked already stays as it is.

use carillon_events::Topic;

use crate::changes::people::{Added, Changed, seen};
use crate::command::Command;
use crate::error::WriteError;
use crate::events;
use crate::interval::Interval;
use crate::queries;
use crate::record::Resource;
use crate::rules::Rules;
use crate::work::{Subject, Work, json};

/// Asks for a new resource. Its values have been checked.
pub(crate) struct CreateResource {
    pub(crate) resource: Resource,
}

impl Command for CreateResource {
    type Done = Added<Resource>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Self::Done, WriteError> {
        let before: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT deleted_ms FROM resources WHERE id = ?")
                .bind(&self.resource.id)
                .fetch_optional(&mut *work.connection)
                .await?;
        match before {
            Some((None,)) => return Ok(Added::Exists),
            Some((Some(_),)) => return Ok(Added::WasDeleted),
            None => {}
        }
        work.add_resource(&self.resource).await?;
        Ok(Added::New(self.resource.clone()))
    }
}

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

impl ResourceEdit {
    fn applied_to(&self, before: &Resource) -> Resource {
        let edit = self.clone();
        let before = before.clone();
        Resource {
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
}

/// Asks for a change of a resource.
pub(crate) struct EditResource {
    pub(crate) id: String,
    /// The versions that `If-Match` names; `None` where any will do.
    pub(crate) versions: Option<Vec<i64>>,
    pub(crate) edit: ResourceEdit,
}

impl Command for EditResource {
    type Done = Changed<Resource>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Self::Done, WriteError> {
        let found = queries::resource(&mut *work.connection, &self.id).await?;
        let before = match seen(found, self.versions.as_deref(), |found| found.version) {
            Changed::Now(before) => before,
            other => return Ok(other),
        };
        let resource = work.edit_resource(before, &self.edit).await?;
        Ok(Changed::Now(resource))
    }
}

impl Work<'_> {
    async fn edit_resource(
        &mut self,
        before: Resource,
        edit: &ResourceEdit,
    ) -> Result<Resource, WriteError> {
        let mut resource = edit.applied_to(&before);
        if resource == before {
            return Ok(before);
        }
        resource.version += 1;
        sqlx::query(
            "UPDATE resources SET name = ?, kind = ?, capacity = ?, requires_approval = ?,
                                  place = ?, time_zone = ?, rules = ?, version = ?, updated_ms = ?
             WHERE id = ?",
        )
        .bind(&resource.name)
        .bind(&resource.kind)
        .bind(resource.capacity)
        .bind(resource.requires_approval)
        .bind(&resource.place)
        .bind(&resource.time_zone)
        .bind(json(&resource.rules)?)
        .bind(resource.version)
        .bind(self.now_ms)
        .bind(&resource.id)
        .execute(&mut *self.connection)
        .await?;
        self.told_of_resource("resource.updated", Some(&before), &resource)
            .await?;
        // What was forbidden to somebody who waits may be allowed now.
        if resource.allows_otherwise_than(&before) {
            let ever = Interval::new(self.now_ms, i64::MAX);
            self.ask_waiting(&resource.id, vec![ever]).await?;
        }
        Ok(resource)
    }

    /// Tells of a change of a resource that is written, and notes it.
    pub(super) async fn told_of_resource(
        &mut self,
        kind: &str,
        before: Option<&Resource>,
        resource: &Resource,
    ) -> Result<(), WriteError> {
        self.note(
            kind,
            Subject::Resource,
            &resource.id,
            before,
            Some(resource),
        )
        .await?;
        let draft = events::of_resource(kind, resource, self.now_ms)?;
        self.tell(Topic::ResourceEvents, &resource.id, draft).await
    }
}
