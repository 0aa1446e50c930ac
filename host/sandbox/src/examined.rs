//! A binary that has passed every check that needs no operator.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::bindings;
use crate::component::WASI;
use crate::description::check_settings;
use crate::grants::Grants;
use crate::guest::Guest;
use crate::http::{Access, HttpGrant};
use crate::log_lines::LogSink;
use crate::model::Description;
use crate::plugin::{Plugin, Ready};
use crate::refusal::Refusal;
use crate::sandbox::{Sandbox, hex};
use crate::session::Live;
use crate::tenant::Tenant;

/// A compiled binary that has described itself, without any grants yet. Cheap to clone.
#[derive(Clone)]
pub struct Examined {
    pub(crate) inner: Arc<Binary>,
}

pub(crate) struct Binary {
    pub(crate) sandbox: Sandbox,
    pub(crate) pre: bindings::PluginPre<Guest>,
    pub(crate) name: Arc<str>,
    pub(crate) description: Description,
    pub(crate) state_version: u32,
    pub(crate) sha256: String,
    pub(crate) asked: Vec<String>,
}

impl std::fmt::Debug for Examined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examined")
            .field("name", &self.inner.name)
            .field("version", &self.inner.description.version)
            .field("sha256", &self.inner.sha256)
            .finish_non_exhaustive()
    }
}

impl Examined {
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.inner.sandbox
    }

    /// The name that it gives itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Which shape of its state it writes; 0 for binaries that know of no other.
    #[must_use]
    pub fn state_version(&self) -> u32 {
        self.inner.state_version
    }

    /// The SHA-256 of the binary as it was given, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// The interfaces that it imports: what it asks for.
    #[must_use]
    pub fn asked(&self) -> &[String] {
        &self.inner.asked
    }

    /// Whether it imports an interface of the package `carillon:plugin`, by its short name: `state`,
    /// `http`.
    #[must_use]
    pub fn imports(&self, interface: &str) -> bool {
        self.inner
            .asked
            .iter()
            .any(|asked| asked.strip_prefix("carillon:plugin/") == Some(interface))
    }

    /// Whether it imports anything of WASI.
    #[must_use]
    pub fn imports_wasi(&self) -> bool {
        self.inner.asked.iter().any(|asked| asked == WASI)
    }

    /// Makes a plugin of it: its settings are complete, what it asks for is granted, and it starts
    /// under its limits. Its log lines go to `log` too.
    ///
    /// # Errors
    /// A sentence that says what is missing and where to write it.
    pub fn ready(&self, mut grants: Grants, log: Arc<dyn LogSink>) -> Result<Plugin, Refusal> {
        check_settings(self.description(), &mut grants.settings)?;
        if self.imports_wasi() && !grants.wasi {
            return Err(Refusal::Wasi {
                plugin: self.name().to_owned(),
            });
        }
        grants.limits = self.sandbox().grantable(self.name(), grants.limits);
        let tenant = Arc::new(Tenant {
            settings: grants.settings.clone(),
            http: self.way_out(&grants.http)?,
            log,
            ..Tenant::new(Arc::clone(&self.inner.name), grants.limits.clone())
        });
        self.try_limits(&tenant)?;
        Ok(Plugin {
            inner: Arc::new(Ready {
                key: self.sandbox().next_key(),
                examined: self.clone(),
                tenant,
                grants,
            }),
        })
    }

    fn way_out(&self, grant: &HttpGrant) -> Result<Option<Arc<Access>>, Refusal> {
        if !self.imports("http") {
            return Ok(None);
        }
        let access = Access::new(&self.inner.name, grant, &self.sandbox().inner.http)?;
        Ok(Some(Arc::new(access)))
    }

    /// Refuses what would fail on every event because its limits are too small for it.
    fn try_limits(&self, tenant: &Arc<Tenant>) -> Result<(), Refusal> {
        let sandbox = self.sandbox();
        let _ticking = sandbox.inner.ticker.ticking();
        Live::new(sandbox, &self.inner.pre, tenant)
            .map(drop)
            .map_err(|fault| Refusal::Limits {
                plugin: self.name().to_owned(),
                fault: fault.to_string(),
            })
    }
}

/// The SHA-256 of a binary in hexadecimal, as [`Examined::sha256`] answers it.
#[must_use]
pub fn binary_sha256(binary: &[u8]) -> String {
    hex(&Sha256::digest(binary))
}
