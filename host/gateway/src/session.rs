//! What a WebSocket client has said and is owed: the protocol without the socket.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use carillon_web::{Claims, TokenError};
use rand::Rng as _;
use serde_json::value::RawValue;

use crate::close::{Close, CloseCode};
use crate::deadlines::{Deadlines, Due};
use crate::gateway::Shared;
use crate::protocol::{
    Answer, ChannelRequest, Command, ConnectRequest, ConnectResult, Expiry, Method, PING,
    ProtocolError, PublicationResult, RefreshRequest, RefreshResult, SubscribeResult, read_command,
    write_reply,
};
use crate::push::Push;
use crate::recovery::{self, Asked, Outcome, Start};
use crate::rpc;
use crate::streams::{Feed, Position, streams_of};

/// What the connect reply and the refresh reply call this server.
pub(crate) const VERSION: &str = concat!("carillon ", env!("CARGO_PKG_VERSION"));

/// Recovered entries up to this size travel in the connect reply; the others follow it as
/// pushes. A frame is held whole while it is written, and its buffer stays with the
/// connection.
const INLINE_RECOVERY_BYTES: usize = 32 * 1024;

/// A client whose replies wait in this number is not read from until it takes some.
const MAX_WAITING_REPLIES: usize = 16;

/// One client of the WebSocket.
pub(crate) struct Session {
    shared: Arc<Shared>,
    feed: Feed,
    pub(crate) deadlines: Deadlines,
    replies: VecDeque<Utf8Bytes>,
    standing: Standing,
}

enum Standing {
    /// `connect` has not come.
    New,
    /// `connect` was refused with an error: the client is expected to go.
    Refused,
    Connected(Box<Bearer>),
}

/// Whom the connection belongs to.
struct Bearer {
    client: String,
    user: String,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let feed = Feed::new(shared.hub.register(shared.config.queue_bytes));
        let patience = Duration::from_millis(shared.config.connect_timeout_ms);
        Self {
            feed,
            deadlines: Deadlines::new(Due::Connect, patience),
            replies: VecDeque::new(),
            standing: Standing::New,
            shared,
        }
    }

    /// The next frame to write: replies first, then the streams.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Close>> {
        if let Some(reply) = self.replies.pop_front() {
            if self.replies.is_empty() {
                // The queue's memory goes back: most of a connection's life is idle.
                self.replies = VecDeque::new();
            }
            return Poll::Ready(Ok(reply));
        }
        self.feed.poll_next(cx).map_ok(|push| {
            self.shared.telemetry.websocket().pushed();
            push.websocket_frame()
        })
    }

    /// Why the connection must be closed, if it must, for when nothing can be written.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.feed.poll_closed(cx)
    }

    /// Whether the client may be read from.
    pub(crate) fn listens(&self) -> bool {
        self.replies.len() < MAX_WAITING_REPLIES
    }

    /// Something has come due.
    pub(crate) fn due(&mut self, due: Due) -> Result<(), Close> {
        match due {
            Due::Connect => Err(CloseCode::Stale.into()),
            Due::Pong => Err(CloseCode::NoPong.into()),
            Due::Expiry => Err(CloseCode::Expired.into()),
            Due::Ping => {
                self.replies.push_back(PING);
                self.deadlines
                    .set(Due::Ping, self.shared.config.ping_interval());
                // A ping that comes before the last one's answer was due does not put it off.
                if !self.deadlines.waits_for(Due::Pong) {
                    self.deadlines.set(
                        Due::Pong,
                        Duration::from_millis(self.shared.config.pong_timeout_ms),
                    );
                }
                Ok(())
            }
        }
    }

    /// Handles the commands of one message.
    pub(crate) async fn receive(&mut self, text: &str) -> Result<(), Close> {
        if text.trim().is_empty() {
            return Err(Close::because(CloseCode::BadRequest, "an empty message"));
        }
        for line in text.split('\n') {
            if line.trim().is_empty() {
                continue;
            }
            let command =
                read_command(line).map_err(|error| Close::because(CloseCode::BadRequest, error))?;
            self.execute(command).await?;
        }
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<(), Close> {
        match (&self.standing, command) {
            (Standing::New, Command::Numbered(id, Method::Connect(request))) => {
                // Boxed: it is large, and an idle connection should not carry its size.
                Box::pin(self.connect(id, request)).await
            }
            (Standing::New, _) => Err(Close::because(
                CloseCode::BadRequest,
                "the first command must be connect",
            )),
            (Standing::Refused, _) => Err(Close::because(
                CloseCode::BadRequest,
                "connect was refused; open another connection",
            )),
            (Standing::Connected(_), Command::Numbered(_, Method::Connect(_))) => {
                Err(Close::because(
                    CloseCode::BadRequest,
                    "this connection is connected already",
                ))
            }
            (Standing::Connected(_), Command::Pong) => {
                self.deadlines.clear(Due::Pong);
                Ok(())
            }
            (Standing::Connected(_), Command::Send) => Err(CloseCode::NotAvailable.into()),
            (Standing::Connected(_), Command::Numbered(id, Method::Refresh(request))) => {
                self.refresh(id, &request)
            }
            (Standing::Connected(_), Command::Numbered(id, method)) => {
                let answer = Box::pin(self.answer(method)).await;
                self.reply(id, &answer.unwrap_or_else(Answer::Error))
            }
        }
    }

    async fn answer(&self, method: Method) -> Result<Answer<'static>, ProtocolError> {
        match method {
            Method::Rpc(request) => rpc::call(&self.shared, self.feed.positions(), &request)
                .await
                .map(|data| Answer::Rpc { data }),
            Method::History(request) => rpc::history(&self.shared, self.feed.positions(), &request)
                .await
                .map(Answer::History),
            Method::Ping => Ok(Answer::Ping {}),
            // The server decides who listens to what.
            Method::Subscribe(request) if self.has(&request) => {
                Err(ProtocolError::ALREADY_SUBSCRIBED)
            }
            Method::Unsubscribe(request) if !self.has(&request) => Ok(Answer::Unsubscribe {}),
            Method::Subscribe(_) | Method::Unsubscribe(_) | Method::Publish => {
                Err(ProtocolError::PERMISSION_DENIED)
            }
            Method::NotAvailable => Err(ProtocolError::NOT_AVAILABLE),
            Method::Connect(_) | Method::Refresh(_) | Method::Unknown => {
                Err(ProtocolError::METHOD_NOT_FOUND)
            }
        }
    }

    fn has(&self, request: &ChannelRequest) -> bool {
        self.feed
            .positions()
            .iter()
            .any(|position| *position.stream == request.channel)
    }

    async fn connect(&mut self, id: u32, request: ConnectRequest) -> Result<(), Close> {
        if request.token.is_empty() {
            return Err(Close::because(CloseCode::InvalidToken, "none was sent"));
        }
        let claims = match self.shared.verifier.verify(&request.token) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => {
                self.standing = Standing::Refused;
                return self.reply(id, &Answer::Error(ProtocolError::TOKEN_EXPIRED));
            }
            Err(error) => return Err(Close::because(CloseCode::InvalidToken, error)),
        };
        let streams = streams_of(&claims, self.shared.config.max_streams)?;
        let asked: HashMap<String, Asked> = request
            .subs
            .into_iter()
            .filter(|(_, sub)| sub.recover)
            .map(|(stream, sub)| {
                (
                    stream,
                    Asked {
                        epoch: sub.epoch,
                        offset: sub.offset,
                    },
                )
            })
            .collect();
        self.feed.listen(&streams);
        let starts = {
            let _turn = self.shared.recovery_turn(!asked.is_empty()).await;
            recovery::starts(&self.shared.store, &self.shared.config, &streams, &asked).await
        };
        let starts = starts.map_err(|error| {
            tracing::error!(%error, "a client could not connect");
            Close::from(CloseCode::ServerError)
        })?;
        self.welcome(id, claims, &starts)
    }

    /// Answers `connect` and puts the client where its streams go on.
    fn welcome(&mut self, id: u32, claims: Claims, starts: &[Start]) -> Result<(), Close> {
        let client = uuid::Uuid::new_v4().to_string();
        let mut inline_left = INLINE_RECOVERY_BYTES;
        let mut positions = Vec::with_capacity(starts.len());
        let mut backlog = VecDeque::new();
        let mut inlined: Vec<Vec<Push>> = Vec::with_capacity(starts.len());
        for start in starts {
            let mut position = start.position.clone();
            let mut pushes = start.missed.iter().map(Push::new).peekable();
            let mut first = Vec::new();
            while let Some(push) = pushes.next_if(|push| push.cost_bytes() <= inline_left) {
                inline_left -= push.cost_bytes();
                position.offset = push.offset;
                first.push(push);
            }
            backlog.extend(pushes.map(Arc::new));
            positions.push(position);
            inlined.push(first);
        }
        let mut subs = BTreeMap::new();
        for (start, pushes) in starts.iter().zip(&inlined) {
            subs.insert(&*start.position.stream, subscribed(start, pushes)?);
        }
        let expiry = self.expires(claims.expires_at_ms);
        let result = ConnectResult {
            client: &client,
            version: VERSION,
            expiry,
            subs,
            ping: self.shared.config.ping_interval_s(),
            pong: true,
        };
        self.reply(id, &Answer::Connect(result))?;
        self.feed.start(positions.into(), backlog);
        self.standing = Standing::Connected(Box::new(Bearer {
            client,
            user: claims.user,
        }));
        self.deadlines.clear(Due::Connect);
        // Clients that reconnect together should not be pinged together ever after.
        let interval = self.shared.config.ping_interval();
        self.deadlines.set(
            Due::Ping,
            interval.mul_f64(rand::rng().random_range(0.5..=1.0)),
        );
        Ok(())
    }

    fn refresh(&mut self, id: u32, request: &RefreshRequest) -> Result<(), Close> {
        let claims = match self.shared.verifier.verify(&request.token) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => {
                return self.reply(id, &Answer::Error(ProtocolError::TOKEN_EXPIRED));
            }
            Err(error) => return Err(Close::because(CloseCode::InvalidToken, error)),
        };
        let Standing::Connected(bearer) = &self.standing else {
            return Err(CloseCode::BadRequest.into());
        };
        if claims.user != bearer.user {
            return Err(Close::because(
                CloseCode::InvalidToken,
                "it belongs to another user than the connection",
            ));
        }
        let streams = streams_of(&claims, self.shared.config.max_streams)?;
        if !self
            .feed
            .positions()
            .iter()
            .map(|position: &Position| &position.stream)
            .eq(streams.iter())
        {
            return Err(CloseCode::ForceReconnect.into());
        }
        let client = bearer.client.clone();
        let expiry = self.expires(claims.expires_at_ms);
        self.reply(
            id,
            &Answer::Refresh(RefreshResult {
                client: &client,
                version: VERSION,
                expiry,
            }),
        )
    }

    /// Sets the end of the connection and says when the client must have a new token.
    fn expires(&mut self, expires_at_ms: Option<i64>) -> Expiry {
        let Some(at_ms) = expires_at_ms else {
            self.deadlines.clear(Due::Expiry);
            return Expiry::default();
        };
        let (left, ttl) = time_left(at_ms, jiff::Timestamp::now().as_millisecond());
        let delay = Duration::from_millis(self.shared.config.expired_close_delay_ms);
        self.deadlines.set(Due::Expiry, left + delay);
        Expiry {
            expires: true,
            ttl: Some(ttl),
        }
    }

    fn reply(&mut self, id: u32, answer: &Answer<'_>) -> Result<(), Close> {
        let reply = write_reply(id, answer).map_err(|error| {
            tracing::error!(%error, "a reply could not be written");
            Close::from(CloseCode::ServerError)
        })?;
        self.replies.push_back(reply);
        Ok(())
    }
}

/// What is left of a token, and the same in whole seconds for the client: at least one,
/// since SDKs take 0 for a fault. Not more than a year, which timers can hold.
fn time_left(expires_at_ms: i64, now_ms: i64) -> (Duration, u32) {
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    let left_ms = expires_at_ms
        .saturating_sub(now_ms)
        .clamp(0, YEAR_MS)
        .unsigned_abs();
    (
        Duration::from_millis(left_ms),
        u32::try_from(left_ms / 1000).unwrap_or(u32::MAX).max(1),
    )
}

fn subscribed<'a>(start: &'a Start, pushes: &'a [Push]) -> Result<SubscribeResult<'a>, Close> {
    let mut publications = Vec::with_capacity(pushes.len());
    for push in pushes {
        let data: &RawValue = serde_json::from_str(push.json()).map_err(|error| {
            tracing::error!(stream = %push.stream, offset = push.offset, %error, "an entry of the store is not JSON");
            Close::from(CloseCode::ServerError)
        })?;
        publications.push(PublicationResult {
            offset: push.offset,
            data,
        });
    }
    Ok(SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: &start.position.epoch,
        offset: start.position.offset,
        was_recovering: start.outcome.is_some(),
        recovered: start.outcome == Some(Outcome::Complete),
        publications,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_in_seconds_and_stays_within_what_a_timer_holds() {
        assert_eq!(time_left(10_000, 4_500), (Duration::from_millis(5_500), 5));
        assert_eq!(time_left(1_000, 4_500), (Duration::ZERO, 1));
        assert_eq!(time_left(i64::MAX, 0).1, 31_536_000);
    }
}
