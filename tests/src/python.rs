//! The Python of the tests: a virtual environment under `target/`, with what
//! `tests/python/requirements.txt` pins.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A program of the virtual environment.
///
/// # Errors
/// When it is not installed (`tests/setup.sh test` does that).
pub fn program(name: &str) -> Result<PathBuf> {
    let path = crate::target_folder()?.join("python/bin").join(name);
    ensure!(
        path.exists(),
        "no {}: run `tests/setup.sh test`",
        path.display()
    );
    Ok(path)
}

/// Runs `tests/python/<script>` with this input, and answers the JSON that it prints.
///
/// # Errors
/// When it fails: what it complained of is the message.
pub fn script(name: &str, input: &str) -> Result<Value> {
    let path = crate::root().join("tests/python").join(name);
    let mut child = Command::new(program("python")?)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stdin.take().context("no standard input")?;
    // The script reads all of it before it prints anything.
    pipe.write_all(input.as_bytes())?;
    drop(pipe);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output()?;
    let complaints = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{name}: {complaints}\n{input}");
    serde_json::from_slice(&stdout).with_context(|| format!("{name} printed no JSON"))
}
