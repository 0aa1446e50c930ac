//! The handlers of `/users`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use carillon_web::{CorrelationId, Cursor, JsonBody, Page, PathParams, Problem, QueryParams};
use serde::Deserialize;

use super::caller::Caller;
use super::etag::{IfMatch, Versioned};
use super::location::created;
use super::profile_body::{UserBody, UserPatch};
use super::removal::{self, Removal, added, changed};
use super::request_key::{IdempotencyKey, once};
use super::{App, PageSize};
use crate::actor::Role;
use crate::changes::{CreateUser, EditUser, RemoveUser};
use crate::idempotency::Idempotent;
use crate::queries;
use crate::record::User;

/// The query of `GET /users`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    #[serde(default)]
    limit: PageSize,
    cursor: Option<Cursor<String>>,
}

/// `GET /users?limit=&cursor=`, by id.
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<User>>, Problem> {
    caller.needs(Role::Admin, "The list of users")?;
    let after = listing
        .cursor
        .map_or_else(String::new, |Cursor(after)| after);
    let rows = queries::users(&app.booking.parts().readers, &after, listing.limit.rows())
        .await
        .map_err(Problem::internal)?;
    Ok(Json(Page::from_rows(rows, listing.limit.get(), |last| {
        last.id.clone()
    })))
}

/// `POST /users`
pub(super) async fn create(
    State(App(app)): State<App>,
    caller: Caller,
    correlation: CorrelationId,
    key: IdempotencyKey,
    JsonBody(body): JsonBody<UserBody>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Adding a user")?;
    let user = body.checked()?;
    let what = named(&user.id);
    let change = Idempotent {
        change: CreateUser {
            config: Arc::clone(&app.booking.parts().config),
            by: caller.actor(&correlation),
            user,
        },
        key: key.of(&caller, "/users", &body),
    };
    let user = added(
        &what,
        once(app.booking.parts().writer.write(change).await?)?,
    )?;
    let id = user.id.clone();
    Ok(created(&["users", &id], versioned(user)))
}

/// `GET /users/{id}`
pub(super) async fn show(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
) -> Result<Versioned<User>, Problem> {
    own_or_admin(&caller, &id)?;
    let user = queries::user(&app.booking.parts().readers, &id)
        .await
        .map_err(Problem::internal)?;
    user.map(versioned)
        .ok_or_else(|| removal::missing(&named(&id)))
}

/// `PATCH /users/{id}`
pub(super) async fn edit(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    JsonBody(patch): JsonBody<UserPatch>,
) -> Result<Versioned<User>, Problem> {
    own_or_admin(&caller, &id)?;
    let what = named(&id);
    let change = EditUser {
        config: Arc::clone(&app.booking.parts().config),
        by: caller.actor(&correlation),
        versions: if_match.required()?,
        edit: patch.checked()?,
        id,
    };
    let edited = app.booking.parts().writer.write(change).await?;
    changed(&what, edited).map(versioned)
}

/// `DELETE /users/{id}?bookings=`
pub(super) async fn remove(
    State(App(app)): State<App>,
    caller: Caller,
    PathParams(id): PathParams<String>,
    correlation: CorrelationId,
    if_match: IfMatch,
    QueryParams(removal): QueryParams<Removal>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "Deleting a user")?;
    let what = named(&id);
    let change = RemoveUser {
        config: Arc::clone(&app.booking.parts().config),
        by: caller.actor(&correlation),
        versions: if_match.required()?,
        bookings: removal.bookings(),
        id,
    };
    removal::removed(&what, app.booking.parts().writer.write(change).await?)
}

/// Asked before anybody looks, so that the answer says nothing about who exists.
fn own_or_admin(caller: &Caller, id: &str) -> Result<(), Problem> {
    match caller.user() == Some(id) {
        true => Ok(()),
        false => caller.needs(Role::Admin, "Somebody else's profile"),
    }
}

fn versioned(user: User) -> Versioned<User> {
    Versioned {
        version: user.version,
        body: user,
    }
}

fn named(id: &str) -> String {
    format!("User {id:?}")
}
