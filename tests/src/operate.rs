//! An operator of a running host: the commands of the `carillon` binary, and the admin API itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::child::wait_until;
use crate::host::{Host, address, binary};

/// Bound for one request: a load compiles, and waits for the old version's calls.
const REQUEST_BOUND: Duration = Duration::from_secs(60);
/// Bound for what a host does by itself: quarantine, catching up, taking a file in.
pub const HOST_BOUND: Duration = Duration::from_secs(90);

/// Somebody who can read the data folder. Stays valid over restarts of the host.
#[derive(Debug, Clone)]
pub struct Operator {
    data: PathBuf,
    config: PathBuf,
    http: reqwest::Client,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub output: String,
    /// What it complained of.
    pub errors: String,
}

impl Operator {
    /// The operator of a host.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn of(host: &Host) -> Result<Self> {
        // The tests talk to 127.0.0.1 whatever proxy the machine has.
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_BOUND);
        Ok(Self {
            data: host.data(),
            config: host.config_file(),
            http: http.build()?,
        })
    }

    /// Runs a command of the binary on the host's data folder.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub async fn say(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = Command::new(binary()?);
        command
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .arg("--config")
            .arg(&self.config);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said {
            code: output.status.code(),
            output: text(output.stdout),
            errors: text(output.stderr),
        })
    }

    /// Runs a command that succeeds, and answers the JSON that it prints.
    ///
    /// # Errors
    /// When it does not; what it complains of is the message.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.say(&[arguments, &["--json"]].concat()).await?;
        ensure!(said.code == Some(0), "{arguments:?}: {}", said.errors);
        serde_json::from_str(&said.output)
            .with_context(|| format!("{arguments:?} printed no JSON: {}", said.output))
    }

    /// Runs a command that is refused, and answers its sentence.
    ///
    /// # Errors
    /// When it is not refused, with the exit code 1.
    pub async fn refused(&self, arguments: &[&str]) -> Result<String> {
        let said = self.say(arguments).await?;
        ensure!(
            said.code == Some(1),
            "{arguments:?} was not refused: {said:?}"
        );
        Ok(said.errors.trim().to_owned())
    }

    /// Loads a file with `carillon plugin load`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn load(&self, file: &Path, options: &[&str]) -> Result<Value> {
        let file = file.display().to_string();
        let command = [&["plugin", "load", file.as_str()], options].concat();
        self.ask(&command).await
    }

    /// Sends a request to the admin API: `path` begins behind `/admin/`.
    ///
    /// # Errors
    /// When the host cannot be reached, or answers no JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Sends a request that succeeds, and answers its body.
    ///
    /// # Errors
    /// When it is refused: its sentence is the message.
    pub async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, answer) = self.send(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status} {}", answer["detail"]);
        }
        Ok(answer)
    }

    /// `PUT /admin/plugins/{path}` with a binary; `path` is the name and perhaps a query.
    ///
    /// # Errors
    /// When the host cannot be reached, or answers no JSON.
    pub async fn put(&self, path: &str, binary: Vec<u8>) -> Result<(StatusCode, Value)> {
        let request = self.request(Method::PUT, &format!("plugins/{path}"))?;
        answer(request.body(binary)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder> {
        let gateway = address(&self.data, "gateway")?;
        let file = self.data.join("admin-token");
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("no token at {}", file.display()))?;
        let request = self.http.request(method, format!("{gateway}/admin/{path}"));
        Ok(request.bearer_auth(token.trim()))
    }

    /// What `carillon plugin list` says of one plugin.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub async fn plugin(&self, name: &str) -> Result<Value> {
        let plugins = self.done(Method::GET, "plugins", None).await?;
        let found = items(&plugins).find(|plugin| plugin["name"] == name);
        found
            .cloned()
            .with_context(|| format!("no plugin {name} in {plugins}"))
    }

    /// Waits until what `carillon plugin list` says of a plugin is as wanted; answers that.
    ///
    /// # Errors
    /// When it is not, in time; the last answer is part of the message.
    pub async fn plugin_that(
        &self,
        name: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait_until(&format!("{name} to be {what}"), HOST_BOUND, async || {
            let plugin = self.plugin(name).await?;
            ensure!(is_wanted(&plugin), "it is {plugin}");
            Ok(Some(plugin))
        })
        .await
    }

    /// The lanes of a plugin.
    ///
    /// # Errors
    /// When the host does not answer.
    pub async fn lanes(&self, name: &str) -> Result<Vec<Value>> {
        let lanes = self.done(Method::GET, "lanes", None).await?;
        let own = items(&lanes).filter(|lane| lane["plugin"] == name);
        Ok(own.cloned().collect())
    }

    /// The loads of a plugin that can be gone back to, newest first.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub async fn versions(&self, name: &str) -> Result<Vec<Value>> {
        let versions = self.ask(&["plugin", "versions", name]).await?;
        Ok(items(&versions).cloned().collect())
    }

    /// The newest records of the audit.
    ///
    /// # Errors
    /// When the host does not answer.
    pub async fn audit(&self) -> Result<Vec<Value>> {
        let audit = self.ask(&["audit", "--limit", "500"]).await?;
        Ok(items(&audit).cloned().collect())
    }

    /// The newest audit record of a load from a file or URL that ends like this, waited for.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn audited_load(&self, origin: &str) -> Result<Value> {
        let what = format!("an audit record of {origin}");
        wait_until(&what, HOST_BOUND, async || {
            let audit = self.done(Method::GET, "audit?limit=500", None).await?;
            let from = |record: &&Value| {
                let from = record["detail"]["origin"].as_str();
                from.is_some_and(|from| from.ends_with(origin))
            };
            let found = items(&audit).find(from).cloned();
            Ok(found)
        })
        .await
    }
}

/// The members of a list that the admin API answers.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    let body =
        serde_json::from_str(&text).with_context(|| format!("{status} without JSON: {text}"))?;
    Ok((status, body))
}
