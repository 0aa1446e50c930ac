//! Listening, and being told to stop.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::data_folder;

/// Opens an address; `option` is what the user can change it with.
pub(crate) async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} cannot be listened on; is another program there? choose another with {option} (port 0 picks a free one)")
    })
}

/// Says on standard output and in the data folder where `role` listens.
pub(crate) fn announce(
    folder: &Path,
    role: &str,
    label: &str,
    listener: &TcpListener,
) -> Result<String> {
    let url = format!("http://{}", listener.local_addr()?);
    data_folder::announce(folder, role, &url)?;
    println!("{label:<13} {url}");
    Ok(url)
}

/// Turns true at the first SIGTERM or SIGINT. A second one ends the process at once.
pub(crate) fn stop_signal() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for asked in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked > 0 {
                tracing::warn!("told to stop twice: ending at once; what is stored is safe");
                std::process::exit(130);
            }
            tracing::info!("told to stop: draining");
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}

/// Resolves once the process is to stop.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody can say stop any more.
    let _ = stop.wait_for(|stop| *stop).await;
}
