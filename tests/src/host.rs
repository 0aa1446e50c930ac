//! The `carillon` binary as an operator runs it: arguments, a configuration file, a data folder,
//! signals and the HTTP addresses; nothing else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::child::{Child, tail, wait_until};
use crate::kafka::Kafka;

/// Bound for a start: compiling plugins on a busy machine, a group's first assignment, catching up.
const READY_BOUND: Duration = Duration::from_secs(90);
/// Bound for one HTTP request of a test.
const REQUEST_BOUND: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug, Clone)]
pub struct Setup {
    command: &'static str,
    config: String,
    plugins: Vec<PathBuf>,
    arguments: Vec<String>,
    ready_bound: Duration,
}

impl Setup {
    /// `carillon run`: everything in one process. Without [`Setup::kafka`], embedded.
    #[must_use]
    pub fn run() -> Self {
        Self::command("run")
    }

    /// `carillon host`: the consumer, the plugins and the gateway.
    #[must_use]
    pub fn host(kafka: &Kafka) -> Self {
        Self::command("host").kafka(kafka)
    }

    /// `carillon booking`: the booking API and its relay.
    #[must_use]
    pub fn booking(kafka: &Kafka) -> Self {
        Self::command("booking").kafka(kafka)
    }

    fn command(command: &'static str) -> Self {
        Self {
            command,
            config: String::new(),
            plugins: Vec::new(),
            arguments: Vec::new(),
            ready_bound: READY_BOUND,
        }
    }

    /// Uses this broker, for both services.
    #[must_use]
    pub fn kafka(mut self, kafka: &Kafka) -> Self {
        let servers = kafka.bootstrap();
        let _ = write!(
            self.config,
            "[booking_service.kafka]
bootstrap_servers = [\"{servers}\"]

[notification_service.kafka]
bootstrap_servers = [\"{servers}\"]
auto_offset_reset = \"earliest\"
"
        );
        self
    }

    /// Appends text to the configuration file. With a broker, it goes on in the table
    /// `[notification_service.kafka]`; a table header begins another.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Appends an argument of the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// How long a start may take, where it is more than usual.
    #[must_use]
    pub fn ready_bound(mut self, bound: Duration) -> Self {
        self.ready_bound = bound;
        self
    }

    /// Drops one plugin file into the plugin folder before the start.
    #[must_use]
    pub fn plugin(mut self, file: PathBuf) -> Self {
        self.plugins.push(file);
        self
    }

    /// The three plugins that ship.
    #[must_use]
    pub fn shipped_plugins(self) -> Self {
        ["booking-updates", "waitlist-updates", "conflict-alerts"]
            .into_iter()
            .fold(self, |setup, name| setup.plugin(shipped(name)))
    }

    /// Starts it and waits until `/readyz` agrees.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the end of its log is part of the message.
    pub async fn start(self) -> Result<Host> {
        let mut host = self.launch()?;
        host.wait_ready().await?;
        Ok(host)
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// When the binary or a plugin is missing.
    pub fn launch(self) -> Result<Host> {
        let folder = tempfile::Builder::new()
            .prefix("carillon-host-")
            .tempdir()?
            .keep();
        let plugins = folder.join("data/plugins");
        std::fs::create_dir_all(&plugins)?;
        for plugin in &self.plugins {
            let name = plugin.file_name().context("a plugin is a file")?;
            std::fs::copy(plugin, plugins.join(name)).with_context(|| {
                format!("no plugin at {}: run `make plugins`", plugin.display())
            })?;
        }
        std::fs::write(folder.join("carillon.toml"), &self.config)?;
        let child = spawn(&self, &folder)?;
        Ok(Host {
            child,
            setup: self,
            folder,
        })
    }
}

/// A running `carillon`; ends with the value, and its data with it.
#[derive(Debug)]
pub struct Host {
    child: Child,
    setup: Setup,
    folder: PathBuf,
}

impl Host {
    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("carillon.toml")
    }

    /// The folder that is watched for plugins.
    #[must_use]
    pub fn plugin_folder(&self) -> PathBuf {
        self.data().join("plugins")
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it was stopped before.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// SIGTERM; answers the exit code (137 when it had to be killed after 30 s).
    ///
    /// # Errors
    /// When it was stopped before.
    pub fn stop(&mut self) -> Result<i32> {
        self.child.stop()
    }

    /// Starts it again on the same data, after [`Host::kill`] or [`Host::stop`], and waits for
    /// nothing.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch_again(&mut self) -> Result<()> {
        self.child = spawn(&self.setup, &self.folder)?;
        Ok(())
    }

    /// As [`Host::launch_again`], and waits until `/readyz` agrees.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.launch_again()?;
        self.wait_ready().await
    }

    /// Waits until `/readyz` of every address answers 200.
    ///
    /// # Errors
    /// When the process ends or the bound passes; the end of the log is part of the message.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let client = http()?;
        let waited = wait_until("carillon to be ready", self.setup.ready_bound, async || {
            if !self.child.is_running() {
                return Ok(Some(false));
            }
            for address in self.addresses()? {
                let answer = client.get(format!("{address}/readyz")).send().await?;
                if !answer.status().is_success() {
                    bail!(
                        "{address}/readyz: {} {}",
                        answer.status(),
                        answer.text().await?
                    );
                }
            }
            Ok(Some(true))
        });
        match waited.await {
            Ok(true) => Ok(()),
            Ok(false) => bail!("carillon ended while starting:\n{}", self.log_tail()),
            Err(error) => Err(error.context(self.log_tail())),
        }
    }

    /// The booking API's base URL.
    ///
    /// # Errors
    /// When this process serves none, or is not listening yet.
    pub fn booking(&self) -> Result<String> {
        self.address("booking")
    }

    /// The gateway's base URL.
    ///
    /// # Errors
    /// When this process serves none, or is not listening yet.
    pub fn gateway(&self) -> Result<String> {
        self.address("gateway")
    }

    fn addresses(&self) -> Result<Vec<String>> {
        match self.setup.command {
            "run" => Ok(vec![self.booking()?, self.gateway()?]),
            "booking" => Ok(vec![self.booking()?]),
            _ => Ok(vec![self.gateway()?]),
        }
    }

    fn address(&self, name: &str) -> Result<String> {
        address(&self.data(), name)
    }

    /// A token for a user, made by `carillon token` from this data folder.
    ///
    /// # Errors
    /// When the command fails.
    pub fn token(&self, user: &str) -> Result<String> {
        self.token_command(user)?()
    }

    /// A token for a user with roles.
    ///
    /// # Errors
    /// When the command fails.
    pub fn token_with(&self, user: &str, roles: &[&str]) -> Result<String> {
        self.token_by(user, roles)?()
    }

    /// What makes a token, for a thread that may wait for it.
    ///
    /// # Errors
    /// When there is no binary.
    pub fn token_command(
        &self,
        user: &str,
    ) -> Result<impl FnOnce() -> Result<String> + Send + 'static + use<>> {
        self.token_by(user, &[])
    }

    fn token_by(
        &self,
        user: &str,
        roles: &[&str],
    ) -> Result<impl FnOnce() -> Result<String> + Send + 'static + use<>> {
        let mut command = Command::new(binary()?);
        command
            .args(["token", "--user", user, "--data"])
            .arg(self.data())
            .arg("--config")
            .arg(self.config_file());
        for role in roles {
            command.args(["--role", role]);
        }
        Ok(move || {
            let output = command.output()?;
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        })
    }

    /// Everything the process has printed and logged, over all its starts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(self.log_path())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of it.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path())
    }

    /// The first line of the log that holds all the words, waited for.
    ///
    /// # Errors
    /// When none comes within 30 s.
    pub async fn log_line(&self, words: &[&str]) -> Result<String> {
        let what = format!("a line of the log with {words:?}");
        let found = wait_until(&what, Duration::from_secs(30), async || {
            let log = self.log()?;
            let holds = |line: &&str| words.iter().all(|word| line.contains(word));
            Ok(log.lines().find(holds).map(ToOwned::to_owned))
        });
        found.await.map_err(|error| error.context(self.log_tail()))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("carillon.log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Refused where it was stopped before; then the folder is still there.
        let _ = self.child.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An HTTP client with the tests' bound on every request.
///
/// # Errors
/// When the client cannot be made.
pub fn http() -> Result<reqwest::Client> {
    // The tests talk to 127.0.0.1 whatever proxy the machine has.
    let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_BOUND);
    Ok(client.build()?)
}

/// The file of a plugin that ships: `target/plugins/NAME.wasm`.
#[must_use]
pub fn shipped(name: &str) -> PathBuf {
    crate::root().join(format!("target/plugins/{name}.wasm"))
}

/// The file of a test guest: `target/guests/NAME.wasm`.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    crate::root().join(format!("target/guests/{name}.wasm"))
}

/// The address of a service, as the data folder names it.
pub(crate) fn address(data: &Path, name: &str) -> Result<String> {
    let path = data.join("addresses.json");
    let text = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
    let addresses: Value = serde_json::from_slice(&text)?;
    let address = addresses[name].as_str().map(ToOwned::to_owned);
    address.with_context(|| format!("{} names no {name}", path.display()))
}

/// The `carillon` binary: `CARILLON_BIN`, else that of the running test's own build.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("CARILLON_BIN") {
        Some(path) => PathBuf::from(path),
        None => crate::target_folder()?.join("release/carillon"),
    };
    if !path.is_file() {
        bail!("no binary at {}: run `make build`", path.display());
    }
    Ok(path)
}

fn spawn(setup: &Setup, folder: &Path) -> Result<Child> {
    let data = folder.join("data");
    // A file of an earlier start would name addresses that nobody listens on.
    let _ = std::fs::remove_file(data.join("addresses.json"));
    let mut command = vec![binary()?.display().to_string(), setup.command.to_owned()];
    let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
    option("--data", data.display().to_string());
    option(
        "--config",
        folder.join("carillon.toml").display().to_string(),
    );
    if setup.command != "host" {
        option("--booking-addr", "127.0.0.1:0".to_owned());
    }
    if setup.command != "booking" {
        option("--gateway-addr", "127.0.0.1:0".to_owned());
    }
    command.extend(setup.arguments.iter().cloned());
    Child::start(&command, folder, &folder.join("carillon.log"))
}
