//! Changes of several occurrences of a series at once: what asks for them, and what they answer.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use carillon_web::{Page, Problem};
use serde::Deserialize;

use super::refusals::{edited_booking, stepped_booking, without_place};
use crate::changes::{ScopedCancelled, ScopedEdited};
use crate::record::BookingRecord;
use crate::series::Scope;

/// The query of changes that may be for several occurrences.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Scoped {
    /// Of a series: this occurrence, it and the following, or all that are to come.
    #[param(inline)]
    #[serde(default)]
    pub(super) scope: AskedScope,
}

/// Which occurrences of a series a change is for.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AskedScope {
    /// The one that is named.
    #[default]
    This,
    /// That, and those after it.
    Following,
    /// Every one that is still to come.
    All,
}

impl AskedScope {
    /// None where it is for the named one alone, which need not be of a series.
    pub(super) fn of_several(self) -> Option<Scope> {
        match self {
            Self::This => None,
            Self::Following => Some(Scope::Following),
            Self::All => Some(Scope::All),
        }
    }
}

/// Refuses a query where there is none: several occurrences are not arrived at together, and whoever asks
/// for that must not believe that they were.
pub(super) struct NoScope;

impl<S: Send + Sync> FromRequestParts<S> for NoScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Problem::bad_request(
                "This is for one booking and takes no query; only `cancel` and PATCH take a scope.",
            )
            .with_code("invalid-query")),
        }
    }
}

/// What `PATCH /bookings/{id}?scope=` answers.
pub(super) fn scoped_edited(id: &str, edited: ScopedEdited) -> Result<Response, Problem> {
    match edited {
        ScopedEdited::Bookings(bookings) => Ok(all(bookings)),
        ScopedEdited::NoPlace(no_place) => Err(without_place(no_place, "")),
        ScopedEdited::NoSeries => Err(no_series(id)),
        ScopedEdited::Refused(why) => edited_booking(id, why).map(|booking| all(vec![booking])),
    }
}

/// What `POST /bookings/{id}/cancel?scope=` answers.
pub(super) fn scoped_cancelled(id: &str, cancelled: ScopedCancelled) -> Result<Response, Problem> {
    match cancelled {
        ScopedCancelled::Bookings(bookings) => Ok(all(bookings)),
        ScopedCancelled::NoSeries => Err(no_series(id)),
        ScopedCancelled::Refused(why) => {
            stepped_booking(id, *why).map(|booking| all(vec![booking]))
        }
    }
}

/// A series is bounded, so its occurrences are one page.
fn all(bookings: Vec<BookingRecord>) -> Response {
    Json(Page {
        items: bookings,
        next: None,
    })
    .into_response()
}

fn no_series(id: &str) -> Problem {
    Problem::conflict(format!(
        "Booking {id} is of no series; leave `scope` out, or say `scope=this`."
    ))
    .with_code("no-series")
}
