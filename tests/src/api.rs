//! The booking API as its clients see it, over the deaths of its process: every request is a
//! [`Call`], which can be sent once, or again and again until it is answered.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::host::{Host, address, http};

/// How long one call may take over all its attempts: longer than any outage of a test.
const BOUND: Duration = Duration::from_secs(120);

/// A client of one data folder's booking API. It finds a restarted API again, which listens
/// elsewhere.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    data: PathBuf,
    token: Option<String>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version, as the API wrote it.
    pub etag: Option<String>,
    /// What the API calls the request.
    pub correlation_id: Option<String>,
    /// The body as JSON; null where it is none.
    pub body: Value,
    /// The body as it came.
    pub text: String,
    /// How many attempts had no answer before this one; each may have been carried out all the same.
    pub lost: u32,
}

impl Call {
    /// `GET`
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), None)
    }

    /// `DELETE`
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into(), None)
    }

    /// `POST` of JSON.
    #[must_use]
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path.into(), Some(body))
    }

    /// `POST` without a body.
    #[must_use]
    pub fn step(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into(), None)
    }

    /// `PATCH` of JSON, on the condition that the version is still this one.
    #[must_use]
    pub fn patch(path: impl Into<String>, etag: &str, body: Value) -> Self {
        Self::new(Method::PATCH, path.into(), Some(body)).header("if-match", etag)
    }

    fn new(method: Method, path: String, body: Option<Value>) -> Self {
        Self {
            method,
            path,
            body,
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Calls the request by this id, in everything that follows from it.
    #[must_use]
    pub fn correlation(self, id: &str) -> Self {
        self.header("x-correlation-id", id)
    }

    /// Makes it safe to send again.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }
}

impl Api {
    /// A client without a token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn of(host: &Host) -> Result<Self> {
        Ok(Self {
            http: http()?,
            data: host.data(),
            token: None,
        })
    }

    /// The same with a bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// Sends a call once.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let url = format!("{}{}", address(&self.data, "booking")?, call.path);
        let mut request = self.http.request(call.method.clone(), url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (etag, correlation_id) = (header("etag"), header("x-correlation-id"));
        let status = response.status();
        let text = response.text().await?;
        Ok(Answer {
            status,
            etag,
            correlation_id,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
            lost: 0,
        })
    }

    /// Sends a call until it is answered with something else than a fault of the service.
    ///
    /// # Errors
    /// When the API is away for longer than two minutes.
    pub async fn insist(&self, call: &Call) -> Result<Answer> {
        let start = Instant::now();
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        let mut lost = 0;
        loop {
            pause.tick().await;
            let fault = match self.send(call).await {
                Ok(answer) if !answer.status.is_server_error() => {
                    return Ok(Answer { lost, ..answer });
                }
                Ok(answer) => anyhow!("{}: {}", answer.status, answer.text),
                Err(error) => error,
            };
            if start.elapsed() > BOUND {
                return Err(fault.context(format!("{} {} got no answer", call.method, call.path)));
            }
            lost += 1;
        }
    }

    /// Sends a call that succeeds, and answers what came of it.
    ///
    /// # Errors
    /// When it is refused: what the API said is the message.
    pub async fn done(&self, call: &Call) -> Result<Answer> {
        let answer = self.send(call).await?;
        ensure!(
            answer.status.is_success(),
            "{} {}: {} {}",
            call.method,
            call.path,
            answer.status,
            answer.text
        );
        Ok(answer)
    }
}

impl Answer {
    /// A field of the body that holds text.
    ///
    /// # Errors
    /// When it does not.
    pub fn field(&self, name: &str) -> Result<&str> {
        self.body[name]
            .as_str()
            .with_context(|| format!("no {name} in {}", self.text))
    }

    /// The version, to change it by.
    ///
    /// # Errors
    /// When the answer had no `ETag`.
    pub fn version(&self) -> Result<&str> {
        self.etag
            .as_deref()
            .with_context(|| format!("no ETag beside {}", self.text))
    }
}
