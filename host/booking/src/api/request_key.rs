//! `Idempotency-Key`: what a caller calls a request that may have to be sent again.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use carillon_web::Problem;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::caller::Caller;
use super::form::Text as _;
use super::openapi::header;
use super::texts::RequestName;
use crate::idempotency::{Once, RequestKey};

/// The key of a request, if it has one.
#[derive(Debug, Clone)]
pub(super) struct IdempotencyKey(Option<String>);

impl IdempotencyKey {
    /// The key for who asks, what for, and what they send.
    pub(super) fn of(
        self,
        caller: &Caller,
        path: &str,
        body: &impl Serialize,
    ) -> Option<RequestKey> {
        let key = self.0?;
        let scope = format!("{} {path}", caller.user().unwrap_or_default());
        // What was read from JSON can be written as JSON.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Some(RequestKey::new(scope, key, &body))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        // What is no ASCII is no key.
        let key = value.to_str().unwrap_or_default();
        if let Some(fault) = RequestName::form().fault(key) {
            return Err(Problem::bad_request(format!("Idempotency-Key: {fault}."))
                .with_code("invalid-idempotency-key"));
        }
        // It may stand in quotes, as structured fields have it, or without.
        let key = key
            .strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key);
        Ok(Self(Some(key.to_owned())))
    }
}

/// The header in the document of what may be sent again.
pub(super) struct TakesKey;

impl IntoParams for TakesKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header::<RequestName>("Idempotency-Key", Required::False)]
    }
}

/// What came of the request, now or before.
pub(super) fn once<T>(once: Once<T>) -> Result<T, Problem> {
    match once {
        Once::Now(done) | Once::Before(done) => Ok(done),
        Once::OtherBody => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "This Idempotency-Key came before with another body. Take a new key for a new request.",
        )
        .with_code("idempotency-key-reused")),
    }
}
