//! The watched folder: a binary that is dropped there is loaded, once and whole.
//!
//! Looked at from time to time rather than by the kernel's notices, which network and overlay file
//! systems do not send, and which do not say that a file is complete either. A file is read when it
//! has not changed for a while. If it turns out to be cut off, somebody may still be writing, and
//! it gets more time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use carillon_sandbox::binary_sha256;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::config::WatchConfig;
use crate::operations::Operations;
use crate::operations::model::{LoadRequest, OperationError, Operator, RunAs, StartAt};
use crate::trust::read_signature;

/// Files beyond this many are not looked at.
const MAX_FILES: usize = 10_000;
/// A signature has 64 bytes, raw or in base64.
const SIGNATURE_BYTES: u64 = 1_024;

/// What can be seen of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    bytes: u64,
    changed: Option<SystemTime>,
    /// When the signature beside it changed, if there is one.
    signed: Option<SystemTime>,
}

struct Seen {
    look: Look,
    /// Since when it has looked like this.
    since: Instant,
    done: bool,
    /// Why it cannot be whole as it is.
    incomplete: Option<String>,
}

impl Seen {
    fn new(look: Look) -> Self {
        Self {
            look,
            since: Instant::now(),
            done: false,
            incomplete: None,
        }
    }
}

/// The folder, and what was seen there.
pub(crate) struct Folder {
    path: PathBuf,
    config: WatchConfig,
    operations: Operations,
    seen: HashMap<PathBuf, Seen>,
}

/// How reading a file came out.
enum Read {
    /// There is nothing more to do with it as it is.
    Done,
    /// It is tried again soon.
    Later,
    /// It is cut off.
    Incomplete(String),
}

impl Folder {
    /// Makes the folder if there is none.
    pub(crate) fn open(
        path: &Path,
        config: WatchConfig,
        operations: Operations,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            config,
            operations,
            seen: HashMap::new(),
        })
    }

    /// Takes in what lies there already, without waiting for it to settle.
    pub(crate) async fn take_in(&mut self) {
        self.look(Duration::ZERO, Occasion::Start).await;
    }

    /// Runs for ever.
    pub(crate) async fn watch(mut self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.config.every_ms.max(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let settle = Duration::from_millis(self.config.settle_ms);
            self.look(settle, Occasion::Change).await;
        }
    }

    async fn look(&mut self, settle: Duration, occasion: Occasion) {
        let files = match list(&self.path) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "the folder of plugins cannot be read");
                return;
            }
        };
        self.seen
            .retain(|path, _| files.iter().any(|(there, _)| there == path));
        for (path, look) in files {
            let seen = self
                .seen
                .entry(path.clone())
                .or_insert_with(|| Seen::new(look));
            if seen.look != look {
                *seen = Seen::new(look);
            }
            let quiet = seen.since.elapsed();
            if seen.done || quiet < settle {
                continue;
            }
            // What is cut off stays so until it changes.
            let read = match seen.incomplete.clone() {
                Some(reason) => Read::Incomplete(reason),
                None => self.read(&path, look, occasion).await,
            };
            match read {
                Read::Done => self.done(&path),
                Read::Later => {}
                Read::Incomplete(reason)
                    if quiet >= Duration::from_millis(self.config.incomplete_ms) =>
                {
                    self.done(&path);
                    self.operations.note_refused_file(&path, &reason).await;
                }
                Read::Incomplete(reason) => {
                    if let Some(seen) = self.seen.get_mut(&path) {
                        seen.incomplete = Some(reason);
                    }
                }
            }
        }
    }

    fn done(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.done = true;
        }
    }

    async fn read(&mut self, path: &Path, look: Look, occasion: Occasion) -> Read {
        let limit = self.operations.max_binary_bytes();
        if look.bytes > limit as u64 {
            let reason = format!(
                "the file has {} bytes and at most {limit} are loaded; build it with optimisation, or raise sandbox.max_binary_bytes",
                look.bytes
            );
            self.operations.note_refused_file(path, &reason).await;
            return Read::Done;
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (binary, signature) = match read_files(path, limit).await {
            Ok(read) => read,
            Err(error) => {
                self.operations
                    .note_refused_file(path, &format!("the file cannot be read: {error}"))
                    .await;
                return Read::Done;
            }
        };
        // It was written to while it was read.
        if binary.len() as u64 != look.bytes {
            return Read::Incomplete("it changed while it was read".to_owned());
        }
        let sha256 = binary_sha256(&binary);
        let known = match occasion {
            // What was removed or rolled back since stays so, although the file lies there still.
            Occasion::Start => self.operations.given_by_file(&name).await.as_ref() == Some(&sha256),
            // Whoever copies a file here wants it to run.
            Occasion::Change => self.operations.runs(&sha256),
        };
        if known {
            return Read::Done;
        }
        let request = LoadRequest {
            name: None,
            binary,
            signature,
            origin: path.display().to_string(),
            start: StartAt::Latest,
            run_as: RunAs::Active,
        };
        let operator = Operator::host("watched folder");
        match self.operations.load_file(request, &operator).await {
            Ok(_) => self.operations.note_given_file(&name, &sha256).await,
            Err(FileRefused::Incomplete(reason)) => return Read::Incomplete(reason),
            // It would be refused again.
            Err(FileRefused::For(OperationError::Refused(_) | OperationError::Invalid(_))) => {}
            Err(FileRefused::For(error)) => {
                tracing::warn!(file = %path.display(), %error, "a plugin file is tried again");
                return Read::Later;
            }
        }
        Read::Done
    }
}

/// Why the folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The host begins; files may lie there from before.
    Start,
    /// A file is new, or not as it was.
    Change,
}

/// Why a file is not loaded.
pub(crate) enum FileRefused {
    /// It ends too early.
    Incomplete(String),
    /// Anything else.
    For(OperationError),
}

/// The binary, and the signature beside it if there is one.
async fn read_files(path: &Path, limit: usize) -> io::Result<(Vec<u8>, Option<Vec<u8>>)> {
    let binary = read_bounded(path, limit as u64 + 1).await?;
    let signature = match read_bounded(&signature_of(path), SIGNATURE_BYTES).await {
        Ok(bytes) => Some(read_signature(&bytes).map_err(io::Error::other)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((binary, signature))
}

/// Reads no more than `limit` bytes: somebody may be writing without an end.
async fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path)
        .await?
        .take(limit)
        .read_to_end(&mut bytes)
        .await?;
    Ok(bytes)
}

fn signature_of(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    beside.into()
}

fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Look)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Removed meanwhile, or a link to nothing.
        let Ok(data) = std::fs::metadata(&path) else {
            continue;
        };
        if data.is_file() {
            let look = Look {
                bytes: data.len(),
                changed: data.modified().ok(),
                signed: std::fs::metadata(signature_of(&path))
                    .and_then(|data| data.modified())
                    .ok(),
            };
            files.push((path, look));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}
