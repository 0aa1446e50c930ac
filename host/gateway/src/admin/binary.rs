//! `PUT /admin/plugins/{name}`: a binary comes in.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use carillon_pipeline::{LoadOutcome, LoadRequest, Operator, RunAs, StartAt, read_signature};
use carillon_web::{PathParams, Problem, QueryParams};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::access::By;
use super::moment::Moment;
use super::{invalid, problem};
use crate::gateway::AppState;

/// An ed25519 signature of the binary, as base64.
const SIGNATURE: HeaderName = HeaderName::from_static("x-carillon-signature");

/// Where the binary comes from, for people.
const ORIGIN: HeaderName = HeaderName::from_static("x-carillon-origin");

/// The longest origin, in bytes: it is kept with each load.
const MAX_ORIGIN_BYTES: usize = 1_024;

/// How long a binary may take to arrive.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(300);

/// Stands in the path for whatever name the binary gives itself.
const ANY_NAME: &str = "_";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    start: Option<String>,
    #[serde(default, rename = "as")]
    runs_as: RunsAs,
    share: Option<u8>,
    abort_after: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RunsAs {
    #[default]
    Active,
    Shadow,
    Canary,
}

impl Query {
    fn start(&self) -> Result<StartAt, Problem> {
        match self.start.as_deref() {
            None | Some("latest") => Ok(StartAt::Latest),
            Some("earliest") => Ok(StartAt::Earliest),
            Some(time) => Moment::parse(time)
                .map(|Moment(ms)| StartAt::Time(ms))
                .map_err(|error| {
                    invalid(format!(
                        "`start` is `latest`, `earliest` or a time; {error}."
                    ))
                }),
        }
    }

    fn run_as(&self) -> Result<RunAs, Problem> {
        let abort_after = self.abort_after;
        match (self.runs_as, self.share) {
            (RunsAs::Canary, Some(percent @ 1..=99)) => Ok(RunAs::Canary {
                percent,
                abort_after,
            }),
            (RunsAs::Canary, _) => Err(invalid(
                "A canary gets a share of the keys: give `share`, 1 to 99 percent.",
            )),
            (_, Some(_)) => Err(invalid(
                "`share` is for a canary only: add `as=canary`, or leave it out.",
            )),
            (RunsAs::Shadow, None) => Ok(RunAs::Shadow { abort_after }),
            (RunsAs::Active, None) if abort_after.is_some() => Err(invalid(
                "`abort_after` ends a trial: add `as=shadow` or `as=canary`, or leave it out.",
            )),
            (RunsAs::Active, None) => Ok(RunAs::Active),
        }
    }
}

/// Loads the body. 201 if the plugin is new.
pub(crate) async fn load(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    PathParams(name): PathParams<String>,
    QueryParams(query): QueryParams<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<LoadOutcome>), Problem> {
    let (start, run_as) = (query.start()?, query.run_as()?);
    let signature = signature(&headers)?;
    let origin = origin(&headers, &operator)?;
    let binary = read(&headers, body, shared.max_binary_bytes).await?;
    let request = LoadRequest {
        name: (name != ANY_NAME).then_some(name),
        binary,
        signature,
        origin,
        start,
        run_as,
    };
    let outcome = shared
        .operations
        .load(request, &operator)
        .await
        .map_err(problem)?;
    let status = if outcome.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(outcome)))
}

fn signature(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let Some(value) = headers.get(SIGNATURE) else {
        return Ok(None);
    };
    read_signature(value.as_bytes())
        .map(Some)
        .map_err(|error| invalid(format!("{SIGNATURE} is no signature: {error}.")))
}

fn origin(headers: &HeaderMap, operator: &Operator) -> Result<String, Problem> {
    let Some(value) = headers.get(ORIGIN) else {
        let from = operator.from.as_deref().unwrap_or("an unknown address");
        return Ok(format!("PUT from {from}"));
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) if text.len() <= MAX_ORIGIN_BYTES => Ok(text.to_owned()),
        _ => Err(invalid(format!(
            "{ORIGIN} is text of at most {MAX_ORIGIN_BYTES} bytes."
        ))),
    }
}

/// Reads a binary of at most `limit` bytes. Of a larger one nothing is kept.
async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut chunks = body.into_data_stream();
    if announced.is_some_and(|announced| announced > limit as u64) {
        pass_over(headers, chunks, limit).await;
        return Err(too_large(limit));
    }
    let Ok(read) = timeout(UPLOAD_PATIENCE, collect(&mut chunks, limit)).await else {
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "The binary did not arrive within {} seconds.",
                UPLOAD_PATIENCE.as_secs()
            ),
        ));
    };
    match read? {
        Some(binary) => Ok(binary),
        None => {
            pass_over(headers, chunks, limit).await;
            Err(too_large(limit))
        }
    }
}

/// `None` when there are more than `limit` bytes.
async fn collect(chunks: &mut BodyDataStream, limit: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut binary = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::bad_request(format!("The binary did not arrive whole: {error}."))
        })?;
        if binary.len() + chunk.len() > limit {
            return Ok(None);
        }
        binary.extend_from_slice(&chunk);
    }
    Ok(Some(binary))
}

/// Most clients read an answer only after they have sent everything, and lose it when the
/// connection is cut before. So a body that is a little too large is read on and thrown away,
/// up to as much again as would have been taken; unless the client waits to be asked for it
/// (RFC 9110, section 10.1.1).
async fn pass_over(headers: &HeaderMap, mut chunks: BodyDataStream, limit: usize) {
    const PATIENCE: Duration = Duration::from_secs(10);
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let passing = async {
        let mut passed = 0_usize;
        while let Some(Ok(chunk)) = chunks.next().await {
            passed = passed.saturating_add(chunk.len());
            if passed > limit.saturating_mul(2) {
                break;
            }
        }
    };
    // What does not come in time is not waited for: the answer is the same.
    let _ = timeout(PATIENCE, passing).await;
}

fn too_large(limit: usize) -> Problem {
    Problem::too_large(format!(
        "The binary is larger than the {limit} bytes that are loaded here. Build it with optimisation, or raise sandbox.max_binary_bytes."
    ))
    .with_code("too-large")
    .with("limitBytes", limit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(text: &str) -> Query {
        let uri = format!("/x?{text}").parse().unwrap();
        let axum::extract::Query(query) = axum::extract::Query::try_from_uri(&uri).unwrap();
        query
    }

    #[test]
    fn the_query_says_where_a_plugin_begins() {
        assert_eq!(query("").start().unwrap(), StartAt::Latest);
        assert_eq!(query("start=earliest").start().unwrap(), StartAt::Earliest);
        let at = StartAt::Time(1_755_600_000_000);
        assert_eq!(query("start=1755600000000").start().unwrap(), at);
        assert_eq!(query("start=2025-08-19T10:40:00Z").start().unwrap(), at);
        let refused = query("start=noon").start().unwrap_err();
        assert!(refused.detail().contains("`noon` is no time"), "{refused}");
    }

    #[test]
    fn the_query_says_how_a_binary_runs() {
        let canary = RunAs::Canary {
            percent: 10,
            abort_after: Some(5),
        };
        assert_eq!(
            query("as=canary&share=10&abort_after=5").run_as().unwrap(),
            canary
        );
        let shadow = RunAs::Shadow { abort_after: None };
        assert_eq!(query("as=shadow").run_as().unwrap(), shadow);
        assert_eq!(query("").run_as().unwrap(), RunAs::Active);
    }

    #[test]
    fn a_query_that_contradicts_itself_is_refused() {
        for (text, word) in [
            ("as=canary", "share"),
            ("as=canary&share=0", "1 to 99"),
            ("as=canary&share=100", "1 to 99"),
            ("share=10", "canary"),
            ("as=shadow&share=10", "canary"),
            ("abort_after=5", "as=shadow"),
        ] {
            let refused = query(text).run_as().unwrap_err();
            assert!(refused.detail().contains(word), "{text}: {refused}");
        }
    }
}
