//! Log lines and metrics of the process.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// Seconds; from a commit on a fast disk to a stuck one.
const SECONDS: [f64; 12] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];
const COUNTS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

/// Begins to log to standard error.
pub(crate) fn log(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::builder()
        .with_env_var("CARILLON_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env()
        .context("CARILLON_LOG is not a filter such as `info,plugin=debug`")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}

/// Begins to count. The handle renders what was counted.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_shares".to_owned()), &COUNTS)?
        .install_recorder()
        .context("metrics could not be started")
}
