//! A plugin that is ready to run.

use std::sync::Arc;

use crate::examined::Examined;
use crate::grants::Grants;
use crate::limits::Limits;
use crate::model::Description;
use crate::session::{Egress, Session};
use crate::tenant::Tenant;
use crate::usage::Usage;

/// An examined binary with what the operator granted to it. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<Ready>,
}

pub(crate) struct Ready {
    /// Tells its instances from those of the same binary with other grants.
    pub(crate) key: u64,
    pub(crate) examined: Examined,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) grants: Grants,
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.examined.sandbox().inner.warm.forget(self.key);
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.inner.tenant.name)
            .field("version", &self.description().version)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// The binary that it was made from.
    #[must_use]
    pub fn examined(&self) -> &Examined {
        &self.inner.examined
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.inner.tenant.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.inner.examined.description()
    }

    /// The SHA-256 of its binary, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.inner.examined.sha256()
    }

    /// The interfaces that it imports: what it asks for.
    #[must_use]
    pub fn asked(&self) -> &[String] {
        self.inner.examined.asked()
    }

    /// Whether its calls must run one after another over shared state.
    #[must_use]
    pub fn imports_state(&self) -> bool {
        self.inner.examined.imports("state")
    }

    /// Whether its calls may wait for hosts far away, so that they need threads of their own.
    #[must_use]
    pub fn imports_http(&self) -> bool {
        self.inner.examined.imports("http")
    }

    /// What it was granted: limits as far as `[sandbox]` allows, and settings with the defaults
    /// filled in.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.inner.grants
    }

    /// Its limits, of [`Plugin::grants`].
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.grants.limits
    }

    /// The highest values of all calls so far, each for itself.
    #[must_use]
    pub fn highest(&self) -> Usage {
        self.inner.tenant.highest.read()
    }

    /// The linear memory of all its living instances, warm and at work, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.inner.tenant.memory_bytes()
    }

    /// Begins to handle events on this thread. The thread needs more stack than
    /// [`SandboxConfig::stack_bytes`](crate::SandboxConfig::stack_bytes), and a call of a plugin
    /// that imports `http` holds it while a request is under way.
    #[must_use]
    pub fn session(&self, egress: Egress) -> Session<'_> {
        Session::new(self, egress)
    }
}
