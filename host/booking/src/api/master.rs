//! What the handlers of `/resources` and `/users` do alike.

use axum::response::Response;
use carillon_web::{CorrelationId, Problem};

use super::app::AppParts;
use super::caller::Caller;
use super::etag::Versioned;
use super::location::created;
use super::refusals::Master;
use super::removal::{self, Removal, changed, removed};
use super::request_key::once;
use crate::changes::{Add, Added, Edit, MasterRecord, Named, Remove};
use crate::idempotency::{Idempotent, RequestKey};
use crate::record::{Resource, User};

/// A record that has an address of its own.
pub(super) trait Addressed: MasterRecord {
    const MASTER: Master;
}

impl Addressed for Resource {
    const MASTER: Master = Master::Resource;
}

impl Addressed for User {
    const MASTER: Master = Master::User;
}

/// Adds a record; answers it with its address.
pub(super) async fn add<R: Addressed>(
    app: &AppParts,
    caller: &Caller,
    correlation: &CorrelationId,
    key: Option<RequestKey>,
    record: R,
) -> Result<Response, Problem> {
    let what = what::<R>(record.id());
    let command = Idempotent {
        key,
        command: Add(record),
    };
    match once(app.carry_out(caller, correlation, command).await?)? {
        Added::New(record) => {
            let id = record.id().to_owned();
            Ok(created(&[R::KIND.table, &id], Versioned::from(record)))
        }
        Added::Exists => Err(Problem::conflict(format!(
            "{what} exists already. Change it with PATCH, or take another id."
        ))
        .with_code("id-taken")),
        Added::WasDeleted => Err(Problem::conflict(format!(
            "{what} was deleted, and bookings of the past still name it. Take another id."
        ))
        .with_code("id-was-deleted")),
    }
}

/// Changes a record; answers it as it is now.
pub(super) async fn edit<R: Addressed>(
    app: &AppParts,
    caller: &Caller,
    correlation: &CorrelationId,
    named: Named<R>,
    edit: R::Edit,
) -> Result<Versioned<R>, Problem> {
    let what = what::<R>(&named.id);
    let command = Edit { named, edit };
    let edited = app.carry_out(caller, correlation, command).await?;
    changed(&what, edited).map(Versioned::from)
}

/// Deletes a record; answers what went along with it.
pub(super) async fn remove<R: Addressed>(
    app: &AppParts,
    caller: &Caller,
    correlation: &CorrelationId,
    named: Named<R>,
    removal: &Removal,
) -> Result<Response, Problem> {
    let what = what::<R>(&named.id);
    let command = Remove {
        named,
        bookings: removal.bookings(),
    };
    removed(&what, app.carry_out(caller, correlation, command).await?)
}

/// A record that was looked for.
pub(super) fn found<R: Addressed>(found: Option<R>, id: &str) -> Result<Versioned<R>, Problem> {
    found
        .map(Versioned::from)
        .ok_or_else(|| R::MASTER.unknown(id))
}

fn what<R: Addressed>(id: &str) -> removal::Item {
    removal::Item {
        kind: R::MASTER,
        id: id.to_owned(),
    }
}

impl<R: MasterRecord> From<R> for Versioned<R> {
    fn from(body: R) -> Self {
        let version = body.version();
        Self { version, body }
    }
}
