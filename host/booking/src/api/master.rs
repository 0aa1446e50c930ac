//! What the handlers of `/resources` and `/users` do alike.

use axum::response::Response;
use carillon_web::{CorrelationId, Problem};

use super::AppParts;
use super::caller::Caller;
use super::etag::Versioned;
use super::location::created;
use super::removal::{Removal, changed, missing, removed};
use super::request_key::once;
use crate::changes::{Add, Added, Edit, MasterRecord, Named, Remove};
use crate::idempotency::{Idempotent, RequestKey};

/// Adds a record; answers it with its address.
pub(super) async fn add<R: MasterRecord>(
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
pub(super) async fn edit<R: MasterRecord>(
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
pub(super) async fn remove<R: MasterRecord>(
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
pub(super) fn found<R: MasterRecord>(found: Option<R>, id: &str) -> Result<Versioned<R>, Problem> {
    found.map(Versioned::from).ok_or_else(|| none::<R>(id))
}

/// 404: there is none with this id.
pub(super) fn none<R: MasterRecord>(id: &str) -> Problem {
    missing(&what::<R>(id))
}

fn what<R: MasterRecord>(id: &str) -> String {
    format!("{} {id:?}", R::KIND.noun)
}

impl<R: MasterRecord> From<R> for Versioned<R> {
    fn from(body: R) -> Self {
        let version = body.version();
        Self { version, body }
    }
}
