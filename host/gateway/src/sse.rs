//! `GET /connection/sse`: the streams of a bearer for `EventSource`.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use carillon_web::{Claims, Problem, QueryParams, authenticate};
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::close::{Close, CloseCode};
use crate::deadlines::{Deadlines, Due};
use crate::gateway::{AppState, Shared};
use crate::push::Push;
use crate::recovery::{self, Asked, Outcome, Start};
use crate::sse_position::{read_id, write_id};
use crate::streams::{Feed, streams_of};
use crate::telemetry;

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 1_000;

#[derive(Deserialize)]
pub(crate) struct Query {
    /// For browsers, whose `EventSource` cannot set headers.
    token: Option<String>,
    /// For clients that make a new `EventSource` and know where they stood.
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

/// Opens the stream of events.
pub(crate) async fn connect(
    State(AppState(shared)): State<AppState>,
    QueryParams(query): QueryParams<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let claims = match &query.token {
        Some(token) => shared.verify(token)?,
        None => authenticate(&headers, &shared.verifier)?,
    };
    shared.has_room()?;
    let streams = streams_of(&claims, shared.config.max_streams)
        .map_err(|close| Problem::bad_request(close.reason).with_code("too-many-groups"))?;
    let last_event_id = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok().map(str::to_owned));
    let asked = match last_event_id
        .or(query.last_event_id)
        .filter(|id| !id.is_empty())
    {
        None => HashMap::new(),
        // An id that cannot be read is a position in no epoch: the client is told that it may have missed something.
        Some(id) => read_id(&id).unwrap_or_else(|| {
            let nowhere = Asked {
                epoch: String::new(),
                offset: 0,
            };
            streams
                .iter()
                .map(|stream| (stream.to_string(), nowhere.clone()))
                .collect()
        }),
    };
    let mut feed = Feed::new(shared.hub.register(shared.config.queue_bytes));
    feed.listen(&streams);
    let starts = {
        let _turn = shared.recovery_turn(!asked.is_empty()).await;
        recovery::starts(&shared.store, &shared.config, &streams, &asked)
            .await
            .map_err(Problem::internal)?
    };
    let events = EventStream::new(shared, feed, &claims, &starts);
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back to fill its buffer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The body of the response.
struct EventStream {
    shared: Arc<Shared>,
    feed: Feed,
    /// `Due::Ping` is the heartbeat.
    deadlines: Deadlines,
    opening: Option<Bytes>,
    ended: bool,
}

impl EventStream {
    fn new(shared: Arc<Shared>, mut feed: Feed, claims: &Claims, starts: &[Start]) -> Self {
        let opening = opening(starts);
        let positions = starts.iter().map(|start| start.position.clone()).collect();
        let backlog = starts
            .iter()
            .flat_map(|start| &start.missed)
            .map(|missed| Arc::new(Push::new(missed)))
            .collect();
        feed.start(positions, backlog);
        let mut deadlines = Deadlines::new(Due::Ping, heartbeat(&shared));
        if let Some(at_ms) = claims.expires_at_ms {
            let left_ms = at_ms
                .saturating_sub(jiff::Timestamp::now().as_millisecond())
                .max(0)
                .unsigned_abs();
            // Not more than a year, which timers can hold.
            deadlines.set(
                Due::Expiry,
                Duration::from_millis(left_ms.min(365 * 24 * 3600 * 1000)),
            );
        }
        shared.telemetry.sse().opened();
        Self {
            shared,
            feed,
            deadlines,
            opening: Some(opening),
            ended: false,
        }
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(opening);
        }
        match self.feed.poll_next(cx) {
            Poll::Ready(Ok(push)) => {
                self.shared.telemetry.sse().pushed();
                let (name, id) = (push.event().name(), write_id(self.feed.positions()));
                return Poll::Ready(
                    format!("event: {name}\nid: {id}\ndata: {}\n\n", push.json()).into(),
                );
            }
            Poll::Ready(Err(close)) => return Poll::Ready(self.closing(&close)),
            Poll::Pending => {}
        }
        self.deadlines.poll(cx).map(|due| match due {
            Due::Expiry => self.closing(&CloseCode::Expired.into()),
            _ => {
                self.deadlines.set(Due::Ping, heartbeat(&self.shared));
                Bytes::from_static(b":\n\n")
            }
        })
    }

    fn closing(&mut self, close: &Close) -> Bytes {
        self.ended = true;
        telemetry::closed(close.code);
        let data = serde_json::json!({
            "code": close.code.number(), "reason": close.reason, "reconnect": close.code.reconnect(),
        });
        format!("event: closing\ndata: {data}\n\n").into()
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let text = std::task::ready!(self.poll_text(cx));
        self.shared.telemetry.sse().sent(text.len());
        Poll::Ready(Some(Ok(text)))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shared.telemetry.sse().ended();
    }
}

fn heartbeat(shared: &Shared) -> Duration {
    Duration::from_millis(shared.config.sse_heartbeat_ms)
}

/// The first event says where the client stands, and whether it has missed something for good.
fn opening(starts: &[Start]) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Opening<'a> {
        was_recovering: bool,
        recovered: bool,
        streams: BTreeMap<&'a str, StreamOpening<'a>>,
    }
    #[derive(Serialize)]
    struct StreamOpening<'a> {
        epoch: &'a str,
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovery: Option<&'static str>,
    }
    let streams = starts.iter().map(|start| {
        let position = &start.position;
        let recovery = start.outcome.map(Outcome::name);
        (
            &*position.stream,
            StreamOpening {
                epoch: &position.epoch,
                offset: position.offset,
                recovery,
            },
        )
    });
    let mut outcomes = starts.iter().filter_map(|start| start.outcome).peekable();
    let was_recovering = outcomes.peek().is_some();
    let recovered = was_recovering && outcomes.all(|outcome| outcome == Outcome::Complete);
    let opening = Opening {
        was_recovering,
        recovered,
        streams: streams.collect(),
    };
    // Strings and numbers: writing them as JSON cannot fail.
    let data = serde_json::to_string(&opening).unwrap_or_default();
    let name = if was_recovering {
        "recovered"
    } else {
        "connected"
    };
    let positions: Vec<_> = starts.iter().map(|start| start.position.clone()).collect();
    format!(
        "retry: {RETRY_MS}\nevent: {name}\nid: {}\ndata: {data}\n\n",
        write_id(&positions)
    )
    .into()
}
