//! What a connected client can ask for: the past of its streams and its inbox.

use carillon_store::StoreError;
use carillon_web::Cursor;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::gateway::Shared;
use crate::inbox;
use crate::protocol::{
    HistoryRequest, HistoryResult, ProtocolError, RpcRequest, Since, StoredPublication,
};
use crate::streams::Position;

/// The most entries that one answer holds.
const MAX_HISTORY: u32 = 200;

/// RPC `history`: the protocol's own command for SDKs that do not offer it on
/// server-side subscriptions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryCall {
    stream: String,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    epoch: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

/// RPC `inbox`: as `GET /inbox`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct InboxCall {
    limit: Option<u32>,
    before: Option<Cursor<carillon_store::InboxCursor>>,
}

/// Executes an RPC.
pub(crate) async fn call(
    shared: &Shared,
    positions: &[Position],
    request: &RpcRequest,
) -> Result<Box<RawValue>, ProtocolError> {
    let data = request.data.as_deref().map_or("{}", RawValue::get);
    match request.method.as_str() {
        "history" => {
            let call: HistoryCall = arguments(data)?;
            let since = call.after.map(|offset| Since {
                offset,
                epoch: call.epoch.unwrap_or_default(),
            });
            let limit = call
                .limit
                .and_then(|limit| i32::try_from(limit).ok())
                .unwrap_or(-1);
            let request = HistoryRequest {
                channel: call.stream,
                limit,
                since,
                reverse: false,
            };
            raw(&history(shared, positions, &request).await?)
        }
        "inbox" => {
            let call: InboxCall = arguments(data)?;
            let limit = call
                .limit
                .unwrap_or(inbox::DEFAULT_LIMIT)
                .clamp(1, inbox::MAX_LIMIT);
            let streams = positions
                .iter()
                .map(|position| position.stream.to_string())
                .collect::<Vec<_>>();
            raw(&inbox::page(shared, &streams, call.before, limit)
                .await
                .map_err(failed)?)
        }
        _ => Err(ProtocolError::METHOD_NOT_FOUND),
    }
}

/// The entries of one of the client's own streams.
pub(crate) async fn history(
    shared: &Shared,
    positions: &[Position],
    request: &HistoryRequest,
) -> Result<HistoryResult, ProtocolError> {
    if !positions
        .iter()
        .any(|position| *position.stream == request.channel)
    {
        return Err(ProtocolError::PERMISSION_DENIED);
    }
    let head = shared
        .store
        .stream_head(&request.channel)
        .await
        .map_err(failed)?;
    let limit = u32::try_from(request.limit)
        .unwrap_or(MAX_HISTORY)
        .min(MAX_HISTORY);
    if let Some(since) = &request.since {
        let other_epoch = !since.epoch.is_empty() && since.epoch != *head.epoch;
        let gone = !request.reverse && since.offset < head.trimmed_through;
        if other_epoch || gone || since.offset > head.offset {
            return Err(ProtocolError::UNRECOVERABLE_POSITION);
        }
    }
    let since = request.since.as_ref().map(|since| since.offset);
    let after = match (request.reverse, since) {
        (false, since) => since.unwrap_or(head.trimmed_through),
        (true, since) => since
            .map_or(head.offset, |offset| offset.saturating_sub(1))
            .saturating_sub(limit.into()),
    };
    let mut publications = Vec::new();
    if limit > 0 {
        for publication in shared
            .store
            .history(&request.channel, after, limit)
            .await
            .map_err(failed)?
        {
            let before_since = since.is_none_or(|offset| publication.offset < offset);
            if !request.reverse || before_since {
                publications.push(StoredPublication::try_from(&publication).map_err(failed)?);
            }
        }
    }
    if request.reverse {
        publications.reverse();
    }
    Ok(HistoryResult {
        publications,
        epoch: head.epoch,
        offset: head.offset,
    })
}

fn arguments<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, ProtocolError> {
    serde_json::from_str(data).map_err(ProtocolError::bad_request)
}

fn raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, ProtocolError> {
    to_raw_value(value).map_err(failed)
}

/// The client learns that it was not its fault, the log learns the cause.
fn failed(error: impl Into<RpcFailure>) -> ProtocolError {
    tracing::error!(error = %error.into(), "a client's command failed");
    ProtocolError::INTERNAL
}

#[derive(Debug, thiserror::Error)]
enum RpcFailure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an entry cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
