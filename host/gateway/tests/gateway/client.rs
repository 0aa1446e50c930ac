//! A client of the Centrifuge protocol that shows everything that arrives.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::host::{Host, PATIENCE};

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    lines: VecDeque<Value>,
    pub(crate) answers_pings: bool,
    last_id: u32,
}

/// What the server said last.
pub(crate) type Closed = (u16, String);

impl Client {
    /// Opens a WebSocket and says nothing.
    pub(crate) async fn open(host: &Host) -> Self {
        Self::open_with(host, None).await
    }

    /// With a small receive buffer, a client that does not read is noticed soon.
    pub(crate) async fn open_with(host: &Host, receive_buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let tcp = socket.connect(host.addr).await.unwrap();
        let url = format!("ws://{}/connection/websocket", host.addr);
        let (socket, _) = client_async(url, tcp).await.unwrap();
        Self {
            socket,
            lines: VecDeque::new(),
            answers_pings: true,
            last_id: 0,
        }
    }

    /// Opens and connects; the second value is the connect result.
    pub(crate) async fn connect(host: &Host, token: &str) -> (Self, Value) {
        Self::reconnect(host, token, json!({})).await
    }

    /// Opens and connects with positions: `{"user:1": {"recover": true, "epoch": …, "offset": …}}`.
    pub(crate) async fn reconnect(host: &Host, token: &str, subs: Value) -> (Self, Value) {
        let mut client = Self::open(host).await;
        let reply = client
            .call(json!({ "connect": { "token": token, "subs": subs } }))
            .await;
        assert!(reply.get("connect").is_some(), "{reply}");
        (client, reply["connect"].clone())
    }

    pub(crate) async fn send(&mut self, command: &Value) {
        self.send_message(Message::text(command.to_string())).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        timeout(PATIENCE, self.socket.send(message))
            .await
            .expect("the server reads")
            .unwrap();
    }

    /// Whether the server, or what lies between, takes a command within this time.
    pub(crate) async fn can_send(&mut self, command: &Value, patience: Duration) -> bool {
        timeout(
            patience,
            self.socket.send(Message::text(command.to_string())),
        )
        .await
        .is_ok_and(|sent| sent.is_ok())
    }

    /// Sends a command under the next id and answers its reply. What arrives before it waits.
    pub(crate) async fn call(&mut self, mut command: Value) -> Value {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.send(&command).await;
        let mut others = VecDeque::new();
        loop {
            let line = self.line().await.expect("a reply");
            if line["id"] == self.last_id {
                others.append(&mut self.lines);
                self.lines = others;
                return line;
            }
            others.push_back(line);
        }
    }

    /// The next line, which must be there.
    pub(crate) async fn reply(&mut self) -> Value {
        self.line().await.expect("a reply")
    }

    /// The next push: channel, offset, data.
    pub(crate) async fn push(&mut self) -> Result<(String, u64, Value), Closed> {
        let line = self.line().await?;
        let push = &line["push"];
        let channel = push["channel"]
            .as_str()
            .unwrap_or_else(|| panic!("no push: {line}"));
        Ok((
            channel.to_owned(),
            push["pub"]["offset"].as_u64().unwrap(),
            push["pub"]["data"].clone(),
        ))
    }

    /// The offsets of the next pushes, which must all be of one channel.
    pub(crate) async fn offsets(&mut self, channel: &str, count: usize) -> Vec<u64> {
        let mut offsets = Vec::with_capacity(count);
        for _ in 0..count {
            let (of, offset, _) = self.push().await.expect("a push");
            assert_eq!(of, channel);
            offsets.push(offset);
        }
        offsets
    }

    /// Reads until the server closes.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.line().await {
                return closed;
            }
        }
    }

    /// The next line that is no ping.
    async fn line(&mut self) -> Result<Value, Closed> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                if line != json!({}) {
                    return Ok(line);
                }
                if self.answers_pings {
                    self.send(&json!({})).await;
                }
                continue;
            }
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server says something");
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.lines.extend(
                        text.split('\n')
                            .map(|line| serde_json::from_str::<Value>(line).unwrap()),
                    );
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("cut without a close frame: {error}"),
                None => panic!("ended without a close frame"),
            }
        }
    }
}

/// The position that a connect result gives for a channel, to recover from later.
pub(crate) fn position(connected: &Value, channel: &str) -> Value {
    let sub = &connected["subs"][channel];
    json!({ channel: { "recover": true, "epoch": sub["epoch"], "offset": sub["offset"] } })
}
