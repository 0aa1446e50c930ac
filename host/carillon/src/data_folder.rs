//! The data folder: who uses it, its secrets, and where its processes listen.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use carillon_gateway::AdminConfig;
use carillon_web::TokenConfig;

const ADDRESSES: &str = "addresses.json";
const ADMIN_TOKEN: &str = "admin-token";

/// The name that the folder's own admin token stands for.
const LOCAL_OPERATOR: &str = "local";

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
    let secret = secret(folder, "token-secret")?;
    Ok(TokenConfig {
        hmac_secret: Some(secret),
        ..configured.clone()
    })
}

/// Who may operate: as configured, or whoever can read the folder's own token. It is drawn on
/// first use.
pub(crate) fn admin(folder: &Path, configured: &AdminConfig) -> Result<AdminConfig> {
    if !configured.tokens.is_empty() {
        return Ok(configured.clone());
    }
    let token = secret(folder, ADMIN_TOKEN)?;
    Ok(AdminConfig {
        tokens: BTreeMap::from([(LOCAL_OPERATOR.to_owned(), token)]),
    })
}

/// The folder's own admin token, if one was drawn.
pub(crate) fn admin_token(folder: &Path) -> Result<Option<String>> {
    let path = admin_token_file(folder);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!(
                "the admin token {} cannot be read; ask whoever runs the host",
                path.display()
            )
        }),
    }
}

/// Where the folder's own admin token stands.
pub(crate) fn admin_token_file(folder: &Path) -> PathBuf {
    folder.join(ADMIN_TOKEN)
}

/// A secret of the folder; drawn if there is none yet.
fn secret(folder: &Path, name: &str) -> Result<String> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => draw_secret(&path),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
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
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(std::fs::read_to_string(path)?.trim().to_owned())
        }
        Err(error) => {
            Err(error).with_context(|| format!("the secret {} cannot be written", path.display()))
        }
    }
}

/// The folder that plugins are dropped into.
pub(crate) fn plugins(folder: &Path) -> Result<PathBuf> {
    let plugins = plugins_path(folder);
    std::fs::create_dir_all(&plugins)
        .with_context(|| format!("{} cannot be made", plugins.display()))?;
    Ok(plugins)
}

/// Where that folder is, whether it is there or not.
pub(crate) fn plugins_path(folder: &Path) -> PathBuf {
    folder.join("plugins")
}

/// Where compiled plugins are kept, so that a restart need not compile them again. Anything in
/// it may be deleted.
pub(crate) fn cache(folder: &Path) -> PathBuf {
    folder.join("cache")
}

/// Notes where `role` listens, for those who look for it.
pub(crate) fn announce(folder: &Path, role: &str, url: &str) -> Result<()> {
    change_addresses(folder, |addresses| {
        addresses.insert(role.to_owned(), url.into());
    })
}

/// Where `role` listens, or did when it ran last. `None` if it never ran here.
pub(crate) fn address(folder: &Path, role: &str) -> Result<Option<String>> {
    let path = addresses_file(folder);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let addresses: BTreeMap<String, String> = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not as it was written", path.display()))?;
    Ok(addresses.get(role).cloned())
}

/// Where the addresses stand.
pub(crate) fn addresses_file(folder: &Path) -> PathBuf {
    folder.join(ADDRESSES)
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
    let path = addresses_file(folder);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_admin_token_is_drawn_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let none = AdminConfig::default();
        assert_eq!(admin_token(folder.path()).unwrap(), None);
        let drawn = admin(folder.path(), &none).unwrap();
        drawn.check().unwrap();
        let token = drawn.tokens["local"].clone();
        assert_eq!(token.len(), 64);
        assert_eq!(admin_token(folder.path()).unwrap(), Some(token.clone()));
        assert_eq!(admin(folder.path(), &none).unwrap().tokens["local"], token);
        let mode = std::fs::metadata(admin_token_file(folder.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn configured_operators_need_no_token_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let configured = AdminConfig {
            tokens: BTreeMap::from([("ada".to_owned(), "a secret of ada's own".to_owned())]),
        };
        let operators = admin(folder.path(), &configured).unwrap();
        assert!(operators.tokens.contains_key("ada"));
        assert_eq!(admin_token(folder.path()).unwrap(), None);
    }

    #[test]
    fn an_address_is_found_by_its_role() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(address(folder.path(), "gateway").unwrap(), None);
        announce(folder.path(), "gateway", "http://127.0.0.1:1").unwrap();
        let found = address(folder.path(), "gateway").unwrap();
        assert_eq!(found.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(address(folder.path(), "booking").unwrap(), None);
        std::fs::write(addresses_file(folder.path()), "{").unwrap();
        assert!(address(folder.path(), "gateway").is_err());
    }
}
