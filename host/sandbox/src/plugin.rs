//! The engine, and plugins that are ready to run on it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings;
use crate::budget::Ticker;
use crate::component;
use crate::description::{check_description, check_settings};
use crate::guest::Guest;
use crate::imports;
use crate::limits::{Limits, SandboxConfig};
use crate::model::{Description, Fault};
use crate::refusal::Refusal;
use crate::session::{Live, Session};
use crate::warm::Warm;

/// The core instances, memories and tables that one component may consist of. A plugin
/// made from one core module has three core instances (itself, a shim and a fix-up), one
/// memory and two tables.
const CORE_INSTANCES_PER_COMPONENT: u32 = 12;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 6;

/// The engine that all plugins run on. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) warm: Warm,
    linker: wasmtime::component::Linker<Guest>,
    config: SandboxConfig,
    next_plugin: AtomicU64,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A compiled plugin with its settings and limits. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<Compiled>,
}

pub(crate) struct Compiled {
    pub(crate) key: u64,
    pub(crate) sandbox: Sandbox,
    pub(crate) pre: bindings::PluginPre<Guest>,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) settings: Arc<HashMap<String, String>>,
    description: Description,
    sha256: String,
    asked: Vec<String>,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        self.sandbox.inner.warm.forget(self.key);
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.inner.name)
            .field("version", &self.inner.description.version)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// When the platform has no room for the pool, in the engine's own words.
    pub fn new(config: SandboxConfig) -> Result<Self, String> {
        let failed = |what: &str, error: String| {
            format!(
                "the plugin engine could not be started ({what}): {error}; lower sandbox.max_instances or sandbox.max_memory_bytes"
            )
        };
        let engine = Engine::new(&engine_config(&config))
            .map_err(|error| failed("engine", format!("{error:#}")))?;
        let linker =
            imports::linker(&engine).map_err(|error| failed("imports", format!("{error:#}")))?;
        let ticker = Ticker::start({
            let engine = engine.clone();
            move || engine.increment_epoch()
        })
        .map_err(|error| failed("ticker", error.to_string()))?;
        let warm = Warm::new(config.max_warm_instances, config.max_warm_memory_bytes);
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                ticker,
                warm,
                linker,
                config,
                next_plugin: AtomicU64::new(1),
            }),
        })
    }

    /// Checks, compiles and describes a binary, with what `configured` gives for the plugin's
    /// name: its limits and its settings.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub fn load(
        &self,
        bytes: &[u8],
        configured: impl FnOnce(&str) -> (Limits, HashMap<String, String>),
    ) -> Result<Plugin, Refusal> {
        let component = component::compile(
            &self.inner.engine,
            bytes,
            self.inner.config.max_binary_bytes,
        )?;
        let asked = component::asked(&self.inner.engine, &component);
        let wrong = |error: wasmtime::Error| Refusal::WrongTypes(format!("{error:#}"));
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .map_err(wrong)?;
        let pre = bindings::PluginPre::new(pre).map_err(wrong)?;
        let description = self.describe(&pre)?;
        let (limits, mut settings) = configured(&description.name);
        check_settings(&description, &mut settings)?;
        let name: Arc<str> = description.name.as_str().into();
        let limits = Arc::new(self.grantable(&name, limits));
        let settings = Arc::new(settings);
        self.try_limits(&pre, &name, &limits, &settings)?;
        Ok(Plugin {
            inner: Arc::new(Compiled {
                key: self.inner.next_plugin.fetch_add(1, Ordering::Relaxed),
                sandbox: self.clone(),
                pre,
                name,
                limits,
                settings,
                description,
                sha256: hex(&Sha256::digest(bytes)),
                asked,
            }),
        })
    }

    /// The pool has room for no more than the largest grants.
    fn grantable(&self, plugin: &str, mut limits: Limits) -> Limits {
        let SandboxConfig {
            max_memory_bytes,
            max_table_elements,
            ..
        } = self.inner.config;
        if limits.memory_bytes > max_memory_bytes || limits.table_elements > max_table_elements {
            tracing::warn!(
                plugin,
                memory_bytes = limits.memory_bytes,
                max_memory_bytes,
                table_elements = limits.table_elements,
                max_table_elements,
                "the plugin's limits are lowered to the largest that [sandbox] grants"
            );
        }
        limits.memory_bytes = limits.memory_bytes.min(max_memory_bytes);
        limits.table_elements = limits.table_elements.min(max_table_elements);
        limits
    }

    fn describe(&self, pre: &bindings::PluginPre<Guest>) -> Result<Description, Refusal> {
        let name: Arc<str> = "unnamed".into();
        let limits = Arc::new(self.grantable(&name, Limits::default()));
        let failed = |fault: Fault| Refusal::Describe(fault.to_string());
        // Before the instance is made: what runs at its start is the guest's code, too.
        let _ticking = self.inner.ticker.ticking();
        let mut live = Live::new(self, pre, &name, &limits, &Arc::default()).map_err(failed)?;
        check_description(live.describe().map_err(failed)?)
    }

    /// Refuses what would fail on every event because its limits are too small for it.
    fn try_limits(
        &self,
        pre: &bindings::PluginPre<Guest>,
        name: &Arc<str>,
        limits: &Arc<Limits>,
        settings: &Arc<HashMap<String, String>>,
    ) -> Result<(), Refusal> {
        let _ticking = self.inner.ticker.ticking();
        Live::new(self, pre, name, limits, settings)
            .map(drop)
            .map_err(|fault| Refusal::Limits {
                plugin: name.to_string(),
                fault: fault.to_string(),
            })
    }
}

impl Plugin {
    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// The SHA-256 of its binary, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// The interfaces that it imports: what it asks for.
    #[must_use]
    pub fn asked(&self) -> &[String] {
        &self.inner.asked
    }

    /// Whether its calls must run one after another over shared state.
    #[must_use]
    pub fn imports_state(&self) -> bool {
        self.inner
            .asked
            .iter()
            .any(|interface| interface == "carillon:plugin/state")
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Begins to handle events on this thread. The thread needs more stack than
    /// [`SandboxConfig::stack_bytes`].
    #[must_use]
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }
}

fn engine_config(config: &SandboxConfig) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    let components = config.max_instances;
    pool.total_component_instances(components)
        .total_core_instances(components.saturating_mul(4))
        .total_memories(components)
        .total_tables(components.saturating_mul(3))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(config.max_memory_bytes)
        .table_elements(config.max_table_elements)
        // What a fresh instance touches first stays resident between uses.
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10);
    let mut engine = Config::new();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_bytes)
        // The same event gives the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8))
        .generate_address_map(false);
    engine
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
