//! Many clients fight over few slots: undisturbed, while the service is killed, and while the
//! broker is away.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, bail};
use carillon_tests::api::{Answer, Api, Call};
use carillon_tests::host::Host;
use carillon_tests::kafka::Kafka;
use carillon_tests::ledger::own_kinds;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::stage::{Stage, booking, kafka, quarter, random, seconds, settled};

const CLIENTS: u32 = 64;
const SLOTS: u32 = 10;
/// An hour.
const QUARTERS: u32 = 4;
const ROOM: &str = "room-1";
/// The users of `--demo`.
const USERS: u32 = 7;
/// How many bookings everybody knows of.
const KNOWN: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_fight_over_slots_never_book_one_twice_and_each_change_is_told_once() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "fight").await;
    let host = stage.booking(kafka, "").start().await.unwrap();

    let fight = Fight::start(&host);
    tokio::time::sleep(seconds(8.0, 60.0)).await;
    let score = fight.end().await;

    let told = held_to_its_word(stage, kafka, &host, &score).await;
    assert_eq!(told.repeats, 0, "nothing is told twice where nothing fails");
    println!("fight: {}; {}", score.line(), told.line());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_amid_the_fight_loses_and_doubles_nothing() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "fight-killed").await;
    let mut host = stage.booking(kafka, "").start().await.unwrap();
    let (length, every) = (seconds(8.0, 60.0), seconds(2.0, 5.0));

    let fight = Fight::start(&host);
    let mut kills = 0;
    let begun = Instant::now();
    while begun.elapsed() < length {
        tokio::time::sleep(every).await;
        host.kill().unwrap();
        host.restart().await.unwrap();
        kills += 1;
    }
    let score = fight.end().await;

    let told = held_to_its_word(stage, kafka, &host, &score).await;
    println!(
        "fight with {kills} kill -9: {}; {}",
        score.line(),
        told.line()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_amid_the_fight_stops_nobody_and_hears_everything_later() {
    // A broker of its own, since the other tests need theirs.
    let mut kafka = Kafka::start().await.unwrap();
    let stage = Stage::new(&kafka, "fight-alone").await;
    let host = stage.booking(&kafka, "").start().await.unwrap();
    let (around, away) = (seconds(2.0, 15.0), seconds(4.0, 30.0));

    let fight = Fight::start(&host);
    tokio::time::sleep(around).await;
    tokio::task::block_in_place(|| kafka.stop()).unwrap();
    let before = fight.changes();
    tokio::time::sleep(away).await;
    let meanwhile = fight.changes() - before;
    kafka.restart().await.unwrap();
    tokio::time::sleep(around).await;
    let score = fight.end().await;

    let told = held_to_its_word(stage, &kafka, &host, &score).await;
    assert!(meanwhile > 0, "bookings do not wait for the broker");
    println!(
        "fight with the broker away for {} s: {}; {meanwhile} changes answered meanwhile; {}",
        away.as_secs(),
        score.line(),
        told.line()
    );
}

/// What became of a fight in the database and in Kafka.
struct Outcome {
    changes: usize,
    conflicts: usize,
    repeats: usize,
}

impl Outcome {
    fn line(&self) -> String {
        format!(
            "{} committed changes and {} conflicts told once each, in order, {} records sent again; \
             double bookings 0",
            self.changes, self.conflicts, self.repeats
        )
    }
}

/// Compares what the clients were answered, what the service wrote, and what it told.
async fn held_to_its_word(stage: Stage, kafka: &Kafka, host: &Host, score: &Score) -> Outcome {
    let ledger = settled(host).await;
    assert_eq!(ledger.double_bookings, 0, "double bookings at the end");
    let doubled = ledger.double_bookings_at_any_time();
    assert_eq!(doubled, Vec::<String>::new(), "double bookings meanwhile");

    let requests = ledger.by_request("booking");
    let twice = requests.iter().find(|(_, changes)| **changes > 1);
    assert_eq!(twice, None, "no request changes anything twice");
    let done: BTreeSet<&str> = requests.into_keys().collect();
    let lost = score.changed.iter().find(|id| !done.contains(id.as_str()));
    assert_eq!(lost, None, "what was answered stands");
    let unasked = done
        .iter()
        .find(|id| !score.changed.contains(**id) && !score.unknown.contains(**id));
    assert_eq!(unasked, None, "what was refused was not done");

    let bookings = stage.read(kafka, "booking-events").await;
    let changes = ledger.is_told_by(&bookings, "booking", &own_kinds().unwrap());
    let conflicts = stage.read(kafka, "conflict-events").await;
    let (detected, resolved) = ledger.conflicts;
    let told = |kind| i64::try_from(conflicts.of_kind(kind).count()).unwrap();
    assert_eq!(told("conflict.detected"), detected);
    assert_eq!(told("conflict.resolved"), resolved);
    assert!(
        detected >= i64::from(score.conflicts),
        "every refusal is told"
    );
    let changes = changes.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(changes > SLOTS as usize, "it was a fight");
    Outcome {
        changes,
        conflicts: conflicts.events.len(),
        repeats: bookings.repeats + conflicts.repeats,
    }
}

/// Clients that go on until they are ended.
struct Fight {
    arena: Arc<Arena>,
    fighters: JoinSet<Result<Score>>,
}

/// What the clients share.
struct Arena {
    api: Api,
    ending: AtomicBool,
    changes: AtomicU32,
    /// Bookings that were made lately, by anybody, and a version of each.
    known: Mutex<VecDeque<Version>>,
}

#[derive(Debug, Clone)]
struct Version {
    id: String,
    etag: String,
}

/// What the clients were answered.
#[derive(Debug, Default)]
struct Score {
    requests: u32,
    /// The requests that changed something.
    changed: BTreeSet<String>,
    /// Those that were refused, after an attempt that may have done it.
    unknown: BTreeSet<String>,
    conflicts: u32,
    refusals: u32,
    lost: u32,
}

impl Score {
    fn line(&self) -> String {
        format!(
            "{CLIENTS} clients over {SLOTS} slots, {} requests, {} changes, {} conflicts, {} other refusals, \
             {} attempts without an answer",
            self.requests,
            self.changed.len(),
            self.conflicts,
            self.refusals,
            self.lost
        )
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.changed.extend(other.changed);
        self.unknown.extend(other.unknown);
        self.conflicts += other.conflicts;
        self.refusals += other.refusals;
        self.lost += other.lost;
    }

    fn note(&mut self, request: String, answer: &Answer) -> Result<()> {
        self.requests += 1;
        self.lost += answer.lost;
        if answer.status.is_success() {
            self.changed.insert(request);
            return Ok(());
        }
        match answer.status {
            StatusCode::CONFLICT if answer.body["type"] == "urn:carillon:problem:overlap" => {
                self.conflicts += 1
            }
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => self.refusals += 1,
            status => bail!("{request}: {status} {}", answer.text),
        }
        if answer.lost > 0 {
            self.unknown.insert(request);
        }
        Ok(())
    }
}

impl Fight {
    fn start(host: &Host) -> Self {
        let arena = Arc::new(Arena {
            api: Api::of(host).unwrap(),
            ending: AtomicBool::new(false),
            changes: AtomicU32::new(0),
            known: Mutex::new(VecDeque::new()),
        });
        let mut random = random();
        let mut fighters = JoinSet::new();
        for number in 0..CLIENTS {
            let fighter = Fighter {
                number,
                arena: Arc::clone(&arena),
                random: StdRng::seed_from_u64(random.random()),
                own: None,
            };
            fighters.spawn(fighter.fight());
        }
        Self { arena, fighters }
    }

    /// How many changes were answered so far.
    fn changes(&self) -> u32 {
        self.arena.changes.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it is at.
    async fn end(mut self) -> Score {
        self.arena.ending.store(true, Ordering::Relaxed);
        let mut score = Score::default();
        while let Some(fought) = self.fighters.join_next().await {
            score.add(fought.unwrap().unwrap());
        }
        score
    }
}

/// One client, who holds one booking at most.
struct Fighter {
    number: u32,
    arena: Arc<Arena>,
    random: StdRng,
    own: Option<Version>,
}

impl Fighter {
    async fn fight(mut self) -> Result<Score> {
        let mut score = Score::default();
        for count in 0_u32.. {
            if self.arena.ending.load(Ordering::Relaxed) {
                break;
            }
            let request = format!("client-{}-{count}", self.number);
            match (self.own.take(), self.random.random_range(0..8)) {
                (own, 0) if self.knows_somebody() => {
                    self.own = own;
                    self.meddle(&request, &mut score).await?;
                }
                (None, _) => self.book(&request, &mut score).await?,
                (Some(own), _) => self.go_on(own, &request, &mut score).await?,
            }
        }
        Ok(score)
    }

    async fn ask(&self, call: Call, request: &str, score: &mut Score) -> Result<Answer> {
        let call = call.correlation(request);
        let answer = self.arena.api.insist(&call).await?;
        score.note(request.to_owned(), &answer)?;
        if answer.status.is_success() {
            self.arena.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// A slot, or a time that lies in two.
    fn time(&mut self) -> u32 {
        let slot = self.random.random_range(0..SLOTS) * QUARTERS;
        match self.random.random_range(0..4) {
            0 => slot + QUARTERS / 2,
            _ => slot,
        }
    }

    async fn book(&mut self, request: &str, score: &mut Score) -> Result<()> {
        let user = format!("user-{}", self.number % USERS + 1);
        let from = self.time();
        let call = Call::post("/bookings", booking(ROOM, &user, from, QUARTERS)).key(request);
        let answer = self.ask(call, request, score).await?;
        if answer.status == StatusCode::CREATED {
            let own = version(&answer)?;
            self.tell_everybody(&own);
            self.own = Some(own);
        }
        Ok(())
    }

    /// Does something to the booking that it holds.
    async fn go_on(&mut self, own: Version, request: &str, score: &mut Score) -> Result<()> {
        let path = format!("/bookings/{}", own.id);
        let call = match self.random.random_range(0..6) {
            0 => Call::step(format!("{path}/check-in")),
            1 => Call::step(format!("{path}/check-out")),
            2 => self.change(&own, request),
            _ => Call::step(format!("{path}/cancel")),
        };
        let answer = self.ask(call, request, score).await?;
        self.own = match answer.status.is_success() {
            true if is_over(&answer.body) => None,
            true => Some(version(&answer)?),
            false => self.look(&path).await?,
        };
        Ok(())
    }

    /// Changes a booking that anybody has made, which they may have changed since.
    async fn meddle(&mut self, request: &str, score: &mut Score) -> Result<()> {
        let other = self.somebody();
        let call = self.change(&other, request);
        self.ask(call, request, score).await?;
        Ok(())
    }

    fn tell_everybody(&self, booking: &Version) {
        let mut known = self.arena.known.lock().unwrap();
        known.push_back(booking.clone());
        if known.len() > KNOWN {
            known.pop_front();
        }
    }

    fn somebody(&mut self) -> Version {
        let known = self.arena.known.lock().unwrap();
        known[self.random.random_range(0..known.len())].clone()
    }

    fn knows_somebody(&self) -> bool {
        !self.arena.known.lock().unwrap().is_empty()
    }

    fn change(&mut self, booking: &Version, request: &str) -> Call {
        let mut body = json!({ "title": format!("Changed by {request}") });
        if self.random.random() {
            body["startTime"] = json!(quarter(self.time()));
        }
        Call::patch(format!("/bookings/{}", booking.id), &booking.etag, body)
    }

    /// The booking as it is now, unless it is over.
    async fn look(&self, path: &str) -> Result<Option<Version>> {
        let answer = self.arena.api.insist(&Call::get(path)).await?;
        match is_over(&answer.body) {
            true => Ok(None),
            false => Ok(Some(version(&answer)?)),
        }
    }
}

fn version(answer: &Answer) -> Result<Version> {
    Ok(Version {
        id: answer.field("id")?.to_owned(),
        etag: answer.version()?.to_owned(),
    })
}

fn is_over(booking: &Value) -> bool {
    ["cancelled", "checked_out"].contains(&booking["status"].as_str().unwrap_or_default())
}
