//! Who is calling, and what they may do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use carillon_web::{Claims, Problem, authenticate};

use super::App;

/// The role whose bearers may touch every booking.
const AUTHORITY: &str = "admin";

/// The caller of a request.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Tokens are not required: whoever it is may do everything, and a token is not even looked at.
    Anybody,
    /// The bearer of a token.
    Bearer(Claims),
}

impl Caller {
    /// Who it is, where that is known.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Caller::Anybody => None,
            Caller::Bearer(claims) => Some(&claims.user),
        }
    }

    /// Whether it may touch every booking.
    pub(super) fn has_authority(&self) -> bool {
        match self {
            Caller::Anybody => true,
            Caller::Bearer(claims) => claims.has_role(AUTHORITY),
        }
    }

    /// The one user whose bookings it may touch; `None` where it may touch all.
    pub(super) fn only_user(&self) -> Option<&str> {
        self.user().filter(|_| !self.has_authority())
    }

    /// Whether it may touch bookings of this user.
    pub(super) fn may_act_for(&self, user_id: &str) -> bool {
        self.only_user().is_none_or(|own| own == user_id)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, App(app): &App) -> Result<Self, Problem> {
        match &app.required_tokens {
            None => Ok(Caller::Anybody),
            Some(verifier) => authenticate(&parts.headers, verifier).map(Caller::Bearer),
        }
    }
}
