//! `carillon run` in a folder of its own, and commands that are typed beside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Longer than anything here may take; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    child: Child,
    pub(crate) folder: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().expect("the command ends by itself"),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A command, with nothing of the machine's own settings.
pub(crate) fn carillon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Asks a process to end, by this signal.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Done {
    ended(command.spawn().unwrap()).await
}

/// Waits until a command has ended.
pub(crate) async fn ended(child: Child) -> Done {
    let output = spawn_blocking(|| child.wait_with_output());
    let output = timeout(PATIENCE, output).await.expect("the command ends");
    Done::of(&output.unwrap().unwrap())
}

impl Host {
    /// Without the events about requests to the API, so that a test knows what is handled: what it
    /// books.
    pub(crate) async fn start() -> Self {
        Self::with("[booking_service]\nanalytics = false\n").await
    }

    /// Starts a host with this configuration, and waits until it is ready.
    pub(crate) async fn with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("carillon.toml"), configuration).unwrap();
        let mut host = Self {
            child: Self::launch(folder.path()),
            folder,
        };
        host.ready().await;
        host
    }

    fn launch(folder: &Path) -> Child {
        let log = std::fs::File::create(folder.join("log.txt")).unwrap();
        let data = folder.join("data");
        let config = folder.join("carillon.toml");
        let any = "127.0.0.1:0";
        carillon(&[
            "run",
            "--demo",
            "--gateway-addr",
            any,
            "--booking-addr",
            any,
        ])
        .arg("--data")
        .arg(data)
        .arg("--config")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
    }

    /// Ends it as an operator does, and starts it again.
    pub(crate) async fn restart(mut self) -> Self {
        self.end().await;
        self.child = Self::launch(self.folder.path());
        self.ready().await;
        self
    }

    pub(crate) async fn end(&mut self) {
        signal(&self.child, Signal::TERM);
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the host does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success());
    }

    async fn ready(&mut self) {
        let start = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap();
            assert!(ended.is_none(), "the host has ended: {}", log());
            assert!(start.elapsed() < PATIENCE, "it is not ready: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Some(gateway) = self.address("gateway") else {
            return false;
        };
        let answer = reqwest::get(format!("{gateway}/readyz")).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Where a part of it listens.
    pub(crate) fn address(&self, role: &str) -> Option<String> {
        let text = std::fs::read(self.data().join("addresses.json")).ok()?;
        let addresses: Value = serde_json::from_slice(&text).ok()?;
        Some(addresses[role].as_str()?.to_owned())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command at this host's data folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = carillon(arguments);
        command.arg("--data").arg(self.data());
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        run(self.command(arguments)).await
    }

    /// Runs a command that must succeed; answers what it printed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        done.out
    }

    /// Runs a command with `--json` until it prints what it should.
    pub(crate) async fn eventually(
        &self,
        arguments: &[&str],
        enough: impl Fn(&Value) -> bool,
    ) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let start = Instant::now();
        loop {
            let done = self.run(&arguments).await;
            if done.code == 0 && enough(&done.json()) {
                return done.json();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{arguments:?} still prints {done:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Books a room so many times: as many events.
    pub(crate) async fn book(&self, count: u32) {
        let token = self.ok(&["token", "--user", "user-1"]).await;
        let url = format!("{}/bookings", self.address("booking").unwrap());
        let http = reqwest::Client::new();
        for number in 0..count {
            // Each takes an hour of its own.
            let (year, month) = (2031 + number / 288, 1 + number / 24 % 12);
            let time = |minute| format!("{year}-{month:02}-01T{:02}:{minute}:00Z", number % 24);
            let booking = serde_json::json!({
                "resourceId": "room-1", "userId": "user-1", "title": format!("Meeting {number}"),
                "startTime": time("00"), "endTime": time("30"), "attendeesCount": 2,
            });
            let request = http.post(&url).bearer_auth(token.trim()).json(&booking);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file of a guest of `tests/guests`.
pub(crate) fn guest(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../target/guests/{name}.wasm"))
        .canonicalize();
    let path = path.unwrap_or_else(|error| {
        panic!("target/guests/{name}.wasm: {error}; run `bash plugins/build.sh --guests`")
    });
    path.to_str().unwrap().to_owned()
}
