//! A request of a guest, checked.

use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Method, StatusCode, Url};

use super::access::Access;
use crate::bindings::carillon::plugin::http::{Error, Header, Request};

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;
/// The header fields of one request.
const MAX_HEADERS: usize = 64;
/// The header fields of one request, names and values, in bytes.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// How a secret is named in the value of a header.
const SECRET: &str = "{{secret:";
const SECRET_END: &str = "}}";

/// What the connection is made of is the host's to say (RFC 9110, 7.6.1).
const HOSTS_OWN: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One hop of a request.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The headers that only the first host may see.
    confidential: Vec<HeaderName>,
}

impl Outgoing {
    /// Checks everything but what a name resolves to, and puts in the secrets.
    pub(super) fn new(request: Request, access: &Access) -> Result<Self, Error> {
        let method = method(&request.method)?;
        let url = url(&request.url)?;
        access.check(&url)?;
        if request.body.len() > access.grant.max_request_bytes {
            return Err(failed(format!(
                "the body has {} bytes, and at most {} are sent",
                request.body.len(),
                access.grant.max_request_bytes
            )));
        }
        let (headers, confidential) = headers(&request.headers, access)?;
        Ok(Self {
            method,
            url,
            headers,
            body: request.body,
            confidential,
        })
    }

    /// The next hop, as browsers take it (Fetch, 4.4; RFC 9110, 15.4), whether or not it is
    /// granted.
    pub(super) fn redirected(mut self, status: StatusCode, location: &[u8]) -> Result<Self, Error> {
        let location = std::str::from_utf8(location)
            .ok()
            .filter(|location| location.len() <= MAX_URL_BYTES)
            .and_then(|location| self.url.join(location).ok())
            .ok_or_else(|| failed("a redirect leads to no URL".to_owned()))?;
        let next = url(location.as_str())?;
        let becomes_get = match status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Vec::new();
            self.headers.remove(CONTENT_TYPE);
            self.headers.remove(CONTENT_LENGTH);
        }
        if next.origin() != self.url.origin() {
            for name in self.confidential.drain(..) {
                self.headers.remove(name);
            }
        }
        self.url = next;
        Ok(self)
    }
}

pub(super) fn failed(reason: String) -> Error {
    Error::Failed(reason)
}

fn method(text: &str) -> Result<Method, Error> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => {
            Err(failed(format!("{text:?} is not a method that is sent")))
        }
        Ok(method) => Ok(method),
    }
}

fn url(text: &str) -> Result<Url, Error> {
    if text.len() > MAX_URL_BYTES {
        return Err(failed(format!(
            "the URL has {} bytes, and at most {MAX_URL_BYTES} are taken",
            text.len()
        )));
    }
    if text.contains(SECRET) {
        return Err(failed(
            "a secret stands in the URL; it may stand in the value of a header".to_owned(),
        ));
    }
    let url =
        Url::parse(text).map_err(|error| failed(format!("the URL cannot be read: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(failed(format!(
            "the URL has the scheme {:?}; it may be https or http",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(failed(
            "the URL has a user or a password; they go into the header `authorization`".to_owned(),
        ));
    }
    Ok(url)
}

fn headers(given: &[Header], access: &Access) -> Result<(HeaderMap, Vec<HeaderName>), Error> {
    if given.len() > MAX_HEADERS {
        return Err(failed(format!(
            "the request has {} headers, and at most {MAX_HEADERS} are sent",
            given.len()
        )));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    let mut confidential = Vec::new();
    let mut bytes = 0;
    for Header { name, value } in given {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| failed(format!("{name:?} is not the name of a header")))?;
        if HOSTS_OWN.contains(&header.as_str()) {
            return Err(failed(format!(
                "the header `{header}` is set by the host; leave it out"
            )));
        }
        let (value, has_secret) = filled(value, access)?;
        bytes += header.as_str().len() + value.len();
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| failed(format!("the value of the header `{header}` cannot be sent")))?;
        value.set_sensitive(has_secret);
        if has_secret || header == AUTHORIZATION || header == COOKIE {
            confidential.push(header.clone());
        }
        headers.append(header, value);
    }
    if bytes > MAX_HEADER_BYTES {
        return Err(failed(format!(
            "the headers have {bytes} bytes, and at most {MAX_HEADER_BYTES} are sent"
        )));
    }
    Ok((headers, confidential))
}

/// A value with its secrets put in, and whether there were any.
fn filled(value: &str, access: &Access) -> Result<(String, bool), Error> {
    let mut parts = value.split(SECRET);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    let mut has_secret = false;
    for part in parts {
        let Some((name, rest)) = part.split_once(SECRET_END) else {
            return Err(failed(format!(
                "a secret in a header has no end: write {SECRET}NAME{SECRET_END}"
            )));
        };
        let Some(secret) = access.secrets.get(name) else {
            return Err(failed(format!(
                "the secret {name:?} is not among those in `secrets`"
            )));
        };
        has_secret = true;
        filled.push_str(secret);
        filled.push_str(rest);
    }
    Ok((filled, has_secret))
}
