//! Compiled code on disk, so that a binary is compiled once and not at every start.
//!
//! The engine has a cache of its own, which takes a file for good if it can be unpacked: of 201
//! files with one bit turned over it took 146 for code. Here each file carries the digest of what
//! it holds, and one that does not fit is compiled anew.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What the folder may come to, in bytes; beyond, what was used longest ago goes. Code of a plugin
/// of 150 KB has 400 KB.
const MAX_FOLDER_BYTES: u64 = 512 << 20;
const EXTENSION: &str = "code";
/// While it is written.
const PARTIAL_EXTENSION: &str = "partial";
/// How each file begins; another layout begins otherwise.
const MAGIC: &[u8; 16] = b"carillon code 1\n";
const DIGEST_BYTES: usize = 32;

/// A folder of compiled code. What goes wrong with it costs time and nothing else.
pub(crate) struct CodeCache {
    folder: PathBuf,
    max_bytes: u64,
    /// What the code depends on beside the binary: the engine's version and settings, the
    /// processor, and how this crate makes components of modules.
    compiler: [u8; DIGEST_BYTES],
    files_begun: AtomicU64,
    /// The operator is told once that nothing can be written.
    complained: AtomicBool,
}

impl CodeCache {
    /// Opens a folder, or says why it is not used.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> Result<Self, String> {
        let failed = |what: String| format!("{}: {what}", folder.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(format!("the folder cannot be made: {error}")))?;
        let metadata = fs::metadata(folder)
            .map_err(|error| failed(format!("the folder cannot be read: {error}")))?;
        let owner = metadata.uid();
        let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
        // Code from here is run, so it must come from here.
        if !is_ours || metadata.mode() & 0o022 != 0 {
            return Err(failed(
                "others may write into the folder; take that right away with chmod go-w, or let the host make the folder"
                    .to_owned(),
            ));
        }
        let mut compiler = Sha256Hasher(Sha256::new());
        env!("CARGO_PKG_VERSION").hash(&mut compiler);
        engine.precompile_compatibility_hash().hash(&mut compiler);
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes: MAX_FOLDER_BYTES,
            compiler: compiler.0.finalize().into(),
            files_begun: AtomicU64::new(0),
            complained: AtomicBool::new(false),
        })
    }

    /// The code of a binary, if it is here and whole.
    pub(crate) fn get(&self, engine: &Engine, binary: &[u8]) -> Option<Component> {
        let path = self.path(binary);
        let bytes = fs::read(&path).ok()?;
        let Some(code) = whole(&bytes) else {
            warn_of_damage(&path, "its digest does not fit");
            return None;
        };
        match load(engine, code) {
            Ok(component) => {
                touch(&path);
                Some(component)
            }
            Err(error) => {
                warn_of_damage(&path, &error);
                None
            }
        }
    }

    /// Keeps the code of a binary.
    pub(crate) fn put(&self, binary: &[u8], component: &Component) {
        let written = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| {
                self.write(&self.path(binary), &code)
                    .map_err(|error| error.to_string())
            });
        match written {
            Ok(()) => self.make_room(),
            Err(error) => self.complain(&error),
        }
    }

    fn path(&self, binary: &[u8]) -> PathBuf {
        let mut key = Sha256::new();
        key.update(self.compiler);
        key.update(binary);
        let name = crate::sandbox::hex(&key.finalize());
        self.folder.join(name).with_extension(EXTENSION)
    }

    /// Under another name first: who reads meanwhile finds a whole file or none. What a power
    /// failure leaves behind does not fit its digest.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let number = self.files_begun.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let partial = path.with_extension(format!("{process}-{number}.{PARTIAL_EXTENSION}"));
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(MAGIC)?;
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            fs::rename(&partial, path)
        };
        write().inspect_err(|_| {
            // It may not even have been made.
            let _ = fs::remove_file(&partial);
        })
    }

    /// Drops what was used longest ago until the rest fits.
    fn make_room(&self) {
        let mut files = self.files();
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.used);
        for file in files {
            if total <= self.max_bytes {
                return;
            }
            // Another process may have been quicker.
            let _ = fs::remove_file(&file.path);
            total -= file.bytes;
        }
    }

    /// What this cache, of whatever version, has written.
    fn files(&self) -> Vec<File> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let files = entries.flatten().filter_map(|entry| {
            let path = entry.path();
            let extension = path.extension()?.to_str()?;
            let metadata = entry.metadata().ok()?;
            let is_ours = [EXTENSION, PARTIAL_EXTENSION].contains(&extension);
            (is_ours && metadata.is_file()).then(|| File {
                bytes: metadata.len(),
                used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                path,
            })
        });
        files.collect()
    }

    fn complain(&self, error: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                folder = %self.folder.display(),
                error,
                "compiled code cannot be kept; plugins are compiled anew at every start"
            );
        }
    }
}

struct File {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// What a file holds, if it fits its digest.
fn whole(file: &[u8]) -> Option<&[u8]> {
    let rest = file.strip_prefix(MAGIC)?;
    let (digest, code) = rest.split_at_checked(DIGEST_BYTES)?;
    (Sha256::digest(code)[..] == *digest).then_some(code)
}

#[allow(unsafe_code, reason = "the engine cannot check what it is given")]
fn load(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    // SAFETY: these are the bytes that `Component::serialize` gave: their digest was written beside
    // them in one piece and fits, and nobody but this user can write into the folder. What another
    // engine made has another key, and is refused by this one besides.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
}

/// Marks a file as used. If that fails it goes earlier than it might.
fn touch(path: &Path) {
    if let Ok(file) = fs::OpenOptions::new().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn warn_of_damage(path: &Path, error: &str) {
    tracing::warn!(
        file = %path.display(),
        error,
        "a file of compiled code is damaged; the plugin is compiled anew"
    );
}

struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest is taken instead.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    /// A component that does nothing (Component Model, Binary.md), told apart by a custom section.
    fn binary(name: u8) -> Vec<u8> {
        let empty = b"\0asm\x0d\0\x01\0".as_slice();
        [empty, &[0, 3, 1, name, 0]].concat()
    }

    #[test]
    fn beyond_its_bound_what_was_used_longest_ago_goes() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let mut cache = CodeCache::open(folder.path(), &engine).unwrap();
        let put = |cache: &CodeCache, name: u8| {
            let component = Component::new(&engine, binary(name)).unwrap();
            cache.put(&binary(name), &component);
            cache.path(&binary(name))
        };
        let [first, second] = [b'1', b'2'].map(|name| put(&cache, name));
        let another = folder.path().join("operators-notes.txt");
        fs::write(&another, vec![b'x'; 1 << 20]).unwrap();
        let hour = Duration::from_secs(3_600);
        for (path, hours) in [(&first, 2), (&second, 1)] {
            let file = fs::File::options().append(true).open(path).unwrap();
            let then = SystemTime::now() - hour * hours;
            file.set_modified(then).unwrap();
        }
        // Room for two. The first is used once more, so the second is what was used longest ago.
        assert!(cache.get(&engine, &binary(b'1')).is_some());
        cache.max_bytes = 2 * first.metadata().unwrap().len() + 100;
        let third = put(&cache, b'3');
        assert!(cache.get(&engine, &binary(b'2')).is_none());
        for kept in [first, third, another] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }
}
