//! `Idempotency-Key`: what a caller calls a request that may have to be sent again.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use carillon_web::Problem;
use serde::Serialize;

use super::caller::Caller;
use crate::idempotency::{Once, RequestKey};

/// The longest key, in bytes.
const MAX_BYTES: usize = 255;

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
        let key = value.to_str().unwrap_or_default().trim();
        // It may stand in quotes, as structured fields have it, or without.
        let key = key
            .strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key);
        if key.is_empty() || key.len() > MAX_BYTES {
            return Err(Problem::bad_request(format!(
                "Idempotency-Key must have 1 to {MAX_BYTES} printable ASCII characters; a UUID is a good one."
            ))
            .with_code("invalid-idempotency-key"));
        }
        Ok(Self(Some(key.to_owned())))
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
