//! The Centrifuge client protocol in its JSON form: one command or reply a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use carillon_store::Publication;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::push::on_one_line;

/// A server's ping: an empty reply. A client's pong is an empty command.
pub(crate) const PING: Utf8Bytes = Utf8Bytes::from_static("{}");

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Pong,
    Numbered(u32, Method),
    /// An asynchronous message, which has no number.
    Send,
}

/// The methods of the protocol.
#[derive(Debug)]
pub(crate) enum Method {
    Connect(ConnectRequest),
    Refresh(RefreshRequest),
    Rpc(RpcRequest),
    History(HistoryRequest),
    Subscribe(ChannelRequest),
    Unsubscribe(ChannelRequest),
    Publish,
    Ping,
    /// Presence and the refresh of client-side subscriptions, which this server has not.
    NotAvailable,
    /// None that the protocol knows.
    Unknown,
}

/// Every field absent, `null` or of its own type; what is not known is passed over, so
/// that newer clients can say more.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: u32,
    connect: Option<ConnectRequest>,
    refresh: Option<RefreshRequest>,
    rpc: Option<RpcRequest>,
    history: Option<HistoryRequest>,
    subscribe: Option<ChannelRequest>,
    unsubscribe: Option<ChannelRequest>,
    publish: Option<serde::de::IgnoredAny>,
    ping: Option<serde::de::IgnoredAny>,
    send: Option<serde::de::IgnoredAny>,
    presence: Option<serde::de::IgnoredAny>,
    presence_stats: Option<serde::de::IgnoredAny>,
    sub_refresh: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectRequest {
    pub(crate) token: String,
    pub(crate) subs: BTreeMap<String, RecoverRequest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RecoverRequest {
    pub(crate) recover: bool,
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RefreshRequest {
    pub(crate) token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RpcRequest {
    pub(crate) method: String,
    pub(crate) data: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChannelRequest {
    pub(crate) channel: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryRequest {
    pub(crate) channel: String,
    /// 0: only where the stream stands; below 0: as many as are given at once.
    pub(crate) limit: i32,
    pub(crate) since: Option<Since>,
    pub(crate) reverse: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Since {
    pub(crate) offset: u64,
    pub(crate) epoch: String,
}

/// Reads one line.
///
/// # Errors
/// A few words for the client that say what is wrong with it.
pub(crate) fn read_command(line: &str) -> Result<Command, String> {
    let line: Line =
        serde_json::from_str(line).map_err(|error| format!("a command cannot be read: {error}"))?;
    let Line {
        id,
        connect,
        refresh,
        rpc,
        history,
        subscribe,
        unsubscribe,
        publish,
        ping,
        send,
        ..
    } = line;
    if send.is_some() {
        return Ok(Command::Send);
    }
    let not_available = line.presence.or(line.presence_stats).or(line.sub_refresh);
    let method = connect
        .map(Method::Connect)
        .or(refresh.map(Method::Refresh))
        .or(rpc.map(Method::Rpc))
        .or(history.map(Method::History))
        .or(subscribe.map(Method::Subscribe))
        .or(unsubscribe.map(Method::Unsubscribe))
        .or(publish.map(|_| Method::Publish))
        .or(ping.map(|_| Method::Ping))
        .or(not_available.map(|_| Method::NotAvailable));
    match (id, method) {
        (0, None) => Ok(Command::Pong),
        (0, Some(_)) => Err("a command needs an id above 0".to_owned()),
        (id, method) => Ok(Command::Numbered(id, method.unwrap_or(Method::Unknown))),
    }
}

/// An error of the protocol, answered to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ProtocolError {
    pub(crate) code: u32,
    pub(crate) message: Cow<'static, str>,
    /// The same command may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) temporary: bool,
}

impl ProtocolError {
    pub(crate) const INTERNAL: Self = Self {
        code: 100,
        message: Cow::Borrowed("internal server error"),
        temporary: true,
    };
    pub(crate) const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    pub(crate) const METHOD_NOT_FOUND: Self = Self::new(104, "method not found");
    pub(crate) const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    pub(crate) const NOT_AVAILABLE: Self = Self::new(108, "not available");
    /// SDKs get a new token and try again.
    pub(crate) const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    pub(crate) const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");

    const fn new(code: u32, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
            temporary: false,
        }
    }

    /// The command itself is wrong, in a way that leaves the connection usable.
    pub(crate) fn bad_request(detail: impl std::fmt::Display) -> Self {
        Self {
            code: 107,
            message: format!("bad request: {detail}").into(),
            temporary: false,
        }
    }
}

/// The answer to a command.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer<'a> {
    Connect(ConnectResult<'a>),
    Refresh(RefreshResult<'a>),
    Rpc { data: Box<RawValue> },
    History(HistoryResult),
    Unsubscribe {},
    Ping {},
    Error(ProtocolError),
}

#[derive(Serialize)]
pub(crate) struct ConnectResult<'a> {
    pub(crate) client: &'a str,
    pub(crate) version: &'static str,
    #[serde(flatten)]
    pub(crate) expiry: Expiry,
    pub(crate) subs: BTreeMap<&'a str, SubscribeResult<'a>>,
    /// Seconds between pings.
    pub(crate) ping: u64,
    /// Pings must be answered.
    pub(crate) pong: bool,
}

/// When a new token is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Expiry {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) expires: bool,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct SubscribeResult<'a> {
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    pub(crate) epoch: &'a str,
    pub(crate) offset: u64,
    pub(crate) was_recovering: bool,
    pub(crate) recovered: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) publications: Vec<PublicationResult<'a>>,
}

#[derive(Serialize)]
pub(crate) struct PublicationResult<'a> {
    pub(crate) offset: u64,
    pub(crate) data: &'a RawValue,
}

#[derive(Serialize)]
pub(crate) struct RefreshResult<'a> {
    pub(crate) client: &'a str,
    pub(crate) version: &'static str,
    #[serde(flatten)]
    pub(crate) expiry: Expiry,
}

#[derive(Serialize)]
pub(crate) struct HistoryResult {
    pub(crate) publications: Vec<StoredPublication>,
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
}

/// An entry that an answer owns.
#[derive(Serialize)]
pub(crate) struct StoredPublication {
    offset: u64,
    data: Box<RawValue>,
}

impl TryFrom<&Publication> for StoredPublication {
    type Error = serde_json::Error;

    fn try_from(publication: &Publication) -> Result<Self, Self::Error> {
        let data = RawValue::from_string(publication.json.as_ref().to_owned())?;
        Ok(Self {
            offset: publication.offset,
            data,
        })
    }
}

/// Writes the answer to command `id` on one line.
///
/// # Errors
/// When a value cannot be JSON, which none of these types can bring about.
pub(crate) fn write_reply(id: u32, answer: &Answer<'_>) -> Result<Utf8Bytes, serde_json::Error> {
    #[derive(Serialize)]
    struct Reply<'a> {
        id: u32,
        #[serde(flatten)]
        answer: &'a Answer<'a>,
    }
    let text = serde_json::to_string(&Reply { id, answer })?;
    Ok(match on_one_line(&text) {
        Cow::Borrowed(_) => text.into(),
        Cow::Owned(line) => line.into(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn method(line: &str) -> Method {
        match read_command(line).unwrap() {
            Command::Numbered(_, method) => method,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_read_as_the_npm_client_writes_them() {
        let connect = r#"{"connect":{"token":"t","name":"js","subs":{"user:1":{"recover":true,"offset":7,"epoch":"e"}}},"id":1}"#;
        let Method::Connect(request) = method(connect) else {
            panic!("not connect")
        };
        assert_eq!(request.token, "t");
        let sub = &request.subs["user:1"];
        assert_eq!(
            (sub.recover, sub.offset, sub.epoch.as_str()),
            (true, 7, "e")
        );
        let Method::Rpc(rpc) = method(r#"{"id":2,"rpc":{"method":"inbox","data":{"limit":3}}}"#)
        else {
            panic!("not rpc")
        };
        assert_eq!(
            (rpc.method.as_str(), rpc.data.unwrap().get()),
            ("inbox", r#"{"limit":3}"#)
        );
        assert!(matches!(read_command("{}"), Ok(Command::Pong)));
        assert!(matches!(
            read_command(r#"{"send":{"data":1}}"#),
            Ok(Command::Send)
        ));
        assert!(matches!(
            method(r#"{"id":3,"presence_stats":{"channel":"c"}}"#),
            Method::NotAvailable
        ));
        assert!(matches!(method(r#"{"id":3,"dance":{}}"#), Method::Unknown));
    }

    #[test]
    fn what_is_no_command_is_refused_in_words() {
        for (line, words) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            (r#"{"id":-1,"ping":{}}"#, "cannot be read"),
            (r#"{"connect":{}}"#, "id above 0"),
            (r#"{"id":1,"connect":{"token":7}}"#, "cannot be read"),
            (r#"{"id":1,"connect":{}} x"#, "cannot be read"),
        ] {
            let error = read_command(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn errors_say_temporary_only_when_they_are() {
        let text = |error| write_reply(4, &Answer::Error(error)).unwrap().to_string();
        assert_eq!(
            text(ProtocolError::METHOD_NOT_FOUND),
            r#"{"id":4,"error":{"code":104,"message":"method not found"}}"#
        );
        assert!(text(ProtocolError::INTERNAL).contains(r#""temporary":true"#));
    }
}
