//! Requests to hosts that the operator granted, in `[plugins.NAME.http]`.
//!
//! A plugin that calls [`Request::send`] asks for this capability by its imports; it is loaded
//! once at least one host is granted to it. A request holds up the plugin's lane until it is
//! answered, so keep them few, and give the host that is asked an idempotency key: an event may
//! be handled again after a crash.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
#[cfg(target_arch = "wasm32")]
use crate::bindings::carillon::plugin::http as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::http as host;

pub use crate::bindings::carillon::plugin::http::{Error, Header, Request, Response};

impl Request {
    /// A request for a resource.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A request that hands something over.
    #[must_use]
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A request with any method, without headers and body.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// Adds a header. `{{secret:NAME}}` in the value is replaced by the host.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, and says so in `content-type`.
    ///
    /// # Errors
    /// [`Failure::Reject`] when the value cannot be written as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(value).map_err(|error| {
            Failure::reject(format!("http: the body cannot be written: {error}"))
        })?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// The longest wait for the whole exchange; the operator's limit where that is shorter.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends the request and waits for the response, whatever its status.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send(&self) -> Result<Response, Error> {
        host::send(self)
    }
}

impl Response {
    /// Whether the status is one of success, from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of a header, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(&header.value)
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`Failure::Reject`] when the body is not what `T` looks like.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::reject(format!("http: the answer cannot be read: {error}")))
    }
}

impl From<Error> for Failure {
    /// What may pass, or what the operator can mend, is tried again; a response that is too large
    /// stays so.
    fn from(error: Error) -> Self {
        match error {
            Error::NotGranted(reason) => Self::retry(format!("http: not granted: {reason}")),
            Error::Timeout => Self::retry("http: it took too long"),
            Error::TooLarge => Self::reject("http: the response is larger than the limit"),
            Error::Failed(reason) => Self::retry(format!("http: {reason}")),
        }
    }
}
