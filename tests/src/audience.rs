//! Many clients that stay, each with a user of its own: what each has heard, when, and how often
//! it had to come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::child::wait_until;
use crate::client::{Client, Position, Publication};
use crate::host::Host;

/// How long a client tries to come back.
const RETURN_BOUND: Duration = Duration::from_secs(90);
/// How long it waits between two attempts, as SDKs do.
const RETURN_PAUSE: Duration = Duration::from_millis(100);
/// How many clients a machine lets in at a time: a token is a process to make.
const ARRIVING: usize = 2;

/// Clients that are connected, and connect again whenever they are dropped.
#[derive(Debug)]
pub struct Audience {
    readers: JoinSet<Result<Heard>>,
    gateway: watch::Sender<String>,
    ending: watch::Sender<bool>,
    heard: Arc<AtomicU64>,
}

/// What one client has heard.
#[derive(Debug)]
pub struct Heard {
    /// Its stream.
    pub stream: String,
    /// Everything, in the order in which it came.
    pub pushes: Vec<Push>,
    /// When the connection was lost, and why.
    pub drops: Vec<(Instant, String)>,
    /// How often it came back and recovered what it had missed.
    pub recoveries: usize,
}

/// One notification.
#[derive(Debug, Clone)]
pub struct Push {
    /// Its place in the stream.
    pub offset: u64,
    /// The event that it follows from.
    pub event_id: String,
    /// Its title.
    pub title: String,
    /// When it came.
    pub at: Instant,
}

impl Audience {
    /// Connects `user-0`, `user-1` and so on.
    ///
    /// # Errors
    /// When one of them cannot connect.
    pub async fn connect(host: &Host, users: u32) -> Result<Self> {
        let url = host.gateway()?;
        let (gateway, ending) = (watch::Sender::new(url.clone()), watch::Sender::new(false));
        let heard = Arc::new(AtomicU64::new(0));
        let mut arriving = JoinSet::new();
        let mut readers = JoinSet::new();
        for number in 0..users {
            if arriving.len() >= ARRIVING {
                seat(&mut arriving, &mut readers).await?;
            }
            let user = format!("user-{number}");
            let minting = host.token_command(&user)?;
            let url = url.clone();
            let (gateway, ending) = (gateway.subscribe(), ending.subscribe());
            let heard = Arc::clone(&heard);
            arriving.spawn(async move {
                let token = tokio::task::spawn_blocking(minting).await??;
                let client = Client::connect(&url, &token, &BTreeMap::new()).await?;
                Ok(Reader {
                    client,
                    token,
                    gateway,
                    ending,
                    all: heard,
                    heard: Heard::new(format!("user:{user}")),
                })
            });
        }
        while !arriving.is_empty() {
            seat(&mut arriving, &mut readers).await?;
        }
        Ok(Self {
            readers,
            gateway,
            ending,
            heard,
        })
    }

    /// Where the gateway is now: a restart may have moved it.
    pub fn gateway_at(&self, url: &str) {
        self.gateway.send_replace(url.to_owned());
    }

    /// Waits until all clients together have heard so many notifications, then lets them go;
    /// answers what each has heard.
    ///
    /// # Errors
    /// When that does not come about in time, or a client was told something out of order.
    pub async fn end(mut self, notifications: u64, bound: Duration) -> Result<Vec<Heard>> {
        let what = format!("{notifications} notifications to be heard");
        let waited = wait_until(&what, bound, async || {
            let heard = self.heard.load(Ordering::Acquire);
            ensure!(heard >= notifications, "{heard} were");
            Ok(Some(()))
        })
        .await;
        self.ending.send_replace(true);
        let mut all = Vec::new();
        while let Some(heard) = self.readers.join_next().await {
            all.push(heard??);
        }
        waited.map(|()| all)
    }
}

/// Lets the next one that has arrived listen.
async fn seat(
    arriving: &mut JoinSet<Result<Reader>>,
    readers: &mut JoinSet<Result<Heard>>,
) -> Result<()> {
    let reader = arriving.join_next().await.context("nobody arrives")???;
    readers.spawn(reader.listen());
    Ok(())
}

struct Reader {
    client: Client,
    token: String,
    gateway: watch::Receiver<String>,
    ending: watch::Receiver<bool>,
    all: Arc<AtomicU64>,
    heard: Heard,
}

impl Heard {
    fn new(stream: String) -> Self {
        Self {
            stream,
            pushes: Vec::new(),
            drops: Vec::new(),
            recoveries: 0,
        }
    }
}

impl Reader {
    async fn listen(mut self) -> Result<Heard> {
        loop {
            let next = tokio::select! {
                next = self.client.next() => next,
                // The sender is gone only where the test has failed already.
                _ = self.ending.changed() => return Ok(self.heard),
            };
            match next {
                Ok(publication) => self.take(&publication),
                Err(error) => self.come_back(format!("{error:#}")).await?,
            }
        }
    }

    fn take(&mut self, publication: &Publication) {
        let text = |key: &str| {
            publication.data[key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.heard.pushes.push(Push {
            offset: publication.offset,
            event_id: text("eventId"),
            title: text("title"),
            at: Instant::now(),
        });
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    /// Connects again from where it stands.
    async fn come_back(&mut self, why: String) -> Result<()> {
        // The client's position counts what came in one frame with its end.
        for publication in self.client.unread() {
            self.take(&publication);
        }
        if let Some(gap) = self.client.gap() {
            bail!("a client was told something out of order: {gap}");
        }
        let from = self.client.positions().clone();
        let dropped = Instant::now();
        let client = self
            .connect_again(&from)
            .await
            .with_context(|| format!("a client could not come back after {why}"))?;
        self.heard.drops.push((dropped, why));
        if let Some((stream, _)) = client.recovered().iter().find(|(_, whole)| !**whole) {
            bail!("{stream} was not recovered");
        }
        self.heard.recoveries += 1;
        self.client = client;
        Ok(())
    }

    async fn connect_again(&self, from: &BTreeMap<String, Position>) -> Result<Client> {
        let start = Instant::now();
        loop {
            let url = self.gateway.borrow().clone();
            match Client::connect(&url, &self.token, from).await {
                Err(error) if start.elapsed() > RETURN_BOUND => return Err(error),
                Err(_) => tokio::time::sleep(RETURN_PAUSE).await,
                connected => return connected,
            }
        }
    }
}
