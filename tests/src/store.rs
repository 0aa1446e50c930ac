//! What a host wrote, read from its SQLite file from outside, and how two such files differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

/// A partition of a topic.
pub type Partition = (String, i64);

/// One entry of a stream, without what may differ between two runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The plugin that decided on it.
    pub plugin: String,
    /// The partition of the event.
    pub partition: Partition,
    /// The offset of the event's record there.
    pub record_offset: i64,
    /// The event's id.
    pub event_id: String,
    /// The event's kind, as the host resolved it.
    pub kind: String,
    /// The notification's id in hexadecimal digits.
    pub id: String,
    /// The title; empty for a withdrawal.
    pub title: String,
    /// The text.
    pub body: String,
}

/// A decision: plugin, hash of the event's id, outcome, number of actions, partition and offset.
pub type Decision = (String, String, i64, i64, Partition, i64);

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetter {
    /// The plugin; empty for what could not be decoded.
    pub plugin: String,
    /// The partition of the record.
    pub partition: Partition,
    /// The record's offset.
    pub record_offset: i64,
    /// The kebab-case code of the reason.
    pub code: String,
    /// The reason, for people.
    pub reason: String,
}

/// Everything that a crash must not change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The visible entries of every stream by offset.
    pub streams: BTreeMap<String, BTreeMap<i64, Entry>>,
    /// Plugin and key to value.
    pub state: BTreeMap<(String, String), Vec<u8>>,
    /// Partition and plugin to the next offset. The empty name is the head; a lane of its own that
    /// stands where the head stands is left out, for it is about to join the head.
    pub cursors: BTreeMap<(Partition, String), i64>,
    /// Every decision.
    pub decisions: BTreeSet<Decision>,
    /// Every dead letter.
    pub dead_letters: BTreeSet<DeadLetter>,
}

impl Contents {
    /// Reads the store of a data folder; the host may run meanwhile.
    ///
    /// # Errors
    /// When there is no store yet, or it is not as expected.
    pub async fn read(data: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(data.join("carillon.db"))
            .read_only(true);
        let mut database = SqliteConnection::connect_with(&options).await?;
        // One transaction: all parts are of the same commit.
        let mut database = database.begin().await?;
        Ok(Self {
            streams: streams(&mut database).await?,
            state: state(&mut database).await?,
            cursors: cursors(&mut database).await?,
            decisions: decisions(&mut database).await?,
            dead_letters: dead_letters(&mut database).await?,
        })
    }

    /// Whether the head and every lane stand at the ends of a topic.
    #[must_use]
    pub fn has_reached(&self, topic: &str, ends: &[i64]) -> bool {
        let reached = |(partition, end): (i64, &i64)| {
            let partition = (topic.to_owned(), partition);
            let mut own = self.cursors.iter().filter(|((at, _), _)| *at == partition);
            let head = self.cursors.get(&(partition.clone(), String::new()));
            // A partition without records needs no cursor.
            head.map_or(*end == 0, |next| next == end) && own.all(|(_, next)| next == end)
        };
        (0..).zip(ends).all(reached)
    }

    /// All entries of all streams.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.streams.values().flat_map(BTreeMap::values)
    }

    /// Compares this, the truth, with another run over the same records.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Difference {
        let (truth, found) = (self.effects(), other.effects());
        let (lost, doubled) = (missing(&truth, &found), missing(&found, &truth));
        let order = |contents: &Self| {
            let streams = contents.streams.iter();
            streams
                .flat_map(|(stream, entries)| entries.values().map(move |entry| (stream, entry)))
                .fold(BTreeMap::new(), |mut order, (stream, entry)| {
                    let lane = (
                        stream.clone(),
                        entry.plugin.clone(),
                        entry.partition.clone(),
                    );
                    let list: &mut Vec<Entry> = order.entry(lane).or_default();
                    list.push(entry.clone());
                    order
                })
        };
        Difference {
            effects: truth.values().sum(),
            lost,
            doubled,
            reordered: order(self) != order(other),
            gaps: other.gaps(),
            state: self.state != other.state,
            cursors: self.cursors != other.cursors,
            decisions: self
                .decisions
                .symmetric_difference(&other.decisions)
                .count(),
            dead_letters: self
                .dead_letters
                .symmetric_difference(&other.dead_letters)
                .count(),
        }
    }

    /// The streams whose offsets are not 1, 2, 3 …
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let broken =
            |entries: &BTreeMap<i64, Entry>| !entries.keys().copied().eq(1..=entries.len() as i64);
        let streams = self.streams.iter().filter(|(_, entries)| broken(entries));
        streams.map(|(name, _)| name.clone()).collect()
    }

    /// How often each effect is there. The id is left out on purpose: were one effect stored under
    /// two ids, it would be doubled.
    fn effects(&self) -> BTreeMap<(String, Entry), usize> {
        let mut counts = BTreeMap::new();
        for (stream, entries) in &self.streams {
            for entry in entries.values() {
                let effect = Entry {
                    id: String::new(),
                    ..entry.clone()
                };
                *counts.entry((stream.clone(), effect)).or_default() += 1;
            }
        }
        counts
    }
}

/// How many records the head has passed over all partitions: a cheap question that may be asked
/// often, also while the host starts and there is no store yet.
///
/// # Errors
/// When the store cannot be read.
pub async fn progress(data: &Path) -> Result<i64> {
    let path = data.join("carillon.db");
    if !path.is_file() {
        return Ok(0);
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await?;
    let passed =
        sqlx::query_scalar("SELECT coalesce(sum(next_offset), 0) FROM cursors WHERE plugin_id = 0")
            .fetch_one(&mut database)
            .await?;
    database.close().await?;
    Ok(passed)
}

/// How a disturbed run differs from an undisturbed one over the same records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many effects the undisturbed run has.
    pub effects: usize,
    /// How many of them are missing.
    pub lost: usize,
    /// How many are there that should not be.
    pub doubled: usize,
    /// Whether a stream holds the entries of one plugin and partition in another order.
    pub reordered: bool,
    /// Streams with a gap.
    pub gaps: Vec<String>,
    /// Whether plugin state differs.
    pub state: bool,
    /// Whether cursors differ.
    pub cursors: bool,
    /// How many decisions are in one run only.
    pub decisions: usize,
    /// How many dead letters are in one run only.
    pub dead_letters: usize,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let counts =
            self.lost + self.doubled + self.gaps.len() + self.decisions + self.dead_letters;
        counts == 0 && !self.reordered && !self.state && !self.cursors
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |differs: bool| if differs { "DIFFERENT" } else { "equal" };
        write!(
            f,
            "{} effects: lost {}, doubled {}; order per key {}, streams with a gap {}, plugin state {}, \
             cursors {}, decisions in one run only {}, dead letters in one run only {}",
            self.effects,
            self.lost,
            self.doubled,
            word(self.reordered),
            self.gaps.len(),
            word(self.state),
            word(self.cursors),
            self.decisions,
            self.dead_letters
        )
    }
}

fn missing<K: Ord>(truth: &BTreeMap<K, usize>, found: &BTreeMap<K, usize>) -> usize {
    let short =
        |(key, count): (&K, &usize)| count.saturating_sub(found.get(key).copied().unwrap_or(0));
    truth.iter().map(short).sum()
}

async fn streams(
    database: &mut SqliteConnection,
) -> Result<BTreeMap<String, BTreeMap<i64, Entry>>> {
    let rows = sqlx::query(
        "SELECT s.name AS stream, n.stream_offset, p.name AS plugin, l.topic, n.partition, n.record_offset,
                n.event_id, n.kind, lower(hex(n.id)) AS id, n.title, n.body
         FROM notifications n
         JOIN streams s ON s.id = n.stream_id
         JOIN plugins p ON p.id = n.plugin_id
         JOIN logs l ON l.id = n.log_id
         WHERE n.stream_offset IS NOT NULL",
    )
    .fetch_all(database)
    .await?;
    let mut streams: BTreeMap<String, BTreeMap<i64, Entry>> = BTreeMap::new();
    for row in rows {
        let entry = Entry {
            plugin: row.try_get("plugin")?,
            partition: (row.try_get("topic")?, row.try_get("partition")?),
            record_offset: row.try_get("record_offset")?,
            event_id: row.try_get("event_id")?,
            kind: row.try_get("kind")?,
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            body: row.try_get("body")?,
        };
        let stream = streams.entry(row.try_get("stream")?).or_default();
        stream.insert(row.try_get("stream_offset")?, entry);
    }
    Ok(streams)
}

async fn state(database: &mut SqliteConnection) -> Result<BTreeMap<(String, String), Vec<u8>>> {
    let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT p.name, s.key, s.value FROM plugin_state s JOIN plugins p ON p.id = s.plugin_id",
    )
    .fetch_all(database)
    .await?;
    let entries = rows.into_iter();
    Ok(entries
        .map(|(plugin, key, value)| ((plugin, key), value))
        .collect())
}

async fn cursors(database: &mut SqliteConnection) -> Result<BTreeMap<(Partition, String), i64>> {
    let rows: Vec<(String, i64, String, i64)> = sqlx::query_as(
        "SELECT l.topic, c.partition, coalesce(p.name, ''), c.next_offset
         FROM cursors c
         JOIN logs l ON l.id = c.log_id
         LEFT JOIN plugins p ON p.id = c.plugin_id
         WHERE c.plugin_id = 0 OR NOT EXISTS (
             SELECT 1 FROM cursors head
             WHERE head.log_id = c.log_id AND head.partition = c.partition
               AND head.plugin_id = 0 AND head.next_offset = c.next_offset)",
    )
    .fetch_all(database)
    .await?;
    let entries = rows.into_iter();
    Ok(entries
        .map(|(topic, partition, plugin, next)| (((topic, partition), plugin), next))
        .collect())
}

async fn decisions(database: &mut SqliteConnection) -> Result<BTreeSet<Decision>> {
    let hours: Vec<i64> = sqlx::query_scalar("SELECT hour FROM decision_hours")
        .fetch_all(&mut *database)
        .await?;
    let mut decisions = BTreeSet::new();
    for hour in hours {
        // The table's name is made of a number that was just read.
        let query = AssertSqlSafe(format!(
            "SELECT p.name, lower(hex(d.event_key)), d.outcome, d.actions, l.topic, d.partition, d.record_offset
             FROM decisions_{hour} d
             JOIN plugins p ON p.id = d.plugin_id
             JOIN logs l ON l.id = d.log_id"
        ));
        let rows: Vec<(String, String, i64, i64, String, i64, i64)> =
            sqlx::query_as(query).fetch_all(&mut *database).await?;
        decisions.extend(rows.into_iter().map(
            |(plugin, event, outcome, actions, topic, partition, offset)| {
                (plugin, event, outcome, actions, (topic, partition), offset)
            },
        ));
    }
    Ok(decisions)
}

async fn dead_letters(database: &mut SqliteConnection) -> Result<BTreeSet<DeadLetter>> {
    let rows: Vec<(String, String, i64, i64, String, String)> = sqlx::query_as(
        "SELECT coalesce(p.name, ''), l.topic, d.partition, d.record_offset, d.code, d.reason
         FROM dead_letters d
         JOIN logs l ON l.id = d.log_id
         LEFT JOIN plugins p ON p.id = d.plugin_id",
    )
    .fetch_all(database)
    .await?;
    let letters = rows.into_iter();
    Ok(letters
        .map(
            |(plugin, topic, partition, record_offset, code, reason)| DeadLetter {
                plugin,
                partition: (topic, partition),
                record_offset,
                code,
                reason,
            },
        )
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(id: &str, event: &str, record_offset: i64) -> Entry {
        Entry {
            plugin: "echo".to_owned(),
            partition: ("booking-events".to_owned(), 0),
            record_offset,
            event_id: event.to_owned(),
            kind: "booking.created".to_owned(),
            id: id.to_owned(),
            title: String::new(),
            body: String::new(),
        }
    }

    fn stream(entries: Vec<Entry>) -> Contents {
        let entries = (1..).zip(entries).collect();
        Contents {
            streams: BTreeMap::from([("user:a".to_owned(), entries)]),
            ..Contents::default()
        }
    }

    fn truth() -> Contents {
        stream(vec![entry("1", "a", 0), entry("2", "b", 1)])
    }

    #[test]
    fn equal_runs_do_not_differ() {
        let difference = truth().compare(&truth());
        assert!(difference.is_none(), "{difference}");
        assert_eq!(difference.effects, 2);
    }

    #[test]
    fn a_missing_effect_is_lost() {
        let difference = truth().compare(&stream(vec![entry("1", "a", 0)]));
        assert_eq!((difference.lost, difference.doubled), (1, 0));
        assert!(!difference.is_none());
    }

    #[test]
    fn an_effect_that_is_stored_again_under_another_id_is_doubled() {
        let twice = vec![entry("1", "a", 0), entry("2", "b", 1), entry("3", "b", 1)];
        let difference = truth().compare(&stream(twice));
        assert_eq!((difference.lost, difference.doubled), (0, 1));
        assert!(!difference.is_none());
    }

    #[test]
    fn effects_in_another_order_are_noticed() {
        let swapped = stream(vec![entry("2", "b", 1), entry("1", "a", 0)]);
        let difference = truth().compare(&swapped);
        assert_eq!((difference.lost, difference.doubled), (0, 0));
        assert!(difference.reordered && !difference.is_none());
    }

    #[test]
    fn a_gap_in_the_offsets_is_noticed() {
        let mut gapped = truth();
        let entries = gapped.streams.get_mut("user:a").unwrap();
        let last = entries.remove(&2).unwrap();
        entries.insert(3, last);
        let difference = truth().compare(&gapped);
        assert_eq!(difference.gaps, ["user:a"]);
        assert!(!difference.is_none());
    }

    #[test]
    fn other_cursors_state_and_decisions_are_noticed() {
        let partition = ("booking-events".to_owned(), 0);
        let mut other = truth();
        other.cursors.insert((partition.clone(), String::new()), 7);
        other
            .state
            .insert(("counter".to_owned(), "count".to_owned()), b"2".to_vec());
        other
            .decisions
            .insert(("echo".to_owned(), "00".to_owned(), 0, 1, partition, 0));
        let difference = truth().compare(&other);
        assert!(difference.cursors && difference.state);
        assert_eq!(difference.decisions, 1);
        assert!(!difference.is_none());
    }

    #[test]
    fn the_end_is_reached_when_the_head_and_every_lane_stand_there() {
        let at = |partition: i64, plugin: &str| (("t".to_owned(), partition), plugin.to_owned());
        let mut contents = Contents::default();
        assert!(contents.has_reached("t", &[0, 0]));
        assert!(!contents.has_reached("t", &[3, 0]));
        contents.cursors.insert(at(0, ""), 3);
        assert!(contents.has_reached("t", &[3, 0]));
        contents.cursors.insert(at(0, "slow"), 2);
        assert!(!contents.has_reached("t", &[3, 0]));
    }
}
