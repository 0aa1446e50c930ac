//! `GET /admin/plugins/{name}/logs`: what a plugin has logged, and logs from now on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use carillon_pipeline::LogEntry;
use carillon_web::{Limit, PathParams, Problem, QueryParams};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{RETRY_AFTER_S, problem, whole};
use crate::gateway::{AppState, Shared};
use crate::hub::Registration;

/// Lines to begin with unless asked otherwise.
const DEFAULT_TAIL: u32 = 100;

/// The most lines to begin with; the host keeps fewer.
const MAX_TAIL: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    tail: Limit<DEFAULT_TAIL, MAX_TAIL>,
    #[serde(default)]
    follow: bool,
}

/// The last lines as a list; with `follow=true` as an event stream that goes on.
pub(crate) async fn read(
    State(AppState(shared)): State<AppState>,
    PathParams(name): PathParams<String>,
    QueryParams(query): QueryParams<Query>,
) -> Result<Response, Problem> {
    let logs = shared.operations.logs(&name, query.tail.get());
    let (lines, next_lines) = logs.map_err(problem)?;
    if !query.follow {
        return Ok(Json(whole(lines)).into_response());
    }
    let follower = Follower::new(&shared, lines, next_lines)?;
    let mut response = Body::from_stream(follower.events()).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // nginx would hold events back to fill its buffer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Somebody who reads a log as it is written.
struct Follower {
    /// Is asked to close with all connections when the gateway stops.
    registration: Registration,
    tail: VecDeque<LogEntry>,
    lines: Receiver<LogEntry>,
    /// The number of the last line that was told.
    told: Option<u64>,
    heartbeat: Interval,
    _place: OwnedSemaphorePermit,
}

/// What a follower hears next.
enum Heard {
    Text(Bytes),
    /// The last words.
    End(Bytes),
}

impl Follower {
    fn new(
        shared: &Arc<Shared>,
        tail: Vec<LogEntry>,
        lines: Receiver<LogEntry>,
    ) -> Result<Self, Problem> {
        let Ok(place) = Arc::clone(&shared.followers).try_acquire_owned() else {
            return Err(Problem::unavailable(
                "Too many operators follow logs at the moment; read them without `follow`.",
                RETRY_AFTER_S,
            )
            .with_code("unavailable"));
        };
        let period = Duration::from_millis(shared.config.sse_heartbeat_ms);
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            // Nothing is ever queued for it.
            registration: shared.hub.register(0),
            tail: tail.into(),
            lines,
            told: None,
            heartbeat,
            _place: place,
        })
    }

    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::unfold(Some(self), |follower| async move {
            let mut follower = follower?;
            match follower.next().await {
                Heard::Text(text) => Some((Ok(text), Some(follower))),
                Heard::End(text) => Some((Ok(text), None)),
            }
        })
    }

    async fn next(&mut self) -> Heard {
        if let Some(entry) = self.tail.pop_front() {
            self.told = Some(entry.number);
            return Heard::Text(line(&entry));
        }
        loop {
            tokio::select! {
                biased;
                close = poll_fn(|cx| self.registration.poll_closed(cx)) => {
                    return Heard::End(closing(&close.reason));
                }
                heard = self.lines.recv() => match heard {
                    // It stood at the end of the tail already.
                    Ok(entry) if self.told.is_some_and(|told| entry.number <= told) => {}
                    Ok(entry) => {
                        self.told = Some(entry.number);
                        return Heard::Text(line(&entry));
                    }
                    Err(RecvError::Lagged(lines)) => return Heard::Text(missed(lines)),
                    Err(RecvError::Closed) => {
                        return Heard::End(closing("the log has ended: the plugin was removed, or the host stops"));
                    }
                },
                _ = self.heartbeat.tick() => return Heard::Text(Bytes::from_static(b":\n\n")),
            }
        }
    }
}

/// JSON text of one line: line feeds within strings are escaped in it.
fn line(entry: &LogEntry) -> Bytes {
    // Strings and numbers: writing them as JSON cannot fail.
    let data = serde_json::to_string(entry).unwrap_or_default();
    format!("event: line\ndata: {data}\n\n").into()
}

fn missed(lines: u64) -> Bytes {
    let data = json!({ "lines": lines });
    format!("event: missed\ndata: {data}\n\n").into()
}

fn closing(reason: &str) -> Bytes {
    let data = json!({ "reason": reason });
    format!("event: closing\ndata: {data}\n\n").into()
}
