//! Who is calling, and what they may do.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use carillon_web::{Claims, CorrelationId, Problem, authenticate};

use super::app::{App, AppParts};
use crate::actor::{ANYBODY, Actor, Role};
use crate::command::Command;
use crate::error::WriteError;
use crate::proxy::{TrustedProxy, asked_by};

/// The caller of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `None` where tokens are not required and no valid one came.
    user: Option<String>,
    role: Role,
    origin: Option<IpAddr>,
}

impl Caller {
    /// Where tokens are not required: whoever it is may do everything. A token says who it is.
    fn anybody(claims: Option<Claims>, origin: Option<IpAddr>) -> Self {
        Self {
            user: claims.map(|claims| claims.user),
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
            id: self.user.clone().unwrap_or_else(|| ANYBODY.to_owned()),
            role: self.role,
            origin: self.origin,
            correlation_id: correlation.to_string(),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, App(app): &App) -> Result<Self, Problem> {
        let proxies = &app.booking.parts().config.trusted_proxies;
        let origin = origin(proxies, &parts.extensions, &parts.headers);
        let verified = parts.extensions.remove::<Verified>();
        if app.booking.parts().config.require_token {
            let claims = match (verified, &app.tokens) {
                (Some(Verified(claims)), _) => claims,
                (None, Some(verifier)) => authenticate(&parts.headers, verifier)?,
                (None, None) => return Err(Problem::internal("nothing checks tokens")),
            };
            return Ok(Caller::bearer(claims, origin));
        }
        let claims = verified.map(|Verified(claims)| claims).or_else(|| {
            let verifier = app.tokens.as_ref()?;
            authenticate(&parts.headers, verifier).ok()
        });
        Ok(Caller::anybody(claims, origin))
    }
}

/// The claims of a token that a layer has checked already: signatures cost time.
#[derive(Debug, Clone)]
pub(super) struct Verified(pub(super) Claims);

/// The address that a request came from: the peer's, or where that is a proxy that is trusted, the one
/// that it was asked by.
pub(super) fn origin(
    proxies: &[TrustedProxy],
    extensions: &Extensions,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(asked_by(proxies, peer.ip(), headers))
}

impl AppParts {
    /// Carries out a command for a caller; answers once it is on disk.
    pub(super) async fn carry_out<C: Command>(
        &self,
        caller: &Caller,
        correlation: &CorrelationId,
        command: C,
    ) -> Result<C::Done, WriteError> {
        let by = caller.actor(correlation);
        self.booking.carry_out(by, command).await
    }
}

#[cfg(test)]
impl Caller {
    pub(super) fn for_tests() -> Self {
        Self::anybody(None, None)
    }
}
