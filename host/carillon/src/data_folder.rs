//! The data folder: who uses it, its secret, and where its processes listen.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use carillon_web::TokenConfig;

const ADDRESSES: &str = "addresses.json";

/// Held as long as the process runs; the system lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code)] File);

/// Makes the folder and claims it for `role`.
pub(crate) fn claim(folder: &Path, role: &str) -> Result<Lock> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let path = folder.join(format!("{role}.lock"));
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "another carillon uses the data folder {} ({role}); stop it, or give this one a folder of its own with --data",
            folder.display()
        );
    }
    forget_address(folder, role)?;
    Ok(Lock(file))
}

/// The token settings, with the folder's own secret where none are configured. It is drawn on
/// first use.
pub(crate) fn tokens(folder: &Path, configured: &TokenConfig) -> Result<TokenConfig> {
    if configured.hmac_secret.is_some() || configured.jwks_file.is_some() {
        return Ok(configured.clone());
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let path = folder.join("token-secret");
    let secret = match std::fs::read_to_string(&path) {
        Ok(secret) => secret.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => draw_secret(&path)?,
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    Ok(TokenConfig {
        hmac_secret: Some(secret),
        ..configured.clone()
    })
}

fn draw_secret(path: &Path) -> Result<String> {
    let secret = format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    );
    let written = OpenOptions::new()
        .create_new(true)
        .write(true)
        // Whoever reads it can be anybody.
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(secret.as_bytes())
                .and_then(|()| file.sync_all())
        });
    match written {
        Ok(()) => Ok(secret),
        // Another process was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Ok(std::fs::read_to_string(path)?.trim().to_owned())
        }
        Err(error) => {
            Err(error).with_context(|| format!("the secret {} cannot be written", path.display()))
        }
    }
}

/// The plugin files of the folder, by name.
pub(crate) fn plugin_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins)
        .with_context(|| format!("{} cannot be made", plugins.display()))?;
    let entries = std::fs::read_dir(&plugins)
        .with_context(|| format!("{} cannot be read", plugins.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Notes where `role` listens, for those who look for it.
pub(crate) fn announce(folder: &Path, role: &str, url: &str) -> Result<()> {
    change_addresses(folder, |addresses| {
        addresses.insert(role.to_owned(), url.into());
    })
}

fn forget_address(folder: &Path, role: &str) -> Result<()> {
    change_addresses(folder, |addresses| {
        addresses.remove(role);
    })
}

fn change_addresses(
    folder: &Path,
    change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> Result<()> {
    let path = folder.join(ADDRESSES);
    let mut addresses = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    change(&mut addresses);
    // Renamed into place: a reader sees all of it or the old one.
    let fresh = folder.join(format!("{ADDRESSES}.{}", std::process::id()));
    std::fs::write(&fresh, serde_json::to_vec(&addresses)?)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .with_context(|| format!("{} cannot be written", path.display()))
}
