//! Serving the API on an address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::api::{Surroundings, SurroundingsError};
use crate::service::Booking;

/// How long requests that are under way may take once the API is told to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration asks for something that is not handed in.
    #[error(transparent)]
    Surroundings(#[from] SurroundingsError),
    /// The listener failed for good.
    #[error("the booking API's address failed: {0}")]
    Io(#[from] io::Error),
}

impl Booking {
    /// Serves until `stop` resolves, then takes no new requests and finishes those under way,
    /// within a bound.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        &self,
        listener: TcpListener,
        surroundings: Surroundings,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let router = self.router(surroundings)?;
        let (stopping, told) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            // Nobody listens once the server has ended by itself.
            let _ = stopping.send(());
        };
        let server = async {
            axum::serve(
                listener,
                router.into_make_service_with_connect_info::<SocketAddr>(),
            )
            .with_graceful_shutdown(stop)
            .await
        };
        let patience = async {
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            served = server => Ok(served?),
            () = patience => Ok(()),
        }
    }
}
