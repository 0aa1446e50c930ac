//! Many wait for few slots while others come and go, and the service is killed amid it: no slot is
//! given twice, nobody is passed over, and each promotion is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use carillon_tests::api::{Answer, Api, Call};
use carillon_tests::child::wait_until;
use carillon_tests::ledger::{Ledger, Noted, Place, overlap, own_kinds, place};
use carillon_tests::store::Contents;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::stage::{Stage, booking, kafka, quarter, random, seconds, settled, size};

const ROOM: &str = "room-2";
const SLOTS: u32 = 5;
/// An hour.
const QUARTERS: u32 = 4;
/// Short holds, so that many end by themselves.
const CONFIG: &str = "hold_s = 1\nsweep_every_ms = 50\n";
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn no_slot_is_given_twice_and_nobody_who_waits_is_passed_over() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "waiting").await;
    let mut host = stage.booking(kafka, CONFIG).start().await.unwrap();
    let api = Api::of(&host).unwrap();
    let waiters = size(40, 80);
    for number in 0..waiters {
        let user = user(number);
        let profile =
            json!({"id": user, "email": format!("{user}@example.com"), "displayName": user});
        api.done(&Call::post("/users", profile)).await.unwrap();
    }
    let mut random = random();
    let ending = Arc::new(AtomicBool::new(false));
    let mut crowd = JoinSet::new();
    for number in 0..waiters {
        let waiter = Waiter {
            user: user(number),
            api: api.clone(),
            random: StdRng::seed_from_u64(random.random()),
            ending: Arc::clone(&ending),
        };
        crowd.spawn(waiter.live());
    }
    let (begun, length, mut kills) = (Instant::now(), seconds(10.0, 60.0), 0);
    while begun.elapsed() < length {
        let pause = length.mul_f64(random.random_range(0.05..0.25));
        tokio::time::sleep(pause).await;
        host.kill().unwrap();
        host.restart().await.unwrap();
        kills += 1;
    }
    ending.store(true, Ordering::Relaxed);
    while let Some(lived) = crowd.join_next().await {
        lived.unwrap().unwrap();
    }

    let data = host.data();
    wait_until("every hold to end", BOUND, async || {
        let ledger = Ledger::read(&data).await?;
        let held = Lived::through(&ledger).held;
        ensure!(held == 0, "{held} are held");
        Ok(Some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    let ledger = settled(&host).await;
    assert_eq!(ledger.double_bookings, 0);
    assert_eq!(ledger.double_bookings_at_any_time(), Vec::<String>::new());
    let lived = Lived::through(&ledger);
    assert_eq!(lived.passed_over, Vec::<String>::new());
    assert_eq!(lived.not_asked, Vec::<String>::new());
    assert!(lived.given > 20 && lived.outranked > 20, "{lived:?}");

    let own = own_kinds().unwrap();
    let waitlist = stage.read(kafka, "waitlist-events").await;
    let told = ledger.is_told_by(&waitlist, "waitlist", &own);
    let told = told.unwrap_or_else(|error| panic!("{error:#}"));
    let bookings = stage.read(kafka, "booking-events").await;
    let booked = ledger.is_told_by(&bookings, "booking", &own);
    booked.unwrap_or_else(|error| panic!("{error:#}"));
    let promoted: BTreeSet<&str> = waitlist
        .of_kind("waitlist.promoted")
        .map(|event| event.key.as_str())
        .collect();
    assert_eq!(promoted.len(), lived.given, "each hold is told once");

    let heard = notified(stage, kafka, &waitlist).await;
    println!(
        "waitlist: {waiters} users over {SLOTS} slots, {kills} kill -9: {} joined, {} holds given ({} accepted, {} expired, {} returned), \
         {} waiters outranked, 0 passed over, 0 given twice; {told} events told once, {heard} promotions notified once",
        lived.joined, lived.given, lived.accepted, lived.expired, lived.returned, lived.outranked
    );
}

fn user(number: u32) -> String {
    format!("waiter-{number}")
}

/// Lets a host hear everything, and counts who was told of a promotion, each once.
async fn notified(
    stage: Stage,
    kafka: &carillon_tests::kafka::Kafka,
    waitlist: &carillon_tests::ledger::Topic,
) -> usize {
    let host = stage.host(kafka).start().await.unwrap();
    let topic = stage.topic("waitlist-events");
    let ends = kafka.ends(&topic).await.unwrap();
    let data = host.data();
    let contents = wait_until("the host to hear everything", BOUND, async || {
        let contents = Contents::read(&data).await?;
        Ok(contents.has_reached(&topic, &ends).then_some(contents))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in contents.entries() {
        if entry.kind == "waitlist.promoted" {
            *told.entry(entry.event_id.as_str()).or_default() += 1;
        }
    }
    let expected: BTreeMap<&str, usize> = waitlist
        .of_kind("waitlist.promoted")
        .map(|event| (event.id.as_str(), 1))
        .collect();
    assert_eq!(told, expected);
    told.len()
}

/// One user, who wants a time, waits for it where it is taken, and gives it up again.
struct Waiter {
    user: String,
    api: Api,
    random: StdRng,
    ending: Arc<AtomicBool>,
}

impl Waiter {
    async fn live(mut self) -> Result<()> {
        for count in 0_u32.. {
            if self.ending.load(Ordering::Relaxed) {
                break;
            }
            let request = format!("{}-{count}", self.user);
            // A slot, two, or what lies in two.
            let from = self.random.random_range(0..SLOTS) * QUARTERS
                + [0, 0, QUARTERS / 2][self.random.random_range(0..3)];
            let quarters = [QUARTERS, QUARTERS, 2 * QUARTERS][self.random.random_range(0..3)];
            let body = booking(ROOM, &self.user, from, quarters);
            let call = Call::post("/bookings", body.clone()).key(&request);
            let answer = self.api.insist(&call.correlation(&request)).await?;
            match answer.status {
                StatusCode::CREATED => self.give_up(&answer).await?,
                StatusCode::CONFLICT => self.wait(from, quarters, &request).await?,
                status => anyhow::bail!("{status} {}", answer.text),
            }
        }
        Ok(())
    }

    async fn give_up(&mut self, booking: &Answer) -> Result<()> {
        self.pause().await;
        let cancel = Call::step(format!("/bookings/{}/cancel", booking.field("id")?));
        self.api.insist(&cancel).await?;
        Ok(())
    }

    async fn wait(&mut self, from: u32, quarters: u32, request: &str) -> Result<()> {
        let entry = json!({
            "userId": self.user, "title": request, "priority": self.random.random_range(0..4),
            "startTime": quarter(from), "endTime": quarter(from + quarters), "attendeesCount": 2,
        });
        let join = Call::post(format!("/waitlist/{ROOM}"), entry);
        let joined = self
            .api
            .insist(&join.key(request).correlation(request))
            .await?;
        if joined.status == StatusCode::CONFLICT {
            // It has become free, or an attempt that was not answered waits already.
            return Ok(());
        }
        ensure!(joined.status == StatusCode::CREATED, "{}", joined.text);
        let path = format!("/waitlist/{ROOM}/{}", joined.field("id")?);
        for _ in 0..self.random.random_range(2..20) {
            let standing = self.api.insist(&Call::get(&path)).await?;
            match standing.field("status")? {
                "waiting" => self.pause().await,
                "promoted" => return self.decide(&path).await,
                _ => return Ok(()),
            }
        }
        self.api.insist(&Call::delete(&path)).await?;
        Ok(())
    }

    async fn decide(&mut self, path: &str) -> Result<()> {
        match self.random.random_range(0..5) {
            // The hold ends by itself.
            0 => {}
            1 => {
                self.api.insist(&Call::delete(path)).await?;
            }
            _ => {
                let accept = Call::step(format!("{path}/accept"));
                let answer = self.api.insist(&accept).await?;
                if answer.status.is_success() {
                    self.give_up(&answer).await?;
                }
            }
        }
        Ok(())
    }

    /// As long as people take, a thousand times faster.
    async fn pause(&mut self) {
        let pause = Duration::from_millis(self.random.random_range(1..60));
        tokio::time::sleep(pause).await;
    }
}

/// Who waits for what, by priority and then by when they came.
#[derive(Debug, Clone)]
struct Wish {
    place: Place,
    rank: (i64, usize),
}

/// What the audit record says when it is lived through again.
#[derive(Debug, Default)]
struct Lived {
    joined: usize,
    given: usize,
    accepted: usize,
    expired: usize,
    returned: usize,
    /// How many waited for some of a time that went to somebody before them.
    outranked: usize,
    /// Holds that were given although somebody of higher rank waited, whom that time would have fitted.
    passed_over: Vec<String>,
    /// Those who waited on after a change, although the whole of their time was free.
    not_asked: Vec<String>,
    /// How many are held at the end.
    held: usize,
}

impl Lived {
    fn through(ledger: &Ledger) -> Self {
        let mut lived = Self::default();
        let mut taken: BTreeMap<&str, Place> = BTreeMap::new();
        let mut held: BTreeSet<&str> = BTreeSet::new();
        let mut waiting: BTreeMap<&str, Wish> = BTreeMap::new();
        let entry_of: BTreeMap<&str, &Noted> = ledger
            .about("waitlist")
            .filter(|noted| noted.action == "waitlist.promoted")
            .map(|noted| (noted.after["bookingId"].as_str().unwrap(), noted))
            .collect();
        let mut changes = ledger.audit.iter().enumerate().peekable();
        while let Some((number, noted)) = changes.next() {
            let id = noted.subject_id.as_str();
            match (noted.subject_kind.as_str(), noted.action.as_str()) {
                ("booking", "hold.given") => {
                    let entry = entry_of[id].subject_id.as_str();
                    lived.give(entry, &waiting, &taken);
                    held.insert(id);
                }
                ("booking", "hold.expired") => lived.expired += 1,
                ("booking", "hold.returned") => lived.returned += 1,
                ("waitlist", "waitlist.joined") => lived.joined += 1,
                ("waitlist", "waitlist.accepted") => lived.accepted += 1,
                _ => {}
            }
            match noted.subject_kind.as_str() {
                "booking" => {
                    if noted.after["status"] != "held" {
                        held.remove(id);
                    }
                    match place(&noted.after) {
                        Some(place) => taken.insert(id, place),
                        None => taken.remove(id),
                    };
                }
                "waitlist" if noted.after["status"] == "waiting" => {
                    waiting.insert(id, wish(&noted.after, number));
                }
                "waitlist" => {
                    waiting.remove(id);
                }
                _ => {}
            }
            // What follows from one request is one transaction.
            let goes_on = changes
                .peek()
                .is_some_and(|(_, next)| next.correlation_id == noted.correlation_id);
            if !goes_on {
                let free = waiting.iter().filter(|(_, wish)| fits(&wish.place, &taken));
                let line = |(id, _)| format!("{id} after {} {}", noted.action, noted.subject_id);
                lived.not_asked.extend(free.map(line));
            }
        }
        lived.held = held.len();
        lived
    }

    /// Somebody gets their time: nobody of higher rank waits whose own is free as well.
    fn give(&mut self, entry: &str, waiting: &BTreeMap<&str, Wish>, taken: &BTreeMap<&str, Place>) {
        self.given += 1;
        let wish = &waiting[entry];
        for (other, theirs) in waiting {
            if theirs.rank < wish.rank && fits(&theirs.place, taken) {
                self.passed_over.push(format!("{other} for {entry}"));
            }
            let is_after = theirs.rank > wish.rank;
            self.outranked += usize::from(is_after && overlap(&theirs.place, &wish.place));
        }
    }
}

fn wish(entry: &Value, number: usize) -> Wish {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    Wish {
        // No buffer: it ends when it ends.
        place: (text("resourceId"), text("startTime"), text("endTime")),
        rank: (-entry["priority"].as_i64().unwrap_or_default(), number),
    }
}

fn fits(wanted: &Place, taken: &BTreeMap<&str, Place>) -> bool {
    !taken.values().any(|held| overlap(held, wanted))
}
