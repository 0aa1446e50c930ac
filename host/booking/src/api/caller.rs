//! Who is calling, and what they may do.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::Extensions;
use axum::http::request::Parts;
use carillon_web::{Claims, CorrelationId, Problem, authenticate};

use super::App;
use crate::actor::{Actor, Role};

/// The caller of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `None` where tokens are not required: whoever it is may do everything, and a token is not
    /// even looked at.
    user: Option<String>,
    role: Role,
    origin: Option<IpAddr>,
}

impl Caller {
    fn anybody(origin: Option<IpAddr>) -> Self {
        Self {
            user: None,
            role: Role::Admin,
            origin,
        }
    }

    fn bearer(claims: Claims, origin: Option<IpAddr>) -> Self {
        let role = [Role::Admin, Role::Staff]
            .into_iter()
            .find(|role| claims.has_role(role.as_str()))
            .unwrap_or(Role::User);
        Self {
            user: Some(claims.user),
            role,
            origin,
        }
    }

    /// Who it is, where that is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The one user whose bookings it may touch; `None` where it may touch all.
    pub(super) fn only_user(&self) -> Option<&str> {
        self.user().filter(|_| self.role < Role::Staff)
    }

    /// Whether it may touch what belongs to this user.
    pub(super) fn may_act_for(&self, user_id: &str) -> bool {
        self.only_user().is_none_or(|own| own == user_id)
    }

    /// Refuses who has not this role or a higher one; `what` begins the sentence.
    pub(super) fn needs(&self, role: Role, what: &str) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "{what} needs a token with the role `{}`.",
            role.as_str()
        )))
    }

    /// As whom the tables know it.
    pub(super) fn actor(&self, correlation: &CorrelationId) -> Actor {
        Actor {
            id: self.user.clone().unwrap_or_else(|| "anybody".to_owned()),
            role: self.role,
            origin: self.origin,
            correlation_id: correlation.to_string(),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, App(app): &App) -> Result<Self, Problem> {
        let origin = origin(&parts.extensions);
        let Some(verifier) = &app.required_tokens else {
            return Ok(Caller::anybody(origin));
        };
        let claims = match parts.extensions.remove::<Verified>() {
            Some(Verified(claims)) => claims,
            None => authenticate(&parts.headers, verifier)?,
        };
        Ok(Caller::bearer(claims, origin))
    }
}

/// The claims of a token that a layer has checked already: signatures cost time.
#[derive(Debug, Clone)]
pub(super) struct Verified(pub(super) Claims);

/// The address that a request came from.
pub(super) fn origin(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
impl Caller {
    pub(super) fn for_tests() -> Self {
        Self::anybody(None)
    }
}
