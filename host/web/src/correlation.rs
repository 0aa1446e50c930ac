//! One id per request: taken from the caller or made here, and found again in the answer, in the log,
//! and in the metadata of every event that the request caused.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

/// The header that carries the id, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// Longest id that is taken from a caller, in bytes. A longer one is replaced: it would end up in
/// every log line and every event.
pub const MAX_BYTES: usize = 128;

/// The id of one request. An extractor: handlers take it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// A new id, a UUID of version 7, so that ids sort by time.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// The id as text: printable ASCII without spaces, at most [`MAX_BYTES`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a caller's id if it is fit to stand in a log line and a header.
    fn from_header(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let fit = !text.is_empty()
            && text.len() <= MAX_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        fit.then(|| Self(text.into()))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CorrelationId {
    type Rejection = Infallible;

    /// The id that the middleware gave; a new one where the router does not wear it.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(Self::random))
    }
}

/// The middleware, for `axum::middleware::from_fn`. Everything inside runs in a span with the id.
pub async fn correlate(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(HEADER)
        .and_then(CorrelationId::from_header)
        .unwrap_or_else(CorrelationId::random);
    let span = tracing::info_span!(
        "request",
        correlation_id = %id,
        method = %request.method(),
        path = path_for_the_log(&request),
    );
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The route with its placeholders: what stands in their places may be a secret, as in the address of
/// a calendar.
fn path_for_the_log(request: &Request) -> &str {
    let route = request.extensions().get::<MatchedPath>();
    route.map_or_else(|| request.uri().path(), MatchedPath::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_log_shows_a_route_and_not_what_stands_in_its_placeholders() {
        async fn answer_the_path(request: Request, _next: Next) -> Response {
            Response::new(Body::from(path_for_the_log(&request).to_owned()))
        }
        let router = Router::new()
            .route("/calendars/{id}", get(|| async {}))
            .fallback(|| async {})
            .layer(middleware::from_fn(answer_the_path));
        for (path, shown) in [
            ("/calendars/0123abcd.ics", "/calendars/{id}"),
            ("/nothing", "/nothing"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            let text = to_bytes(answer.into_body(), 1 << 10).await.unwrap();
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn only_short_printable_ids_are_taken_from_a_caller() {
        let take =
            |text: &[u8]| CorrelationId::from_header(&HeaderValue::from_bytes(text).unwrap());
        assert_eq!(take(b"req-456").unwrap().as_str(), "req-456");
        assert!(take(&[b'a'; MAX_BYTES]).is_some());
        assert!(take(&[b'a'; MAX_BYTES + 1]).is_none());
        for odd in [&b""[..], b"two words", b"tab\there", "größe".as_bytes()] {
            assert!(take(odd).is_none(), "{odd:?}");
        }
    }
}
