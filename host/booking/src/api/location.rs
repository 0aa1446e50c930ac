//! The answer to what was made: 201 with its address.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// 201 with `Location`; the parts of the path stand in it as URLs have them.
pub(super) fn created(path: &[&str], body: impl IntoResponse) -> Response {
    let mut location = String::new();
    for part in path {
        location.push('/');
        push_escaped(&mut location, part);
    }
    let mut response = (StatusCode::CREATED, body).into_response();
    // What is escaped is ASCII.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Percent-encodes what is not unreserved (RFC 3986, section 2.3).
fn push_escaped(text: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_path_is_escaped() {
        let response = created(&["users", "auth0|ä b/c"], "");
        assert_eq!(
            response.headers()[header::LOCATION],
            "/users/auth0%7C%C3%A4%20b%2Fc"
        );
    }
}
