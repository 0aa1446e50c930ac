//! Versions as entity tags (RFC 9110, sections 8.8.3 and 13.1.1): whoever changes something says which
//! version of it they have seen.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_web::Problem;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::form::Text as _;
use super::openapi::header;
use super::texts::SeenVersions;

/// Something as JSON, with its version as `ETag`.
pub(super) struct Versioned<T> {
    pub(super) version: i64,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, tag(self.version))], Json(self.body)).into_response()
    }
}

fn tag(version: i64) -> HeaderValue {
    // Digits and quotes are fit for a header.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The versions that `If-Match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// There is no such header.
    Missing,
    /// `*`
    Any,
    /// One of these; weak tags never match.
    OneOf(Vec<i64>),
}

impl IfMatch {
    /// What a change is held to; where the header must be there, 428 says so (RFC 6585).
    pub(super) fn required(self) -> Result<Option<Vec<i64>>, Problem> {
        match self {
            IfMatch::Missing => Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "Say which version you have seen, so that nobody's change is overwritten: send the ETag of \
                 your last GET as If-Match (or If-Match: * to change whatever is there).",
            )
            .with_code("if-match-required")),
            given => Ok(given.optional()),
        }
    }

    pub(super) fn optional(self) -> Option<Vec<i64>> {
        match self {
            IfMatch::Missing | IfMatch::Any => None,
            IfMatch::OneOf(versions) => Some(versions),
        }
    }
}

/// 412, for who has seen another version.
pub(super) fn other_version(version: i64) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "It was changed since you have seen it. Get it again, and send the change with its new ETag.",
    )
    .with_code("other-version")
    .with_header(header::ETAG, tag(version))
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let given = parts.headers.get_all(header::IF_MATCH).iter();
        // What is no ASCII is no tag.
        let given: Vec<&str> = given.map(|value| value.to_str().unwrap_or("")).collect();
        if given.is_empty() {
            return Ok(IfMatch::Missing);
        }
        // Several lines are one (RFC 9110, section 5.3).
        let given = given.join(", ");
        if let Some(fault) = SeenVersions::form().fault(&given) {
            return Err(
                Problem::bad_request(format!("If-Match: {fault}.")).with_code("invalid-if-match")
            );
        }
        if given == "*" {
            return Ok(IfMatch::Any);
        }
        // A tag that is none of ours is of no version that there ever was.
        let versions = given.split(',').filter_map(|tag| {
            let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
            digits.parse().ok()
        });
        Ok(IfMatch::OneOf(versions.collect()))
    }
}

/// The header in the document of what must be told a version.
pub(super) struct NeedsVersion;

impl IntoParams for NeedsVersion {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header::<SeenVersions>("If-Match", Required::True)]
    }
}

/// The header in the document of what may be told a version.
pub(super) struct TakesVersion;

impl IntoParams for TakesVersion {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header::<SeenVersions>("If-Match", Required::False)]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::Request;

    use super::*;

    async fn read(values: &[&str]) -> Result<IfMatch, Problem> {
        let mut request = Request::builder();
        for value in values {
            request = request.header(header::IF_MATCH, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        IfMatch::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn tags_are_read_as_versions_and_what_is_no_tag_is_refused() {
        assert_eq!(read(&[]).await.unwrap(), IfMatch::Missing);
        assert_eq!(read(&["*"]).await.unwrap(), IfMatch::Any);
        assert_eq!(
            read(&["\"3\", \"4\"", "\"7\""]).await.unwrap(),
            IfMatch::OneOf(vec![3, 4, 7])
        );
        // A weak tag and one of others are tags all the same.
        assert_eq!(
            read(&["W/\"3\", \"x\""]).await.unwrap(),
            IfMatch::OneOf(Vec::new())
        );
        for odd in [&["4"][..], &[""], &["\"3"], &["*", "\"3\""], &["ä"]] {
            let problem = read(odd).await.unwrap_err().to_json();
            assert_eq!(problem["status"], 400, "{odd:?}");
            assert!(problem["detail"].to_string().contains("If-Match"));
        }
    }
}
