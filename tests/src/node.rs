//! A Node.js script of `tests/` as a child that prints one JSON line an event.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// How long a test waits for the next line.
const LINE_BOUND: Duration = Duration::from_secs(60);

/// A running script. It ends when its standard input does: with this value, and with the test.
#[derive(Debug)]
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl Script {
    /// Starts `tests/<path>` with arguments.
    ///
    /// # Errors
    /// When node is missing or its packages are not installed (`tests/setup.sh test` does that).
    pub fn start(path: &str, arguments: &[&str]) -> Result<Self> {
        let script = crate::root().join("tests").join(path);
        let folder = script.parent().context("a script stands in a folder")?;
        ensure!(
            folder.join("node_modules").is_dir(),
            "no node_modules in {}: run `tests/setup.sh test`",
            folder.display()
        );
        let mut child = Command::new("node")
            .arg(&script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start node")?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            input: child.stdin.take(),
            child,
            lines,
        })
    }

    /// The next line.
    ///
    /// # Errors
    /// When none comes in time, or the script has ended.
    pub async fn next(&mut self) -> Result<Value> {
        let line = tokio::time::timeout(LINE_BOUND, self.lines.recv()).await;
        line.context("the script says nothing")?
            .context("the script has ended")
    }

    /// Skips lines until one's `event` is the one named.
    ///
    /// # Errors
    /// As [`Script::next`].
    pub async fn next_event(&mut self, event: &str) -> Result<Value> {
        loop {
            let line = self.next().await?;
            if line["event"] == event {
                return Ok(line);
            }
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
