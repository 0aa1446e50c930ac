//! `DELETE` of what bookings hang on: the query, the answer, and what stands in the way.

use std::fmt;

use axum::Json;
use axum::response::{IntoResponse, Response};
use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::etag::other_version;
use super::refusals::Master;
use crate::changes::{Changed, Cleared, Removed, WithBookings};

/// The query of `DELETE /resources/{id}` and `DELETE /users/{id}`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// What becomes of bookings to come; where it is not said, there must be none.
    #[param(inline)]
    bookings: Option<CancelThem>,
}

/// `?bookings=cancel`
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum CancelThem {
    Cancel,
}

impl Removal {
    pub(super) fn bookings(&self) -> WithBookings {
        match self.bookings {
            Some(CancelThem::Cancel) => WithBookings::Cancel,
            None => WithBookings::Refuse,
        }
    }
}

/// What went along with it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WentAlong {
    cancelled_bookings: usize,
    removed_from_waitlists: usize,
}

/// What is made, changed and deleted; it begins a sentence, as `Resource "room-1"` does.
pub(super) struct Item {
    pub(super) kind: Master,
    pub(super) id: String,
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Master::Resource => "Resource",
            Master::User => "User",
        };
        write!(formatter, "{kind} {:?}", self.id)
    }
}

/// The answer.
pub(super) fn removed(what: &Item, removed: Removed) -> Result<Response, Problem> {
    match changed(what, removed)? {
        Cleared::Done { bookings, waiting } => Ok(Json(WentAlong {
            cancelled_bookings: bookings,
            removed_from_waitlists: waiting,
        })
        .into_response()),
        Cleared::Standing { bookings } => Err(in_use(
            "bookings-to-come",
            format!(
                "{what} has {bookings} bookings to come. Cancel them first, or delete it with ?bookings=cancel, which cancels them."
            ),
            bookings,
        )),
        Cleared::TooMany { bookings, waiting } => Err(in_use(
            "too-many-bookings",
            format!(
                "{what} has {bookings} bookings to come and {waiting} places in waitlists, more than are taken away at once. Cancel bookings with POST /bookings/{{id}}/cancel until 1000 of each are left, and delete it then."
            ),
            bookings,
        )),
        Cleared::Inside { bookings } => Err(in_use(
            "people-inside",
            format!(
                "{what} has {bookings} bookings whose people are checked in. Check them out with POST /bookings/{{id}}/check-out, and delete it then."
            ),
            i64::try_from(bookings).unwrap_or(i64::MAX),
        )),
    }
}

fn in_use(code: &'static str, detail: String, bookings: i64) -> Problem {
    Problem::conflict(detail)
        .with_code(code)
        .with_title("Still in use")
        .with("bookings", bookings)
}

/// What was changed, or why not.
pub(super) fn changed<T>(what: &Item, changed: Changed<T>) -> Result<T, Problem> {
    match changed {
        Changed::Now(changed) => Ok(changed),
        Changed::Missing => Err(what.kind.unknown(&what.id)),
        Changed::OtherVersion(version) => Err(other_version(version)),
    }
}
