//! `GET /connection/websocket`: one task and one timer a connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use carillon_web::Problem;
use futures_util::{Sink as _, Stream as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as ProtocolFault;

use crate::close::{Close, CloseCode};
use crate::deadlines::Due;
use crate::gateway::{AppState, Shared};
use crate::session::Session;
use crate::telemetry;

/// Frames up to this size together leave in one write.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// A message up to this many times the limit is read to its end, so that the close frame
/// reaches the client: closing a TCP connection with unread data resets it.
const READ_BEFORE_REFUSING: usize = 4;

/// How many frames are written before the client is listened to again.
const FRAMES_PER_TURN: usize = 64;

/// Takes the upgrade; the connection lives in a task of its own.
pub(crate) async fn connect(
    State(AppState(shared)): State<AppState>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let detail = format!(
                "This address takes WebSocket connections (RFC 6455): {}.",
                rejection.body_text()
            );
            return Problem::new(rejection.status(), detail).into_response();
        }
    };
    if let Err(problem) = shared.has_room() {
        return problem.into_response();
    }
    let max_bytes = shared
        .config
        .max_message_bytes
        .saturating_mul(READ_BEFORE_REFUSING);
    upgrade
        .read_buffer_size(shared.config.read_buffer_bytes)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(max_bytes)
        .max_frame_size(max_bytes)
        .protocols(["centrifuge-json"])
        .on_failed_upgrade(|error| tracing::debug!(%error, "a WebSocket upgrade failed"))
        .on_upgrade(async move |socket| {
            // The upgrade's own task carries the size of the handshake: it ends here.
            tokio::spawn(Connection::new(socket, shared).run());
        })
}

struct Connection {
    socket: WebSocket,
    session: Session,
    shared: Arc<Shared>,
    /// Something was written and not flushed.
    unflushed: bool,
}

/// What a connection wakes up for.
enum Wake {
    Message(Message),
    Due(Due),
    Close(Close),
    /// The client is gone.
    Gone,
}

impl Connection {
    fn new(socket: WebSocket, shared: Arc<Shared>) -> Self {
        shared.telemetry.websocket().opened();
        Self {
            socket,
            session: Session::new(Arc::clone(&shared)),
            shared,
            unflushed: false,
        }
    }

    async fn run(mut self) {
        loop {
            let handled = match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Message(message) => self.receive(message).await,
                Wake::Due(due) => self.session.due(due),
                Wake::Close(close) => Err(close),
                Wake::Gone => return,
            };
            if let Err(close) = handled {
                return Box::pin(self.close(close)).await;
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Poll::Ready(due) = self.session.deadlines.poll(cx) {
            return Poll::Ready(Wake::Due(due));
        }
        if let Poll::Ready(wake) = self.poll_write(cx) {
            return Poll::Ready(wake);
        }
        if !self.session.listens() {
            return Poll::Pending;
        }
        self.socket.poll_next_unpin(cx).map(|read| match read {
            Some(Ok(message)) => Wake::Message(message),
            Some(Err(error)) => fault(&error),
            None => Wake::Gone,
        })
    }

    /// Writes what waits, as far as the client takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        for _ in 0..FRAMES_PER_TURN {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Gone),
                // The client is slow. Its queue may be full meanwhile.
                Poll::Pending => return self.session.poll_closed(cx).map(Wake::Close),
            }
            let frame = match self.session.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => frame,
                Poll::Ready(Err(close)) => return Poll::Ready(Wake::Close(close)),
                Poll::Pending => return self.poll_flush(cx),
            };
            self.shared.telemetry.websocket().sent(frame.as_str().len());
            if Pin::new(&mut self.socket)
                .start_send(Message::Text(frame))
                .is_err()
            {
                return Poll::Ready(Wake::Gone);
            }
            self.unflushed = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Gone),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    async fn receive(&mut self, message: Message) -> Result<(), Close> {
        match message {
            Message::Text(text) if text.as_str().len() > self.shared.config.max_message_bytes => {
                Err(self.too_big(text.as_str().len()))
            }
            Message::Binary(data) if data.len() > self.shared.config.max_message_bytes => {
                Err(self.too_big(data.len()))
            }
            Message::Text(text) => self.session.receive(text.as_str()).await,
            Message::Binary(_) => Err(CloseCode::InappropriateProtocol.into()),
            // The codec answers pings and close frames by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    fn too_big(&self, bytes: usize) -> Close {
        let limit = self.shared.config.max_message_bytes;
        Close::because(
            CloseCode::MessageTooBig,
            format_args!("{bytes} bytes, {limit} are allowed"),
        )
    }

    /// Sends the close frame and waits for the client's, both for a bounded time.
    async fn close(mut self, close: Close) {
        telemetry::closed(close.code);
        tracing::debug!(code = close.code.number(), reason = %close.reason, "a WebSocket is closed");
        let handshake = async {
            if self
                .socket
                .send(Message::Close(Some(close.frame())))
                .await
                .is_err()
            {
                return;
            }
            if close.code == CloseCode::MessageTooBig {
                // The codec has stopped reading in the middle of a message: the client's
                // answer cannot be seen, only given time.
                drain_or_wait(&mut self.socket).await;
            }
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        // Out of time: the connection is cut.
        let _ = timeout(self.shared.config.close_timeout(), handshake).await;
    }
}

/// Reads on if the codec still can; otherwise lets the peer take what was sent.
async fn drain_or_wait(socket: &mut WebSocket) {
    const LINGER: Duration = Duration::from_millis(500);
    let ended = poll_fn(|cx| {
        Poll::Ready(matches!(
            Pin::new(&mut *socket).poll_next(cx),
            Poll::Ready(None | Some(Err(_)))
        ))
    });
    if ended.await {
        tokio::time::sleep(LINGER).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.telemetry.websocket().ended();
    }
}

/// What an error of the WebSocket codec means for the connection.
fn fault(error: &axum::Error) -> Wake {
    let cause =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<ProtocolFault>());
    match cause {
        Some(ProtocolFault::Capacity(fault)) => {
            Wake::Close(Close::because(CloseCode::MessageTooBig, fault))
        }
        Some(ProtocolFault::Utf8(_)) => Wake::Close(Close::because(
            CloseCode::BadRequest,
            "a text frame is not UTF-8",
        )),
        Some(ProtocolFault::Protocol(fault)) => {
            use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
            if *fault == ResetWithoutClosingHandshake {
                Wake::Gone
            } else {
                Wake::Close(Close::because(CloseCode::BadRequest, fault))
            }
        }
        _ => Wake::Gone,
    }
}

impl Shared {
    /// # Errors
    /// A 503 when `max_connections` are open.
    pub(crate) fn has_room(&self) -> Result<(), Problem> {
        if self.hub.open() < self.config.max_connections {
            return Ok(());
        }
        let detail = "This server has as many open connections as it takes; try again later, or at another one.";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_code("too-many-connections"))
    }
}
