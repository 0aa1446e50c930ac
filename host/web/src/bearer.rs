//! Who is calling: the bearer token of a request (RFC 6750, section 2.1).

use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::problem::Problem;
use crate::tokens::{Claims, TokenVerifier};

/// The claims of the caller's token. As an argument of a handler it demands a token; as
/// `Option<Bearer>` it takes a request without one, and still refuses one whose token is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer(pub Claims);

/// Checks the request's `Authorization` header.
///
/// # Errors
/// A 401 problem with the challenge, when there is no bearer token or [`TokenVerifier`] refuses it.
pub fn authenticate(headers: &HeaderMap, verifier: &TokenVerifier) -> Result<Claims, Problem> {
    match bearer_token(headers)? {
        Some(token) => verify(token, verifier),
        None => Err(Problem::unauthorized(
            None,
            "This address needs a token: send it as `Authorization: Bearer <token>`.",
        )),
    }
}

fn verify(token: &str, verifier: &TokenVerifier) -> Result<Claims, Problem> {
    verifier.verify(token).map_err(|error| {
        Problem::unauthorized(
            Some("invalid_token"),
            format!("The token was refused: {error}."),
        )
        .with_code(error.code())
    })
}

/// The bearer token of a request, for those who check it by other means than [`TokenVerifier`].
///
/// # Errors
/// A 401 problem with the challenge, when the header is there and is not one bearer token.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim_matches(' '))
    });
    match token {
        Some(token) if !token.is_empty() && values.next().is_none() => Ok(Some(token)),
        _ => Err(Problem::unauthorized(
            Some("invalid_request"),
            "The Authorization header is not one bearer token: send `Authorization: Bearer <token>`.",
        )),
    }
}

impl<S> FromRequestParts<S> for Bearer
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        authenticate(&parts.headers, &TokenVerifier::from_ref(state)).map(Self)
    }
}

impl<S> OptionalFromRequestParts<S> for Bearer
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        match bearer_token(&parts.headers)? {
            Some(token) => {
                verify(token, &TokenVerifier::from_ref(state)).map(|claims| Some(Self(claims)))
            }
            None => Ok(None),
        }
    }
}
