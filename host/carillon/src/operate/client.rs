//! Finding the host and speaking with it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::print;
use crate::arguments::Remote;
use crate::configuration;
use crate::data_folder;

/// How long the host may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer may take. Loading a plugin compiles it and waits for the old one's calls.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);

/// As much of an answer that nobody expected as is shown.
const SHOWN_CHARS: usize = 200;

/// A running host.
pub(crate) struct Client {
    http: reqwest::Client,
    gateway: Url,
    /// Where the address comes from, for messages.
    named_by: String,
    token: String,
    json: bool,
}

/// What most lists answer.
#[derive(Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// Where to go on.
    pub(crate) next: Option<String>,
}

/// RFC 9457, as much of it as is looked at.
#[derive(Deserialize)]
struct Problem {
    /// `about:blank` where the path itself is not known.
    r#type: String,
    detail: String,
}

impl Client {
    /// Looks for the host and the token where the options and the data folder say.
    pub(crate) fn find(remote: &Remote) -> Result<Self> {
        let (gateway, named_by) = gateway(remote)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            // The token is for the host alone.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            gateway,
            named_by,
            token: token(remote)?,
            json: remote.json,
        })
    }

    /// Begins a request to `/admin/…`. Each segment stands for itself, whatever it contains.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.gateway.clone();
        // Cannot fail: the gateway's URL is one with a host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("admin").extend(segments);
        }
        self.http
            .request(method, url)
            .bearer_auth(&self.token)
            .timeout(ANSWER_PATIENCE)
    }

    pub(crate) fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::GET, segments)
    }

    pub(crate) fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::POST, segments)
    }

    /// Sends a request, and answers the text of the answer.
    pub(crate) async fn text(&self, request: RequestBuilder) -> Result<String> {
        let response = self.response(request).await?;
        response
            .text()
            .await
            .context("the answer of the host was cut off; look whether it still runs")
    }

    /// Sends a request whose answer is needed whatever is printed.
    pub(crate) async fn value<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let text = self.text(request).await?;
        self.parse(&text)
    }

    /// Sends a request, and prints the answer: as it is with `--json`, in words otherwise.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        words: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let text = self.text(request).await?;
        if self.json {
            return print::line(&text);
        }
        print::text(&words(&self.parse(&text)?))
    }

    /// Whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Sends a request and looks at the status of the answer.
    pub(crate) async fn response(&self, request: RequestBuilder) -> Result<Response> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).with_context(|| {
            format!(
                "the answer of {} is not what this carillon ({}) understands; is the host of another version?",
                self.gateway,
                env!("CARGO_PKG_VERSION")
            )
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let (gateway, named_by) = (&self.gateway, &self.named_by);
        if error.is_connect() {
            return anyhow!(
                "nothing answers at {gateway} ({named_by}): start carillon, or give --gateway-url"
            );
        }
        if error.is_timeout() {
            return anyhow!(
                "{gateway} did not answer within {} s; what was asked for may still happen: look with `carillon audit`",
                ANSWER_PATIENCE.as_secs()
            );
        }
        let cause =
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        anyhow!("{gateway} ended the connection without an answer ({cause}); look into its log")
    }

    async fn refusal(&self, response: Response) -> anyhow::Error {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if status == StatusCode::UNAUTHORIZED => anyhow!(
                "{} Give one with --admin-token or CARILLON_ADMIN_TOKEN.",
                problem.detail
            ),
            Ok(problem) if status == StatusCode::NOT_FOUND && problem.r#type == "about:blank" => {
                anyhow!(
                    "{} ({}) has no /admin: is it the address of a gateway, and of this version?",
                    self.gateway,
                    self.named_by
                )
            }
            Ok(problem) => anyhow!(problem.detail),
            Err(_) => {
                let shown: String = text.trim().chars().take(SHOWN_CHARS).collect();
                anyhow!(
                    "{} answered {status}, and not as a carillon does; is it the address of a gateway? {shown}",
                    self.gateway
                )
            }
        }
    }
}

/// The gateway's address, and what names it.
fn gateway(remote: &Remote) -> Result<(Url, String)> {
    if let Some(url) = &remote.gateway_url {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .with_context(|| {
                format!("--gateway-url {url} is no address: write it as http://127.0.0.1:8090")
            })?;
        return Ok((url, "given by --gateway-url".to_owned()));
    }
    let folder = &remote.common.data;
    let file = data_folder::addresses_file(folder);
    let Some(url) = data_folder::address(folder, "gateway")? else {
        bail!(
            "no carillon runs on this data folder ({} names no gateway): start it, or give --gateway-url",
            file.display()
        );
    };
    let url = Url::parse(&url).with_context(|| format!("{} has {url:?}", file.display()))?;
    Ok((url, format!("named by {}", file.display())))
}

/// The operator's token: given, configured, or the folder's own.
fn token(remote: &Remote) -> Result<String> {
    if let Some(token) = &remote.admin_token {
        return Ok(token.clone());
    }
    let configured = match &remote.common.config {
        Some(_) => configuration::read(&remote.common)?.admin.tokens,
        None => std::collections::BTreeMap::new(),
    };
    match configured.len() {
        0 => {}
        1 => return Ok(configured.into_values().collect()),
        _ => {
            let names: Vec<&str> = configured.keys().map(String::as_str).collect();
            bail!(
                "several operators are configured ({}), and the audit must say which one asks: give your token with --admin-token or CARILLON_ADMIN_TOKEN",
                names.join(", ")
            );
        }
    }
    let folder: &Path = &remote.common.data;
    data_folder::admin_token(folder)?.with_context(|| {
        format!(
            "there is no {}: the host has [admin] tokens in its configuration, or another data folder; give your token with --admin-token or CARILLON_ADMIN_TOKEN",
            data_folder::admin_token_file(folder).display()
        )
    })
}
