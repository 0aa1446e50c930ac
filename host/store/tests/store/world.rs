//! A store with one log and two plugins, and short ways to say what is written to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use carillon_store::{
    CursorMove, DeadLetter, Decision, Effect, Lane, LoadAction, LogId, NewLoad, NewNotification,
    NewWithdrawal, NotificationId, Outcome, Place, PluginId, Priority, Publication, Publisher,
    Share, ShareError, Source, StateWrite, StateWrites, Store, StoreConfig, VersionId, event_key,
};
use tempfile::TempDir;

/// A time in the past, milliseconds since 1970.
pub(crate) const THEN_MS: i64 = 1_755_600_000_000;

/// A time that no test lives to see.
pub(crate) const FAR_MS: i64 = 9_000_000_000_000;

/// Remembers everything that was published.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Publication>>);

impl Publisher for Heard {
    fn published(&self, batch: &[Publication]) {
        self.0.lock().unwrap().extend_from_slice(batch);
    }
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) log: LogId,
    pub(crate) plugins: [PluginId; 2],
    pub(crate) version: VersionId,
    heard: Arc<Heard>,
    folder: Option<TempDir>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(StoreConfig::default()).await
    }

    pub(crate) async fn with(config: StoreConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self::at(folder.path(), config).await;
        world.folder = Some(folder);
        world
    }

    /// A world whose folder somebody else keeps.
    pub(crate) async fn at(folder: &Path, config: StoreConfig) -> Self {
        let store = Store::open(folder, config).await.unwrap();
        let heard = Arc::new(Heard::default());
        store.subscribe(Arc::clone(&heard) as Arc<dyn Publisher>);
        let log = store
            .log("cluster", "booking-events", THEN_MS)
            .await
            .unwrap();
        let plugins = [
            store.builtin_plugin("one").await.unwrap(),
            store.builtin_plugin("two").await.unwrap(),
        ];
        let version = store
            .plugin_version(plugins[0], "1.0.0", "abc", THEN_MS)
            .await
            .unwrap();
        Self {
            store,
            log,
            plugins,
            version,
            heard,
            folder: None,
        }
    }

    /// A share that moves the head of a partition.
    pub(crate) fn share(&self, partition: i32, expected: Option<i64>, next: i64) -> Share {
        Share::moving(CursorMove {
            log: self.log,
            partition,
            lane: Lane::Head,
            expected,
            next,
            logged_at_ms: THEN_MS,
            retry: None,
        })
    }

    /// A share of a partition of its own.
    pub(crate) fn share_with(&self, partition: i32, effects: Vec<Effect>) -> Share {
        Share {
            effects,
            ..self.share(partition, None, 1)
        }
    }

    pub(crate) fn notification(&self, event: &str) -> NewNotification {
        NewNotification {
            id: NotificationId::derive(THEN_MS, event, "one", "user:ada", "bookings", None, 0),
            stream: "user:ada".into(),
            plugin: self.plugins[0],
            plugin_name: "one".into(),
            version: self.version,
            event_id: event.to_owned(),
            kind: "booking.created".to_owned(),
            source: self.source(0),
            category: "bookings".to_owned(),
            title: format!("Room 1 is yours ({event})"),
            body: "Tomorrow from nine to ten.".to_owned(),
            data: None,
            link: None,
            channels: None,
            priority: Priority::Normal,
            collapse_key: None,
            deliver_at_ms: None,
            expires_at_ms: None,
            digest_key: None,
            digest_window_ms: None,
            correlation_id: None,
        }
    }

    pub(crate) fn notify(&self, event: &str, key: Option<&str>) -> Effect {
        let mut new = self.notification(event);
        new.collapse_key = key.map(str::to_owned);
        Effect::Notify(Box::new(new))
    }

    pub(crate) fn withdraw(&self, event: &str, key: &str) -> Effect {
        Effect::Withdraw(Box::new(NewWithdrawal {
            id: NotificationId::derive(
                THEN_MS,
                event,
                "one",
                "user:ada",
                "\0withdrawal",
                Some(key),
                0,
            ),
            stream: "user:ada".into(),
            plugin: self.plugins[0],
            plugin_name: "one".into(),
            version: self.version,
            event_id: event.to_owned(),
            kind: "booking.cancelled".to_owned(),
            source: self.source(0),
            collapse_key: key.to_owned(),
            correlation_id: None,
        }))
    }

    pub(crate) fn source(&self, offset: i64) -> Source {
        Source {
            log: self.log,
            partition: 0,
            offset,
            logged_at_ms: THEN_MS,
        }
    }

    pub(crate) fn decision(&self, event: &str, logged_at_ms: i64) -> Decision {
        Decision {
            event_key: event_key(event),
            content_hash: u64::MAX - 7,
            plugin: self.plugins[0],
            version: self.version,
            outcome: Outcome::Handled,
            actions: 1,
            attempts: 1,
            source: Source {
                logged_at_ms,
                ..self.source(0)
            },
            replaces: false,
        }
    }

    pub(crate) fn dead_letter(&self, offset: i64, value: Vec<u8>) -> DeadLetter {
        DeadLetter {
            plugin: PluginId::NONE,
            version: VersionId(0),
            source: self.source(offset),
            event_id: None,
            code: "not-json".to_owned(),
            reason: "the record is not JSON".to_owned(),
            attempts: 0,
            key: Some(b"key".to_vec()),
            value: Some(value),
            headers: vec![("trace".to_owned(), vec![0, 255])],
        }
    }

    pub(crate) fn state(&self, base_version: i64, writes: &[(&str, Option<&[u8]>)]) -> StateWrites {
        StateWrites {
            plugin: self.plugins[0],
            base_version,
            writes: writes
                .iter()
                .map(|(key, value)| StateWrite {
                    key: (*key).to_owned(),
                    value: value.map(<[u8]>::to_vec),
                    expires_at_ms: None,
                })
                .collect(),
        }
    }

    /// The load of a binary whose hash tells its version and whose bytes are its hash.
    pub(crate) fn load<'a>(&self, version: &'a str, sha256: &'a str, at_ms: i64) -> NewLoad<'a> {
        NewLoad {
            version,
            sha256,
            state_version: 3,
            binary: sha256.as_bytes(),
            signature: None,
            settings: BTreeMap::from([("colour".to_owned(), "\"blue\"".to_owned())]),
            who: "alice",
            origin: "https://example.org/one.wasm",
            action: LoadAction::Load,
            now_ms: at_ms,
        }
    }

    /// A place in a partition of the world's log.
    pub(crate) fn place(&self, partition: i32, next: i64) -> Place {
        Place {
            log: self.log,
            partition,
            next,
            logged_at_ms: THEN_MS,
        }
    }

    /// The cursors of the lanes of a partition that have one of their own.
    pub(crate) async fn own(&self, partition: i32) -> Vec<(PluginId, i64)> {
        let cursors = self.store.cursors(self.log, partition).await.unwrap();
        cursors
            .own
            .into_iter()
            .map(|(plugin, cursor)| (plugin, cursor.next))
            .collect()
    }

    /// The names of the plugins that keep their place.
    pub(crate) fn known(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .store
            .known_plugins()
            .into_iter()
            .map(|(_, name)| name.to_string())
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) async fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.store
            .state_value(self.plugins[0], key)
            .await
            .unwrap()
            .value
            .map(|(value, _)| value)
    }

    pub(crate) async fn commit_one(&self, share: Share) -> Result<(), ShareError> {
        self.store.commit(&[share]).await.remove(0)
    }

    /// Commits effects on a partition of their own.
    pub(crate) async fn effects(&self, partition: i32, effects: Vec<Effect>) {
        self.commit_one(self.share_with(partition, effects))
            .await
            .unwrap();
    }

    pub(crate) async fn head(&self, partition: i32) -> Option<i64> {
        self.store.cursors(self.log, partition).await.unwrap().head
    }

    /// The stream as offset, and the event that the entry follows from.
    pub(crate) async fn history(&self, stream: &str) -> Vec<(u64, String)> {
        let entries = self.store.history(stream, 0, u32::MAX).await.unwrap();
        entries.iter().map(line).collect()
    }

    /// What stands in the inbox, newest first, by event.
    pub(crate) async fn inbox(&self, streams: &[&str]) -> Vec<String> {
        let streams: Vec<String> = streams.iter().map(|&stream| stream.to_owned()).collect();
        let items = self.store.inbox(&streams, None, 1_000).await.unwrap();
        items
            .into_iter()
            .map(|item| item.notification.event_id)
            .collect()
    }

    /// What was published, in order.
    pub(crate) fn heard(&self) -> Vec<Publication> {
        self.heard.0.lock().unwrap().clone()
    }
}

/// An entry as offset and event; a withdrawal with a minus before it.
pub(crate) fn line(publication: &Publication) -> (u64, String) {
    let json = &publication.json;
    let event = json
        .split("\"eventId\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let sign = if json.starts_with("{\"type\":\"withdrawal\"") {
        "-"
    } else {
        ""
    };
    (publication.offset, format!("{sign}{event}"))
}

/// Short for what [`World::history`] answers.
pub(crate) fn entries(lines: &[&str]) -> Vec<(u64, String)> {
    (1..)
        .zip(lines.iter().map(|&line| line.to_owned()))
        .collect()
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
