//! axum's extractors, with refusals that say which field, where, and what to do.

use axum::RequestExt;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::paging::CursorError;
use crate::problem::Problem;

/// A JSON body of type `T`. Every refusal is a [`Problem`]: 415 for another media type, 413 for a body
/// over the router's limit, 400 with `line` and `column` for what is not JSON, and 400 with `field` for
/// JSON that does not fit.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON: send it with `Content-Type: application/json`.",
            ));
        }
        let body: Bytes = request.extract().await.map_err(unreadable_body)?;
        from_json(&body).map(Self)
    }
}

/// As `Option<JsonBody<T>>`: `None` for a request without a body.
impl<S, T> OptionalFromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or("").trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    kind.eq_ignore_ascii_case("application")
        && (subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json"))
}

fn unreadable_body(rejection: BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::too_large("The body is larger than this address reads. Send a smaller one.")
        }
        other => Problem::bad_request(format!("The body could not be read to its end: {other}.")),
    }
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::bad_request(
            "The body is empty; a JSON object is expected.",
        ));
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let field = error.path().to_string();
        misfit(&field, error.inner())
    })?;
    parser.end().map_err(|error| misfit(".", &error))?;
    Ok(value)
}

/// One sentence about a body that cannot be taken, with the place as members of their own.
fn misfit(field: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    // serde_json ends its text with the place, which has members of its own here.
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(what, _)| what);
    if !error.is_data() {
        return Problem::bad_request(format!(
            "The body is not valid JSON: {what} at line {line} column {column}."
        ))
        .with_code("not-json")
        .with("line", line)
        .with("column", column);
    }
    if field == "." {
        return Problem::bad_request(format!("The body does not fit: {what}."))
            .with_code("invalid-body")
            .with("line", line)
            .with("column", column);
    }
    Problem::bad_request(format!("The body does not fit at `{field}`: {what}."))
        .with_code("invalid-body")
        .with("field", field)
        .with("line", line)
        .with("column", column)
}

/// The query string as `T`; a refusal is a 400 that names the parameter, or a 422 for a cursor that is none
/// of this list.
#[derive(Debug, Clone, Copy)]
pub struct QueryParams<T>(pub T);

impl<S, T> FromRequestParts<S> for QueryParams<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(unfit_query(&rejection.body_text())),
        }
    }
}

fn unfit_query(text: &str) -> Problem {
    let what = text.split_once(": ").map_or(text, |(_, what)| what);
    let detail = format!("The query string does not fit: {what}.");
    // Of an error, serde hands on nothing but the text.
    let problem = match what.ends_with(&CursorError::Unknown.to_string()) {
        true => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_code("unknown-cursor"),
        false => Problem::bad_request(detail).with_code("invalid-query"),
    };
    match what.split_once(": ") {
        Some((field, _)) if field.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            problem.with("field", field)
        }
        _ => problem,
    }
}

/// The variable parts of the path as `T`; a refusal is a 404, since such a path names nothing.
#[derive(Debug, Clone, Copy)]
pub struct PathParams<T>(pub T);

impl<S, T> FromRequestParts<S> for PathParams<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::not_found(format!(
                "There is nothing at {}: {}.",
                parts.uri.path(),
                rejection.body_text()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        title: String,
        rooms: Vec<Room>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Room {
        seats: u8,
    }

    fn refusal(body: &str) -> serde_json::Value {
        from_json::<Order>(body.as_bytes()).unwrap_err().to_json()
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_by_its_path() {
        let problem = refusal(r#"{"title": "a", "rooms": [{"seats": 1}, {"seats": "two"}]}"#);
        assert_eq!(problem["field"], "rooms[1].seats");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`rooms[1].seats`"), "{detail}");
        assert!(detail.contains("expected u8"), "{detail}");
    }

    #[test]
    fn a_missing_or_unknown_field_is_named() {
        assert!(
            refusal(r#"{"title": "a"}"#)["detail"]
                .to_string()
                .contains("`rooms`")
        );
        assert!(
            refusal(r#"{"tilte": "a"}"#)["detail"]
                .to_string()
                .contains("`tilte`")
        );
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let problem = refusal("{\n  \"title\" \"a\"}");
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&2.into(), &11.into())
        );
        assert_eq!(problem["type"], "urn:carillon:problem:not-json");
        assert!(refusal("").to_string().contains("empty"));
        assert!(
            refusal(r#"{"title": "a", "rooms": []} {}"#)
                .to_string()
                .contains("trailing")
        );
    }

    #[test]
    fn media_types_that_end_in_json_are_json() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        assert!(with("application/merge-patch+json"));
        assert!(!with("text/plain"));
        assert!(!with("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
