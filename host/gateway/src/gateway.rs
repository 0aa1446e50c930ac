//! The gateway as a whole: its parts, its routes, its start and its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use carillon_pipeline::Operations;
use carillon_store::Store;
use carillon_web::{Claims, Problem, TokenMinter, TokenVerifier, web_face};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::admin::AdminTokens;
use crate::close::CloseCode;
use crate::config::{ConfigError, GatewayConfig};
use crate::hub::Hub;
use crate::operations::Readiness;
use crate::telemetry::Telemetry;
use crate::{admin, demo, inbox, operations, sse, websocket};

/// How long answers that are under way at a shutdown may still take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How many operators may follow logs at the same time.
const MAX_FOLLOWERS: usize = 64;

/// What a gateway is made of.
pub struct GatewayParts {
    /// Where the streams are. The gateway subscribes to it.
    pub store: Store,
    /// Says who a client is.
    pub verifier: TokenVerifier,
    /// Makes tokens for the page, when [`GatewayConfig::demo`] is on.
    pub minter: Option<TokenMinter>,
    /// Renders `/metrics`. Its recorder must be installed already.
    pub metrics: PrometheusHandle,
    /// Answers `/readyz`.
    pub readiness: Arc<dyn Readiness>,
    /// Does what operators ask for at `/admin`.
    pub operations: Operations,
    /// Says who an operator is.
    pub admin: AdminTokens,
    /// The largest plugin binary that is taken, in bytes.
    pub max_binary_bytes: usize,
}

/// The address for end users and operators.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) store: Store,
    pub(crate) verifier: TokenVerifier,
    pub(crate) hub: Arc<Hub>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) operations: Operations,
    pub(crate) admin: AdminTokens,
    pub(crate) max_binary_bytes: usize,
    pub(crate) followers: Arc<Semaphore>,
    minter: Option<TokenMinter>,
    recoveries: Semaphore,
}

/// The state of the routes.
#[derive(Clone)]
pub(crate) struct AppState(pub(crate) Arc<Shared>);

impl FromRef<AppState> for TokenVerifier {
    fn from_ref(AppState(shared): &AppState) -> Self {
        shared.verifier.clone()
    }
}

impl Shared {
    /// Checks a token that did not come in the usual header.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Problem> {
        self.verifier.verify(token).map_err(|error| {
            Problem::unauthorized(
                Some("invalid_token"),
                format!("The token was refused: {error}."),
            )
            .with_code(error.code())
        })
    }

    /// A turn to read what was missed. Who only wants to know where the streams stand
    /// needs none.
    pub(crate) async fn recovery_turn(&self, recovers: bool) -> Option<SemaphorePermit<'_>> {
        if recovers {
            self.recoveries.acquire().await.ok()
        } else {
            None
        }
    }

    /// Present if tokens may be given to everybody.
    pub(crate) fn demo_minter(&self) -> Option<&TokenMinter> {
        self.minter.as_ref().filter(|_| self.config.demo)
    }
}

impl Gateway {
    /// Puts a gateway together and subscribes it to the store, so that it hears of every
    /// commit from now on.
    ///
    /// # Errors
    /// When a value of the configuration makes no sense.
    pub fn new(config: GatewayConfig, parts: GatewayParts) -> Result<Self, ConfigError> {
        config.check()?;
        let telemetry = Arc::new(Telemetry::new());
        let hub = Arc::new(Hub::new(Arc::clone(&telemetry)));
        parts.store.subscribe(Arc::clone(&hub) as _);
        let recoveries = Semaphore::new(config.concurrent_recoveries.min(Semaphore::MAX_PERMITS));
        let GatewayParts {
            store,
            verifier,
            minter,
            metrics,
            readiness,
            operations,
            admin,
            max_binary_bytes,
        } = parts;
        let shared = Shared {
            config,
            store,
            verifier,
            hub,
            telemetry,
            metrics,
            readiness,
            operations,
            admin,
            max_binary_bytes,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            minter,
            recoveries,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The routes.
    pub fn router(&self) -> Router {
        let router = Router::new()
            .route("/connection/websocket", get(websocket::connect))
            .route("/connection/sse", get(sse::connect))
            .route("/inbox", get(inbox::list))
            .route("/metrics", get(operations::metrics))
            .route("/healthz", get(operations::alive))
            .route("/readyz", get(operations::ready))
            .route("/", get(demo::page))
            .route("/page/{file}", get(demo::file))
            .route("/demo/config", get(demo::config))
            .route("/demo/token", post(demo::token))
            .nest("/admin", admin::routes(&self.shared));
        web_face(router).with_state(AppState(Arc::clone(&self.shared)))
    }

    /// Serves until `stop` comes, then takes no new connections, closes the open ones and
    /// waits for them, at most `shutdown_timeout_ms`.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        // A push is one small write: Nagle's algorithm would hold it back.
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
        });
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let gateway = self.clone();
        let stop = async move {
            stop.await;
            // Event streams are requests that end only when the hub asks them to.
            gateway.shared.hub.close_all(CloseCode::Shutdown);
            let _ = stopping.send(());
        };
        let server = async {
            let service = self
                .router()
                .into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service)
                .with_graceful_shutdown(stop)
                .await
        };
        let patience = async {
            // The sender goes only with the server itself.
            let _ = stopped.await;
            self.shutdown().await;
        };
        tokio::pin!(server);
        tokio::select! {
            served = &mut server => {
                // A WebSocket has left its HTTP connection behind: it may still be closing.
                self.shutdown().await;
                served
            }
            () = patience => {
                // Requests that are in the middle of an answer get a moment, a client
                // that does not read its answer cannot hold up the end.
                timeout(LAST_ANSWERS, server).await.unwrap_or(Ok(()))
            }
        }
    }

    /// Closes all connections with the code that says reconnect, refuses new ones, and
    /// waits until the last one is gone, at most `shutdown_timeout_ms`.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.hub.close_all(CloseCode::Shutdown);
        let patience = Duration::from_millis(shared.config.shutdown_timeout_ms);
        if timeout(patience, shared.hub.emptied()).await.is_err() {
            tracing::warn!(
                connections = shared.hub.open(),
                "connections did not end in time and are cut"
            );
        }
    }

    /// How many clients are connected, over all transports.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.hub.open()
    }
}
