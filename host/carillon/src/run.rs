//! Putting the parts together and taking them apart again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use carillon_booking::{Booking, RelaySettings, Surroundings};
use carillon_bus::{Cluster, ConsumerConfig, Producer};
use carillon_delivery::run_schedule;
use carillon_gateway::{AdminTokens, Gateway, GatewayParts};
use carillon_pipeline::{Pipeline, PipelineParts};
use carillon_sandbox::Sandbox;
use carillon_store::Store;
use carillon_web::{TokenConfig, TokenMinter, TokenVerifier};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::arguments::{BookingOptions, HostOptions, LogFormat, RunOptions};
use crate::configuration::{self, Configuration};
use crate::data_folder;
use crate::serving::{announce, listen, stop_signal, stopped};
use crate::telemetry;

const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How long records that were handed to the producer may take once the process stops.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// `carillon run`.
pub(crate) fn everything(options: &RunOptions) -> Result<()> {
    let mut configuration = configuration::read(&options.common)?;
    let servers = configuration::servers(&configuration)?.to_vec();
    configuration.gateway.demo |= options.demo;
    let folder = &options.common.data;
    in_runtime(options.logging.log_format, async |metrics| {
        let _claims = (
            data_folder::claim(folder, "gateway")?,
            data_folder::claim(folder, "booking")?,
        );
        let stop = stop_signal()?;
        let tokens = data_folder::tokens(folder, &configuration.tokens)?;
        let gateway_listener = listen(options.gateway.gateway_addr, "--gateway-addr").await?;
        let booking_listener = listen(options.booking.booking_addr, "--booking-addr").await?;
        let (gateway_at, booking_at) = (
            gateway_listener.local_addr()?,
            booking_listener.local_addr()?,
        );
        introduce(&mut configuration, gateway_at, booking_at);

        let cluster = if servers.is_empty() {
            Cluster::embedded()?
        } else {
            Cluster::servers(&servers)
        };
        let host =
            HostParts::start(&configuration, folder, cluster.clone(), &tokens, &metrics).await?;
        let booking = BookingParts::start(
            &configuration,
            folder,
            &cluster,
            &tokens,
            &metrics,
            options.demo,
        )
        .await?;
        announce(folder, "booking", "booking API", &booking_listener)?;
        let page = announce(folder, "gateway", "gateway", &gateway_listener)?;
        if options.demo {
            println!("\nOpen {page} to book a room and see the push arrive.");
        }
        let serving = tokio::spawn(booking.serve(booking_listener, stop.clone()));
        let served = host.serve(gateway_listener, stop.clone()).await;
        serving.await??;
        served
    })
}

/// Tells each of the two services where the other is. Behind a proxy browsers reach the booking API
/// elsewhere, which only the operator knows.
fn introduce(configuration: &mut Configuration, gateway_at: SocketAddr, booking_at: SocketAddr) {
    configuration
        .gateway
        .booking_url
        .get_or_insert_with(|| format!("http://{booking_at}"));
    configuration
        .booking_service
        .allowed_origins
        .push(format!("http://{gateway_at}"));
}

/// `carillon host`.
pub(crate) fn host(options: &HostOptions) -> Result<()> {
    let configuration = configuration::read(&options.common)?;
    let servers = &configuration.notification_service.kafka.bootstrap_servers;
    let cluster = servers_of_its_own(servers, "notification_service", "host")?;
    let folder = &options.common.data;
    in_runtime(options.logging.log_format, async |metrics| {
        let _claim = data_folder::claim(folder, "gateway")?;
        let stop = stop_signal()?;
        let tokens = data_folder::tokens(folder, &configuration.tokens)?;
        let listener = listen(options.gateway.gateway_addr, "--gateway-addr").await?;
        let host = HostParts::start(&configuration, folder, cluster, &tokens, &metrics).await?;
        announce(folder, "gateway", "gateway", &listener)?;
        host.serve(listener, stop).await
    })
}

/// `carillon booking`.
pub(crate) fn booking(options: &BookingOptions) -> Result<()> {
    let configuration = configuration::read(&options.common)?;
    let servers = &configuration.booking_service.kafka.bootstrap_servers;
    let cluster = servers_of_its_own(servers, "booking_service", "booking")?;
    let folder = &options.common.data;
    in_runtime(options.logging.log_format, async |metrics| {
        let _claim = data_folder::claim(folder, "booking")?;
        let stop = stop_signal()?;
        let tokens = data_folder::tokens(folder, &configuration.tokens)?;
        let listener = listen(options.booking.booking_addr, "--booking-addr").await?;
        let booking = BookingParts::start(
            &configuration,
            folder,
            &cluster,
            &tokens,
            &metrics,
            options.demo,
        )
        .await?;
        announce(folder, "booking", "booking API", &listener)?;
        booking.serve(listener, stop).await
    })
}

fn servers_of_its_own(servers: &[String], section: &str, command: &str) -> Result<Cluster> {
    if servers.is_empty() {
        bail!(
            "`carillon {command}` needs a Kafka: set {section}.kafka.bootstrap_servers in a file and give it with --config; without a Kafka, `carillon run` carries everything in one process"
        );
    }
    Ok(Cluster::servers(servers))
}

fn in_runtime(
    format: LogFormat,
    work: impl AsyncFnOnce(PrometheusHandle) -> Result<()>,
) -> Result<()> {
    telemetry::log(format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let metrics = telemetry::metrics()?;
    let upkeep = metrics.clone();
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let done = runtime.block_on(work(metrics));
    // What still blocks after the drain holds nothing that is not stored.
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}

/// The host: store, plugins, lanes, gateway.
struct HostParts {
    store: Store,
    pipeline: Pipeline,
    gateway: Gateway,
}

impl HostParts {
    async fn start(
        configuration: &Configuration,
        folder: &Path,
        cluster: Cluster,
        tokens: &TokenConfig,
        metrics: &PrometheusHandle,
    ) -> Result<Self> {
        let store = Store::open(folder, configuration.store.clone()).await?;
        let cache = data_folder::cache(folder);
        let sandbox = Sandbox::new(configuration.sandbox.clone(), Some(&cache))
            .map_err(anyhow::Error::msg)?;
        let watch = (data_folder::plugins(folder)?, configuration.watch.clone());
        let mut pipeline = Pipeline::new(PipelineParts {
            store: store.clone(),
            cluster,
            sandbox,
            consumer: configuration.notification_service.kafka.clone(),
            config: configuration.pipeline.clone(),
            plugins: configuration.plugins.clone(),
            trust: configuration.trust.clone(),
            watch: Some(watch).filter(|(_, watch)| watch.enabled),
        })?;
        let admin = data_folder::admin(folder, &configuration.admin)?;
        // Before the first event, so that no push is missed.
        let gateway = Gateway::new(
            configuration.gateway.clone(),
            GatewayParts {
                store: store.clone(),
                verifier: TokenVerifier::new(tokens)?,
                minter: TokenMinter::from_config(tokens)?,
                metrics: metrics.clone(),
                readiness: Arc::new(readiness(pipeline.readiness())),
                operations: pipeline.operations(),
                admin: AdminTokens::new(&admin)?,
                max_binary_bytes: configuration.sandbox.max_binary_bytes,
            },
        )?;
        pipeline.start().await?;
        Ok(Self {
            store,
            pipeline,
            gateway,
        })
    }

    /// Serves until told to stop; then lanes drain first, so that what they decide is still
    /// pushed, and connections are closed after that.
    async fn serve(mut self, listener: TcpListener, stop: watch::Receiver<bool>) -> Result<()> {
        let schedule = tokio::spawn(run_schedule(self.store.clone()));
        let maintained = self.store.clone();
        let maintenance = tokio::spawn(async move { maintained.run_maintenance().await });
        let (drained, after_drain) = watch::channel(false);
        let gateway = self.gateway.clone();
        let serving =
            tokio::spawn(async move { gateway.serve(listener, stopped(after_drain)).await });
        stopped(stop).await;
        self.pipeline.stop().await;
        for task in [schedule, maintenance] {
            task.abort();
        }
        drained.send_replace(true);
        serving.await??;
        tracing::info!("the host has stopped");
        Ok(())
    }
}

fn readiness(
    pipeline: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> impl Fn() -> Vec<String> + Send + Sync {
    move || pipeline().err().into_iter().collect()
}

/// The booking API, its relay and its sweeper.
struct BookingParts {
    booking: Booking,
    surroundings: Surroundings,
    producer: Producer,
    relay: JoinHandle<()>,
    sweeper: JoinHandle<()>,
    /// Stops both.
    stop_work: watch::Sender<bool>,
}

impl BookingParts {
    async fn start(
        configuration: &Configuration,
        folder: &Path,
        cluster: &Cluster,
        tokens: &TokenConfig,
        metrics: &PrometheusHandle,
        demo: bool,
    ) -> Result<Self> {
        let config = configuration.booking_service.clone();
        let topics = config.kafka.topics.all();
        // With its own properties: this process may know nothing of the other service's.
        let client = ConsumerConfig {
            properties: config.kafka.properties.clone(),
            ..ConsumerConfig::default()
        };
        cluster.ensure_topics(&client, &topics).await?;
        let producer = Producer::new(cluster, &config.kafka)?;
        let booking = Booking::open(folder, config).await?;
        if demo && booking.seed_demo().await? {
            tracing::info!("filled the empty store with rooms and users to try");
        }
        let (stop_work, work_stops) = watch::channel(false);
        let sweeper = tokio::spawn(booking.sweeper(work_stops.clone()));
        let relay =
            tokio::spawn(booking.relay(producer.clone(), RelaySettings::default(), work_stops));
        let surroundings = Surroundings {
            tokens: Some(TokenVerifier::new(tokens)?),
            metrics: Some(metrics.clone()),
        };
        Ok(Self {
            booking,
            surroundings,
            producer,
            relay,
            sweeper,
            stop_work,
        })
    }

    /// Serves until told to stop. What the outbox still holds then is sent after the next start.
    async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) -> Result<()> {
        let served = self
            .booking
            .serve(listener, self.surroundings, stopped(stop))
            .await;
        self.stop_work.send_replace(true);
        self.sweeper.await?;
        self.relay.await?;
        let producer = self.producer;
        tokio::task::spawn_blocking(move || producer.flush(FLUSH_PATIENCE)).await?;
        tracing::info!("the booking API has stopped");
        Ok(served?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_url_that_the_operator_gives_stays() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut configuration = Configuration::default();
        introduce(&mut configuration, at(1), at(2));
        let url = configuration.gateway.booking_url.as_deref();
        assert_eq!(url, Some("http://127.0.0.1:2"));
        let public = Some("https://book.example.org/api".to_owned());
        configuration.gateway.booking_url.clone_from(&public);
        introduce(&mut configuration, at(1), at(2));
        assert_eq!(configuration.gateway.booking_url, public);
    }
}
