//! Who operates: checked once for everything below `/admin`.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use carillon_pipeline::Operator;
use carillon_web::{Problem, bearer_token};

use super::tokens::AdminTokens;
use crate::gateway::AppState;

/// Lets a request through whose admin token somebody owns.
pub(crate) async fn authenticate(
    State(AppState(shared)): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    // The address of the connection itself: a header that names another one is only a claim.
    let from = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_string());
    match operator(request.headers(), &shared.admin) {
        Ok(who) => {
            request.extensions_mut().insert(Operator { who, from });
            let mut response = next.run(request).await;
            // What is true of plugins and letters is true for a moment only.
            response
                .headers_mut()
                .entry(header::CACHE_CONTROL)
                .or_insert(HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => {
            // Never the token: a secret with one wrong letter is nearly the secret.
            tracing::warn!(
                from = from.as_deref().unwrap_or("unknown"),
                reason = problem.detail(),
                "a request to /admin was refused"
            );
            problem.into_response()
        }
    }
}

fn operator(headers: &HeaderMap, tokens: &AdminTokens) -> Result<String, Problem> {
    let Some(token) = bearer_token(headers)? else {
        return Err(Problem::unauthorized(
            None,
            "This address needs an admin token: send it as `Authorization: Bearer <token>`. It stands in `admin-token` in the data folder, unless the configuration has [admin] tokens.",
        ));
    };
    match tokens.operator(token) {
        Some(who) => Ok(who.to_string()),
        None => Err(Problem::unauthorized(
            Some("invalid_token"),
            "The token is no admin token of this host. Those stand in `admin-token` in the data folder, or in [admin] tokens; the tokens of end users do not operate.",
        )
        .with_code("not-an-operator")),
    }
}

/// Who asks. Only for handlers behind [`authenticate`].
pub(crate) struct By(pub(crate) Operator);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Operator>() {
            Some(operator) => Ok(Self(operator.clone())),
            None => Err(Problem::internal(
                "a route of /admin was reached without a token",
            )),
        }
    }
}
