//! RFC 9457 problem documents: one text for the client, another for the log.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of a problem document (RFC 9457, section 6.1).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The prefix of the `type` of Carillon's own problems. What has no code of its own is `about:blank`,
/// as RFC 9457 section 4.2.1 has it.
const TYPE_PREFIX: &str = "urn:carillon:problem:";

/// An error as a client sees it (RFC 9457): what went wrong, where, and what to do.
///
/// The detail is for the client. What only the operator may know goes into [`Problem::internal`]'s
/// argument, is logged when the answer is made, and never leaves the process.
pub struct Problem(Box<Content>);

struct Content {
    status: StatusCode,
    code: Option<&'static str>,
    title: Option<Cow<'static, str>>,
    detail: String,
    instance: Option<String>,
    extensions: Map<String, Value>,
    headers: HeaderMap,
    for_the_log: Option<String>,
}

impl Problem {
    /// A problem of any status. `detail` is a sentence for the person who reads the answer.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            status,
            code: None,
            title: None,
            detail: detail.into(),
            instance: None,
            extensions: Map::new(),
            headers: HeaderMap::new(),
            for_the_log: None,
        }))
    }

    /// 400: the request itself is wrong, and sending it again will not help.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401 with the `WWW-Authenticate` header that RFC 6750 asks for.
    ///
    /// `error` is RFC 6750's code (`invalid_token`), or `None` where the request had no token at all:
    /// section 3.1 says that such an answer should carry no error code.
    pub fn unauthorized(error: Option<&'static str>, detail: impl Into<String>) -> Self {
        let mut challenge = String::from("Bearer realm=\"carillon\"");
        if let Some(error) = error {
            challenge.push_str(&format!(", error=\"{error}\""));
        }
        let problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        match HeaderValue::try_from(challenge) {
            Ok(value) => problem.with_header(header::WWW_AUTHENTICATE, value),
            Err(_) => problem,
        }
    }

    /// 403: the caller is known and may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: the request is right, the state of the thing does not allow it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: the body is larger than what is read.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 503: not now. `retry_after_s` becomes the `Retry-After` header, in seconds.
    pub fn unavailable(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(retry_after_s))
    }

    /// 500: the service's own fault. `cause` is logged, with the request's correlation id from the
    /// surrounding span; the client is told only that it was not its fault.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The service failed while it worked on this request. The cause is in its log, under the \
             X-Correlation-Id of this answer; trying again later may help.",
        );
        problem.0.for_the_log = Some(cause.to_string());
        problem
    }

    /// Gives the problem a `type` of its own, `urn:carillon:problem:<code>`, for programs to branch on.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Replaces the title, which is the status's reason phrase unless set. It must not vary from
    /// occurrence to occurrence (RFC 9457, section 3.1.3).
    #[must_use]
    pub fn with_title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.0.title = Some(title.into());
        self
    }

    /// Sets `instance`, a URI reference of this very occurrence.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.0.instance = Some(instance.into());
        self
    }

    /// Adds an extension member. The names that RFC 9457 defines keep their meaning and are not
    /// replaced; a value that JSON cannot hold is left out and logged.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.0.extensions.insert(member.to_owned(), value);
            }
            Err(error) => {
                tracing::error!(member, %error, "a member of a problem document could not be written");
            }
        }
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence that the client reads.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document as JSON, for answers that are not HTTP responses (a WebSocket close, a tool).
    pub fn to_json(&self) -> Value {
        let content = &self.0;
        let mut document = content.extensions.clone();
        let kind = match content.code {
            Some(code) => format!("{TYPE_PREFIX}{code}"),
            None => "about:blank".to_owned(),
        };
        let title = match &content.title {
            Some(title) => title.as_ref(),
            None => content.status.canonical_reason().unwrap_or("Error"),
        };
        document.insert("type".into(), kind.into());
        document.insert("title".into(), title.into());
        document.insert("status".into(), content.status.as_u16().into());
        document.insert("detail".into(), content.detail.as_str().into());
        if let Some(instance) = &content.instance {
            document.insert("instance".into(), instance.as_str().into());
        }
        Value::Object(document)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.0.for_the_log {
            tracing::error!(status = self.0.status.as_u16(), %cause, "request failed");
        }
        let mut response = Response::new(Body::from(self.to_json().to_string()));
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // An error is about one moment; a cache that kept it would repeat it after its end.
        response
            .headers_mut()
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.for_the_log {
            Some(cause) => write!(f, "{}: {cause}", self.0.status),
            None => write!(f, "{}: {}", self.0.status, self.0.detail),
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({self})")
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_its_own() {
        let problem = Problem::conflict("room-1 is taken.")
            .with_code("overlap")
            .with_title("Already booked")
            .with_instance("/bookings/1")
            .with("resourceId", "room-1");
        assert_eq!(
            problem.to_json(),
            serde_json::json!({
                "type": "urn:carillon:problem:overlap", "title": "Already booked", "status": 409,
                "detail": "room-1 is taken.", "instance": "/bookings/1", "resourceId": "room-1",
            })
        );
    }

    #[test]
    fn an_extension_member_never_replaces_a_member_of_the_standard() {
        let problem = Problem::not_found("No such booking.").with("status", 200);
        assert_eq!(problem.to_json()["status"], 404);
        assert_eq!(problem.to_json()["type"], "about:blank");
    }

    #[test]
    fn an_internal_problem_keeps_its_cause_to_itself() {
        let problem = Problem::internal("disk /dev/sda1 is full");
        assert!(!problem.to_json().to_string().contains("sda1"));
        assert!(problem.to_string().contains("sda1"));
    }

    #[test]
    fn unauthorized_challenges_as_rfc_6750_says() {
        let with_token = Problem::unauthorized(Some("invalid_token"), "Expired.").into_response();
        assert_eq!(
            with_token.headers()[header::WWW_AUTHENTICATE],
            "Bearer realm=\"carillon\", error=\"invalid_token\""
        );
        let without = Problem::unauthorized(None, "No token.").into_response();
        assert_eq!(
            without.headers()[header::WWW_AUTHENTICATE],
            "Bearer realm=\"carillon\""
        );
    }
}
