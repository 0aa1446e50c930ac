//! A child process that never outlives the test, however the test ends.
//!
//! Between the test and the child stands a small shell script, the guard: it is the child's
//! parent and waits on its standard input. When the test process is gone, even by `kill -9`, the
//! pipe closes, and the guard ends the child and removes its folder. Signals go through the
//! guard, which can never reach another process whose id was reused.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as GuardProcess, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What the guard runs; `$1` is the folder to remove at the end, `$2` the log, the rest the command.
/// Words on its input: `kill` ends the child at once, `stop` asks it to end and keeps the folder;
/// anything else, the end of the input among it, asks it to end and removes the folder.
const GUARD: &str = r#"
folder=$1 log=$2
shift 2
exec 3<&0
"$@" 3<&- </dev/null >>"$log" 2>&1 &
pid=$!
echo "$pid"
# Without words of its own about a child that was killed.
exec >/dev/null 2>&1
read -r word <&3 || word=end
if [ "$word" = kill ]; then
  kill -KILL "$pid" 2>/dev/null
else
  kill -TERM "$pid" 2>/dev/null
  rounds=0
  while kill -0 "$pid" 2>/dev/null && [ "$rounds" -lt 600 ]; do
    sleep 0.05
    rounds=$((rounds + 1))
  done
  kill -KILL "$pid" 2>/dev/null
fi
wait "$pid"
code=$?
case $word in kill | stop) ;; *) rm -rf -- "$folder" ;; esac
exit "$code"
"#;

/// Bytes of the log that a failure shows.
const TAIL_BYTES: u64 = 8 * 1024;

/// A running child and the guard that holds it.
#[derive(Debug)]
pub struct Child {
    guard: GuardProcess,
    orders: Option<ChildStdin>,
    pid: u32,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its output appended to `log`. `folder` is removed when the child
    /// ends by [`Child::end`], by drop, or because the test process is gone.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub fn start(command: &[String], folder: &Path, log: &Path) -> Result<Self> {
        let mut guard = Command::new("sh")
            .arg("-c")
            .arg(GUARD)
            .arg("guard")
            .arg(folder)
            .arg(log)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start sh")?;
        let orders = guard.stdin.take();
        let mut line = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .with_context(|| format!("the guard of {command:?} printed no process id"))?;
        Ok(Self {
            guard,
            orders,
            pid,
            log: log.to_path_buf(),
        })
    }

    /// The process id of the child itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the child still runs (a child that ended by itself stays a zombie until it is
    /// stopped here).
    #[must_use]
    pub fn is_running(&self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // The state follows the command's name, which stands in parentheses and may hold anything.
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    }

    /// `kill -9`; returns when the process is gone.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.order("kill\n").map(|_| ())
    }

    /// SIGTERM, and SIGKILL after 30 seconds; the folder stays. Answers the exit code, 128 + the
    /// signal's number if one ended it.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn stop(&mut self) -> Result<i32> {
        let status = self.order("stop\n")?;
        status.code().context("the guard was ended by a signal")
    }

    /// As [`Child::stop`], and the folder goes too.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn end(&mut self) -> Result<()> {
        self.order("end\n").map(|_| ())
    }

    /// The last lines of the log, for messages of failure.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    fn order(&mut self, word: &str) -> Result<ExitStatus> {
        let Some(mut orders) = self.orders.take() else {
            bail!("process {} was stopped before", self.pid);
        };
        orders.write_all(word.as_bytes())?;
        drop(orders);
        Ok(self.guard.wait()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.orders.is_some() {
            let _ = self.end();
        }
    }
}

/// The last 8 KiB of a file, as text.
#[must_use]
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(no log at {}: {error})", path.display()))
}

/// Ports that were free a moment ago, one for each call of the array.
///
/// # Errors
/// When the system has no free port.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until the last is known, so that they differ.
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Asks again and again, every 20 ms, until the answer is there or `bound` has passed.
///
/// # Errors
/// When the bound has passed: `what` says what was waited for, and the last answer says how far it came.
pub async fn wait_until<T, F>(what: &str, bound: Duration, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Option<T>>,
{
    let start = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let mut last;
    loop {
        pause.tick().await;
        match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => last = None,
            Err(error) => last = Some(error),
        }
        if start.elapsed() > bound {
            let last = last.map_or_else(String::new, |error| format!(" (last: {error:#})"));
            bail!("waited {bound:?} for {what}{last}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> (Child, PathBuf) {
        let folder = tempfile::tempdir().unwrap().keep();
        let log = folder.join("log");
        let command = ["sh", "-c", script].map(ToOwned::to_owned);
        (Child::start(&command, &folder, &log).unwrap(), folder)
    }

    async fn says(folder: &Path, word: &str) {
        let log = folder.join("log");
        wait_until(word, BOUND, async || {
            Ok(tail(&log).contains(word).then_some(()))
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_child_that_is_asked_to_stop_may_end_in_its_own_way_and_its_folder_stays() {
        let (mut child, folder) =
            sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        says(&folder, "ready").await;
        assert!(child.is_running());
        assert_eq!(child.stop().unwrap(), 7);
        assert!(!child.is_running() && folder.is_dir());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_child_that_ends_by_itself_does_not_count_as_running() {
        let (mut child, folder) = sh("echo done; exit 3");
        says(&folder, "done").await;
        wait_until("its end", BOUND, async || {
            Ok((!child.is_running()).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(child.stop().unwrap(), 3);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_child_that_is_dropped_takes_its_folder_with_it() {
        let (child, folder) = sh("echo ready; exec sleep 60");
        says(&folder, "ready").await;
        let pid = child.pid();
        drop(child);
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[tokio::test]
    async fn a_killed_child_has_no_time_to_do_anything() {
        let (mut child, folder) =
            sh("trap 'echo sorry' TERM; echo ready; while :; do sleep 0.01; done");
        says(&folder, "ready").await;
        child.kill().unwrap();
        assert!(!child.is_running() && !tail(&folder.join("log")).contains("sorry"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
