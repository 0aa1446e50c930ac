//! What the programs that measure share.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::child::wait_until;
use crate::host::Host;
use crate::store::progress;

/// Longer than any measurement needs: a stuck host ends the program.
const BOUND: Duration = Duration::from_secs(600);

/// Measurements and their results; displays as Markdown.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Adds a row, and says it at once: the table comes at the end.
    pub fn add(&mut self, name: impl Into<String>, result: impl Into<String>) {
        let row = (name.into(), result.into());
        eprintln!("{}: {}", row.0, row.1);
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| measurement | result |\n| --- | --- |")?;
        for (name, result) in &self.rows {
            write!(f, "\n| {name} | {result} |")?;
        }
        Ok(())
    }
}

/// A number of the environment.
///
/// # Errors
/// When it is none.
pub fn from_environment(name: &str, default: u32) -> Result<u32> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(default),
    }
}

/// Records a second into the store of a host that has passed `before` of them and is to pass `end`:
/// from the first commit that is seen to the last, so that loading and joining do not count.
///
/// # Errors
/// When that does not come about.
pub async fn rate_into_store(host: &Host, before: i64, end: i64) -> Result<f64> {
    let data = host.data();
    let first = wait_until("the first commit", BOUND, async || {
        let passed = progress(&data).await?;
        Ok((passed > before).then_some(passed))
    })
    .await?;
    let start = Instant::now();
    wait_until("the last commit", BOUND, async || {
        Ok((progress(&data).await? >= end).then_some(()))
    })
    .await?;
    Ok(per_second(end - first, start.elapsed()))
}

/// The memory of a process that is not swapped out, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .and_then(|rest| rest.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// How many a second.
#[must_use]
pub fn per_second(count: i64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
