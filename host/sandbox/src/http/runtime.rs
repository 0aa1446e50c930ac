//! What requests run on, and who is asked for addresses.
//!
//! A thread that runs a plugin waits while a request of the plugin is under way: the exchange runs
//! here, on a small runtime of the sandbox's own. The engine's fibers would set that thread free, for
//! the price of a second stack for each call and a lane whose calls are no longer one after another;
//! threads that do nothing but wait are the cheaper thing, and plugins that import `http` have
//! their own, so that they make no others wait. On this runtime, too, TLS costs processor time
//! that is not counted as the guest's.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

/// Threads that drive exchanges; they only wait and encrypt.
const THREADS: usize = 1;
/// Look-ups by the system that run at once. One that hangs holds its thread until the system gives
/// up.
const MAX_SYSTEM_LOOKUPS: usize = 16;
/// How long one name server is waited for.
const NAMESERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Started when the first plugin that imports `http` is made ready.
pub(crate) struct HttpRuntime {
    nameservers: Vec<SocketAddr>,
    started: Mutex<Option<Started>>,
}

struct Started {
    runtime: Runtime,
    lookup: Arc<Lookup>,
}

/// Who is asked for the addresses of a name.
pub(super) enum Lookup {
    /// The system, by its own rules, which may change while the host runs; so many at a time.
    System(Arc<Semaphore>),
    /// These name servers and nobody else.
    Nameservers(Box<TokioResolver>),
}

impl HttpRuntime {
    pub(crate) fn new(nameservers: Vec<SocketAddr>) -> Self {
        Self {
            nameservers,
            started: Mutex::default(),
        }
    }

    pub(super) fn start(&self) -> Result<(Handle, Arc<Lookup>), String> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Started { runtime, lookup }) = &*started {
            return Ok((runtime.handle().clone(), Arc::clone(lookup)));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(MAX_SYSTEM_LOOKUPS)
            .thread_name("plugin-http")
            .enable_all()
            .build()
            .map_err(|error| format!("its threads cannot be started: {error}"))?;
        let lookup = Arc::new(Lookup::new(&self.nameservers)?);
        let handle = runtime.handle().clone();
        *started = Some(Started {
            runtime,
            lookup: Arc::clone(&lookup),
        });
        Ok((handle, lookup))
    }
}

impl Drop for HttpRuntime {
    fn drop(&mut self) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Started { runtime, .. }) = started.take() {
            // Without waiting, which is not allowed on an executor's thread.
            runtime.shutdown_background();
        }
    }
}

impl Lookup {
    fn new(nameservers: &[SocketAddr]) -> Result<Self, String> {
        if nameservers.is_empty() {
            return Ok(Self::System(Arc::new(Semaphore::new(MAX_SYSTEM_LOOKUPS))));
        }
        let servers = nameservers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        // Each dial asks: an answer that is kept is one more thing that could be wrong.
        options.cache_size = 0;
        options.timeout = NAMESERVER_TIMEOUT;
        options.use_hosts_file = ResolveHosts::Never;
        let resolver = builder
            .build()
            .map_err(|error| format!("sandbox.nameservers cannot be used: {error}"))?;
        Ok(Self::Nameservers(Box::new(resolver)))
    }

    /// The addresses of a name, as they are at this moment.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match self {
            Self::System(slots) => ask_system(Arc::clone(slots), name.to_owned()).await,
            Self::Nameservers(resolver) => {
                let found = resolver.lookup_ip(name).await;
                let found = found.map_err(|error| error.to_string())?;
                Ok(found.iter().collect())
            }
        }
    }
}

/// The system's look-up cannot be called off. Whoever asks waits for one of the slots, so that those
/// that hang do not pile up.
async fn ask_system(slots: Arc<Semaphore>, name: String) -> Result<Vec<IpAddr>, String> {
    let stopped = |_| "the host is about to stop".to_owned();
    let slot = slots.acquire_owned().await.map_err(stopped)?;
    let look_up = move || {
        let _held_until_it_is_over = slot;
        let found = (name.as_str(), 0).to_socket_addrs();
        found.map(|found| found.map(|address| address.ip()).collect())
    };
    match tokio::task::spawn_blocking(look_up).await {
        Ok(found) => found.map_err(|error: std::io::Error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
