//! The engine that all plugins run on.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{Component, InstancePre};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings;
use crate::budget::Ticker;
use crate::code_cache::CodeCache;
use crate::component;
use crate::description::check_description;
use crate::examined::{Binary, Examined, binary_sha256};
use crate::guest::Guest;
use crate::http::HttpRuntime;
use crate::imports;
use crate::limits::{Limits, SandboxConfig};
use crate::model::{Description, Fault};
use crate::refusal::Refusal;
use crate::session::{Live, state_version};
use crate::tenant::Tenant;
use crate::warm::Warm;
use crate::wasi;

/// The core instances, memories and tables that one component may consist of. A plugin
/// made from one core module has three core instances (itself, a shim and a fix-up), one
/// memory and two tables; one with a Python in it has fourteen instances.
const CORE_INSTANCES_PER_COMPONENT: u32 = 32;
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
    pub(crate) http: HttpRuntime,
    code_cache: Option<CodeCache>,
    linker: wasmtime::component::Linker<Guest>,
    config: SandboxConfig,
    next_key: AtomicU64,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// The largest binary that is examined, in bytes.
    #[must_use]
    pub fn max_binary_bytes(&self) -> usize {
        self.inner.config.max_binary_bytes
    }

    /// Starts the engine and its ticker. `cache` is a folder for compiled code, so that a binary is
    /// compiled once and not at every start. Whoever can write into it can run code in this
    /// process; a folder that cannot be used is told of once, and costs time and nothing else.
    ///
    /// # Errors
    /// When the platform has no room for the pool, in the engine's own words.
    pub fn new(config: SandboxConfig, cache: Option<&Path>) -> Result<Self, String> {
        let failed = |what: &str, error: String| {
            format!(
                "the plugin engine could not be started ({what}): {error}; lower sandbox.max_instances or sandbox.max_memory_bytes"
            )
        };
        let engine = Engine::new(&engine_config(&config))
            .map_err(|error| failed("engine", format!("{error:#}")))?;
        let code_cache = cache.and_then(|folder| open_cache(folder, &engine));
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
                http: HttpRuntime::new(config.nameservers.clone()),
                code_cache,
                linker,
                config,
                next_key: AtomicU64::new(1),
            }),
        })
    }

    /// Checks and compiles a binary and lets it describe itself: its size, whether it is whole, the
    /// interface that it was made for, what it imports, and what it says of itself.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub fn examine(&self, bytes: &[u8]) -> Result<Examined, Refusal> {
        let component = component::compile(
            &self.inner.engine,
            self.inner.code_cache.as_ref(),
            bytes,
            self.inner.config.max_binary_bytes,
        )?;
        let asked = component::asked(&self.inner.engine, &component);
        let wrong = |error: wasmtime::Error| Refusal::WrongTypes(format!("{error:#}"));
        let pre = self.linked(&component, &asked).map_err(wrong)?;
        let pre = bindings::PluginPre::new(pre).map_err(wrong)?;
        let (description, state_version) = self.describe(&pre)?;
        Ok(Examined {
            inner: Arc::new(Binary {
                sandbox: self.clone(),
                pre,
                name: description.name.as_str().into(),
                description,
                state_version,
                sha256: binary_sha256(bytes),
                asked,
            }),
        })
    }

    /// A component with what it imports. Its system is made for it, since it names the patch of
    /// WASI that it was built with.
    fn linked(
        &self,
        component: &Component,
        asked: &[String],
    ) -> wasmtime::Result<InstancePre<Guest>> {
        let linker = &self.inner.linker;
        if !asked.iter().any(|asked| asked == component::WASI) {
            return linker.instantiate_pre(component);
        }
        let mut linker = linker.clone();
        wasi::add_to_linker(&mut linker, component)?;
        linker.instantiate_pre(component)
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.inner.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// The pool has room for no more than the largest grants.
    pub(crate) fn grantable(&self, plugin: &str, mut limits: Limits) -> Limits {
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

    /// What a binary says of itself, and which shape of its state it writes. Its grants are found by
    /// the name that it says, so here it has as much room as any plugin can be granted.
    fn describe(&self, pre: &bindings::PluginPre<Guest>) -> Result<(Description, u32), Refusal> {
        let limits = Limits {
            memory_bytes: self.inner.config.max_memory_bytes,
            table_elements: self.inner.config.max_table_elements,
            ..Limits::default()
        };
        let tenant = Arc::new(Tenant::new("unnamed".into(), limits));
        let failed = |fault: Fault| Refusal::Describe(fault.to_string());
        // Before the instance is made: what runs at its start is the guest's code, too.
        let _ticking = self.inner.ticker.ticking();
        let mut live = Live::new(self, pre, &tenant).map_err(failed)?;
        let description = check_description(live.describe().map_err(failed)?)?;
        drop(live);
        let state_version = state_version(self, pre, &tenant)?;
        Ok((description, state_version))
    }
}

fn open_cache(folder: &Path, engine: &Engine) -> Option<CodeCache> {
    CodeCache::open(folder, engine)
        .inspect_err(|error| {
            tracing::warn!(
                error,
                "compiled code is not kept; plugins are compiled anew at every start"
            );
        })
        .ok()
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
