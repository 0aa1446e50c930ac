//! A client of the gateway's WebSocket: the Centrifuge client protocol in its JSON form, as much
//! as the tests need, and stricter than the published SDKs: an offset that is not the next one is
//! an error.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a test waits for the next frame.
const FRAME_BOUND: Duration = Duration::from_secs(30);

/// Where a client stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch of the stream's history.
    pub epoch: String,
    /// The offset of the last publication that the client has.
    pub offset: u64,
}

/// One publication.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The stream.
    pub channel: String,
    /// Its offset there.
    pub offset: u64,
    /// The notification.
    pub data: Value,
}

/// A connection that is up.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    positions: BTreeMap<String, Position>,
    recovered: BTreeMap<String, bool>,
    waiting: VecDeque<Publication>,
    replies: VecDeque<Value>,
    next_id: u64,
    gap: Option<String>,
}

impl Client {
    /// Connects with a token, asking to recover from the positions of an earlier connection.
    ///
    /// # Errors
    /// When the gateway refuses, answers out of protocol, or recovers publications with a gap.
    pub async fn connect(
        gateway: &str,
        token: &str,
        from: &BTreeMap<String, Position>,
    ) -> Result<Self> {
        let address = gateway.replacen("http", "ws", 1) + "/connection/websocket";
        let (socket, _) = tokio_tungstenite::connect_async(address).await?;
        let mut client = Self {
            socket,
            positions: BTreeMap::new(),
            recovered: BTreeMap::new(),
            waiting: VecDeque::new(),
            replies: VecDeque::new(),
            next_id: 1,
            gap: None,
        };
        let subs: Map<String, Value> = from
            .iter()
            .map(|(channel, position)| {
                let sub = json!({
                    "recover": true, "epoch": position.epoch, "offset": position.offset
                });
                (channel.clone(), sub)
            })
            .collect();
        let reply = client
            .call("connect", json!({"token": token, "subs": subs}))
            .await?;
        client.take_subscriptions(&reply, from)?;
        Ok(client)
    }

    /// Where this client stands, for the next connection.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<String, Position> {
        &self.positions
    }

    /// What the gateway said of each stream whose recovery was asked for.
    #[must_use]
    pub fn recovered(&self) -> &BTreeMap<String, bool> {
        &self.recovered
    }

    /// The first offset that was not the next one of its stream, if there was one.
    #[must_use]
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    /// Sends one command and answers its result.
    ///
    /// # Errors
    /// When the gateway answers with an error, closes, or does not answer in time.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let command = json!({"id": id, method: parameters});
        self.socket.send(Message::text(command.to_string())).await?;
        loop {
            let place = self.replies.iter().position(|reply| reply["id"] == id);
            if let Some(reply) = place.and_then(|place| self.replies.remove(place)) {
                if let Some(error) = reply.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(reply[method].clone());
            }
            self.read_frame().await?;
        }
    }

    /// The next publication; recovered ones come first.
    ///
    /// # Errors
    /// When none comes in time, the connection closes (with its code and reason), or an offset is
    /// not the next one of its stream.
    pub async fn next(&mut self) -> Result<Publication> {
        loop {
            if let Some(publication) = self.waiting.pop_front() {
                return Ok(publication);
            }
            self.read_frame().await?;
        }
    }

    /// Publications that came and were not asked for by [`Client::next`] yet.
    pub fn unread(&mut self) -> Vec<Publication> {
        self.waiting.drain(..).collect()
    }

    /// The code and the reason with which the gateway closes.
    ///
    /// # Errors
    /// When it does not, in time.
    pub async fn closed(mut self) -> Result<(u16, String)> {
        loop {
            let frame = tokio::time::timeout(FRAME_BOUND, self.socket.next()).await;
            match frame.context("the gateway did not close the connection")? {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Ok((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection ended without a close frame"),
            }
        }
    }

    /// Sends text that need not be a command.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_raw(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(text.to_owned())).await?)
    }

    fn take_subscriptions(
        &mut self,
        reply: &Value,
        from: &BTreeMap<String, Position>,
    ) -> Result<()> {
        let subs = reply["subs"].as_object().cloned().unwrap_or_default();
        for (channel, sub) in subs {
            let epoch = sub["epoch"].as_str().unwrap_or_default().to_owned();
            let offset = sub["offset"].as_u64().unwrap_or_default();
            let recovered = sub["recovered"].as_bool().unwrap_or_default();
            let publications = sub["publications"].as_array().cloned().unwrap_or_default();
            let before = from.get(&channel);
            if before.is_some() {
                self.recovered.insert(channel.clone(), recovered);
            }
            // The reply says where the client stands before what it recovers.
            ensure!(
                !recovered || before.is_some_and(|before| before.offset == offset),
                "{channel}: recovered from {offset}, and {before:?} was asked for"
            );
            let position = Position { epoch, offset };
            self.positions.insert(channel.clone(), position);
            for publication in &publications {
                self.take_publication(&channel, publication)?;
            }
        }
        Ok(())
    }

    fn take_publication(&mut self, channel: &str, publication: &Value) -> Result<()> {
        let offset = publication["offset"].as_u64().context("no offset")?;
        if let Some(position) = self.positions.get_mut(channel) {
            if offset != position.offset + 1 {
                let gap = format!("{channel}: offset {offset} after {}", position.offset);
                self.gap.get_or_insert(gap.clone());
                bail!(gap);
            }
            position.offset = offset;
        }
        self.waiting.push_back(Publication {
            channel: channel.to_owned(),
            offset,
            data: publication["data"].clone(),
        });
        Ok(())
    }

    async fn read_frame(&mut self) -> Result<()> {
        let frame = tokio::time::timeout(FRAME_BOUND, self.socket.next())
            .await
            .context("no frame came in time")?
            .context("the connection ended")??;
        let text = match frame {
            Message::Text(text) => text,
            Message::Close(Some(frame)) => bail!("closed: {} {}", frame.code, frame.reason),
            Message::Close(None) => bail!("closed without a code"),
            _ => return Ok(()),
        };
        // One frame may carry several replies, a line each.
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let message: Value = serde_json::from_str(line)?;
            if message.as_object().is_some_and(Map::is_empty) {
                // A ping; the pong is as empty.
                self.socket.send(Message::text("{}")).await?;
            } else if message.get("id").is_some() {
                self.replies.push_back(message);
            } else if let Some(disconnect) = message["push"].get("disconnect") {
                bail!("disconnected: {disconnect}");
            } else if let Some(publication) = message["push"].get("pub") {
                let channel = message["push"]["channel"].as_str().unwrap_or_default();
                self.take_publication(channel, publication)?;
            }
        }
        Ok(())
    }
}
