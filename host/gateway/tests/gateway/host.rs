//! A gateway over a store in a temporary folder.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carillon_bus::{Cluster, ConsumerConfig};
use carillon_gateway::{AdminConfig, AdminTokens, Gateway, GatewayConfig, GatewayParts};
use carillon_pipeline::{Pipeline, PipelineConfig, PipelineParts, TrustConfig};
use carillon_sandbox::{Sandbox, SandboxConfig};
use carillon_store::{
    CursorMove, Effect, Lane, LogId, NewNotification, NewWithdrawal, NotificationId, PluginId,
    Priority, Share, Source, Store, StoreConfig, VersionId,
};
use carillon_web::{TokenConfig, TokenMinter, TokenVerifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

/// Longer than anything here may take; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: &str = "a secret for tests that is long enough to be one";

/// The admin token of the operator `ada`.
pub(crate) const ADMIN_TOKEN: &str = "a-secret-of-ada's-own";

/// The largest plugin that is taken: more than the guests have, and soon sent.
pub(crate) const MAX_BINARY_BYTES: usize = 512 << 10;

const NOW_MS: i64 = 1_755_600_000_000;

pub(crate) struct Host {
    pub(crate) store: Store,
    pub(crate) gateway: Gateway,
    pub(crate) addr: SocketAddr,
    pub(crate) minter: TokenMinter,
    pub(crate) cluster: Cluster,
    /// Does not run until a test starts it.
    pub(crate) pipeline: Pipeline,
    log: LogId,
    plugin: PluginId,
    version: VersionId,
    next: Mutex<i64>,
    faults: Arc<std::sync::Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(GatewayConfig::default(), StoreConfig::default()).await
    }

    pub(crate) async fn with(config: GatewayConfig, store_config: StoreConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store_config).await.unwrap();
        let log = store
            .log("cluster", "booking-events", NOW_MS)
            .await
            .unwrap();
        let plugin = store.plugin("booking-updates").await.unwrap();
        let version = store
            .plugin_version(plugin, "1.0.0", "aa", NOW_MS)
            .await
            .unwrap();
        let tokens = TokenConfig {
            hmac_secret: Some(SECRET.to_owned()),
            ..TokenConfig::default()
        };
        let minter = TokenMinter::from_config(&tokens).unwrap().unwrap();
        let faults = Arc::new(std::sync::Mutex::new(Vec::new()));
        let asked = Arc::clone(&faults);
        let cluster = Cluster::embedded().unwrap();
        let pipeline = pipeline(&store, &cluster);
        let admin = AdminConfig {
            tokens: BTreeMap::from([("ada".to_owned(), ADMIN_TOKEN.to_owned())]),
        };
        let parts = GatewayParts {
            store: store.clone(),
            verifier: TokenVerifier::new(&tokens).unwrap(),
            minter: Some(minter.clone()),
            metrics: metrics(),
            readiness: Arc::new(move || asked.lock().unwrap().clone()),
            operations: pipeline.operations(),
            admin: AdminTokens::new(&admin).unwrap(),
            max_binary_bytes: MAX_BINARY_BYTES,
        };
        let gateway = Gateway::new(config, parts).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = gateway.clone();
        let server = tokio::spawn(async move {
            serving
                .serve(listener, async { stopped.await.unwrap_or(()) })
                .await
                .unwrap();
        });
        Self {
            store,
            gateway,
            addr,
            minter,
            cluster,
            pipeline,
            log,
            plugin,
            version,
            next: Mutex::new(0),
            faults,
            stop: Some(stop),
            server,
            _folder: folder,
        }
    }

    pub(crate) fn token(&self, user: &str, groups: &[&str]) -> String {
        self.token_for(user, groups, Duration::from_secs(600))
    }

    pub(crate) fn token_for(&self, user: &str, groups: &[&str], ttl: Duration) -> String {
        let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        self.minter.mint(user, &groups, &[], ttl).unwrap()
    }

    /// A token with any claims.
    pub(crate) fn signed(&self, claims: &Value) -> String {
        jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap()
    }

    /// From now on `/readyz` says no.
    pub(crate) fn not_ready(&self, reason: &str) {
        self.faults.lock().unwrap().push(reason.to_owned());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Commits `count` notifications to a stream, one transaction for all.
    pub(crate) async fn notify(&self, stream: &str, count: usize) {
        self.notify_with(stream, count, "Your booking is confirmed.", None)
            .await;
    }

    pub(crate) async fn notify_with(
        &self,
        stream: &str,
        count: usize,
        body: &str,
        data: Option<&str>,
    ) {
        self.commit(|this, first| {
            (0..count)
                .map(|n| {
                    Effect::Notify(Box::new(this.notification(
                        stream,
                        &format!("event-{first}-{n}"),
                        body,
                        data,
                    )))
                })
                .collect()
        })
        .await;
    }

    /// Commits one notification that can be taken back.
    pub(crate) async fn notify_keyed(&self, stream: &str, collapse_key: &str) {
        self.commit(|this, first| {
            let mut new = this.notification(
                stream,
                &format!("event-{first}"),
                "Your booking is confirmed.",
                None,
            );
            new.collapse_key = Some(collapse_key.to_owned());
            vec![Effect::Notify(Box::new(new))]
        })
        .await;
    }

    /// Takes back what was sent under the key.
    pub(crate) async fn withdraw(&self, stream: &str, collapse_key: &str) {
        self.commit(|this, first| {
            let event_id = format!("event-{first}");
            vec![Effect::Withdraw(Box::new(NewWithdrawal {
                id: NotificationId::derive(
                    NOW_MS,
                    &event_id,
                    "booking-updates",
                    stream,
                    "",
                    Some(collapse_key),
                    0,
                ),
                stream: stream.into(),
                plugin: this.plugin,
                plugin_name: "booking-updates".into(),
                version: this.version,
                event_id,
                kind: "booking.cancelled".to_owned(),
                source: this.source(first),
                collapse_key: collapse_key.to_owned(),
                correlation_id: None,
            }))]
        })
        .await;
    }

    async fn commit(&self, effects: impl FnOnce(&Self, i64) -> Vec<Effect>) {
        let mut next = self.next.lock().await;
        let first = *next;
        let mut share = Share::moving(CursorMove {
            log: self.log,
            partition: 0,
            lane: Lane::Head,
            expected: (first > 0).then_some(first),
            next: first + 1,
            logged_at_ms: NOW_MS,
            retry: None,
        });
        share.effects = effects(self, first);
        self.store.commit(&[share]).await.remove(0).unwrap();
        *next = first + 1;
    }

    fn source(&self, offset: i64) -> Source {
        Source {
            log: self.log,
            partition: 0,
            offset,
            logged_at_ms: NOW_MS,
        }
    }

    fn notification(
        &self,
        stream: &str,
        event_id: &str,
        body: &str,
        data: Option<&str>,
    ) -> NewNotification {
        NewNotification {
            id: NotificationId::derive(
                NOW_MS,
                event_id,
                "booking-updates",
                stream,
                "booking",
                None,
                0,
            ),
            stream: stream.into(),
            plugin: self.plugin,
            plugin_name: "booking-updates".into(),
            version: self.version,
            event_id: event_id.to_owned(),
            kind: "booking.confirmed".to_owned(),
            source: self.source(0),
            category: "booking".to_owned(),
            title: "Confirmed".to_owned(),
            body: body.to_owned(),
            data: data.map(|data| RawValue::from_string(data.to_owned()).unwrap()),
            link: None,
            channels: None,
            priority: Priority::Normal,
            collapse_key: None,
            deliver_at_ms: None,
            expires_at_ms: None,
            digest_key: None,
            digest_window_ms: None,
            correlation_id: None,
        }
    }

    /// Waits until this many clients are connected.
    pub(crate) async fn connections(&self, wanted: usize) {
        eventually("the number of connections", || {
            self.gateway.connections() == wanted
        })
        .await;
    }

    /// Stops as the binary does: the lanes first, then serving; and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.pipeline.stop().await;
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.server)
            .await
            .expect("the server ends")
            .unwrap();
    }
}

fn pipeline(store: &Store, cluster: &Cluster) -> Pipeline {
    let sandbox = SandboxConfig {
        max_instances: 20,
        ..SandboxConfig::default()
    };
    Pipeline::new(PipelineParts {
        store: store.clone(),
        cluster: cluster.clone(),
        sandbox: Sandbox::new(sandbox, None).unwrap(),
        consumer: ConsumerConfig::default(),
        config: PipelineConfig::default(),
        plugins: HashMap::new(),
        trust: TrustConfig::default(),
        watch: None,
    })
    .unwrap()
}

/// The recorder of the process, which all tests share.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
        .clone()
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
