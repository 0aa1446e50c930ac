//! The crash test on Apache Kafka: `kill -9` at random moments, and afterwards everything is as if
//! nothing had happened. Its size comes from the environment: `CRASH_EVENTS`, `CRASH_KILLS`,
//! `CRASH_BOOKINGS`, `CRASH_BOOKING_KILLS`, `CRASH_SEED`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use carillon_tests::bookings::{Booked, book_all};
use carillon_tests::child::wait_until;
use carillon_tests::events;
use carillon_tests::host::{Host, Setup, guest};
use carillon_tests::kafka::{Kafka, Record, send};
use carillon_tests::store::{Contents, progress};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::Producer;
use serde_json::Value;
use tokio::sync::Mutex;

const TOPIC: &str = "booking-events";
const PARTITIONS: i32 = 4;

/// A killed consumer holds its partitions until its session ends: short, so that many kills fit.
const SESSION: &str = "session_timeout_ms = 1000\nheartbeat_interval_ms = 300\n";

fn size(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn random() -> StdRng {
    let seed =
        std::env::var("CRASH_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("CRASH_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn host(kafka: &Kafka, group: &str) -> Setup {
    Setup::host(kafka)
        .config(SESSION)
        .config(&format!("group_id = \"{group}\"\n"))
        .shipped_plugins()
        .plugin(guest("counter"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_again_and_again_ends_where_an_undisturbed_one_ends() {
    let (count, kills) = (size("CRASH_EVENTS", 3_000), size("CRASH_KILLS", 6));
    let mut random = random();
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic(TOPIC, PARTITIONS).await.unwrap();
    let series = events::series(random.random(), count);
    let rounds = series.chunks(count.div_ceil(kills + 1) as usize);

    let mut disturbed = host(&kafka, "disturbed").launch().unwrap();
    let mut killed_at = Vec::new();
    let start = Instant::now();
    for round in rounds {
        let producing = produce_slowly(&kafka, round.to_vec(), Duration::from_secs(2));
        if killed_at.len() < kills as usize {
            wait_for_a_random_moment(&mut random, &disturbed, round.len()).await;
            disturbed.kill().unwrap();
            killed_at.push(progress(&disturbed.data()).await.unwrap());
            disturbed.launch_again().unwrap();
        }
        producing.await.unwrap();
    }
    let disturbed = settled(disturbed, &kafka).await;
    println!(
        "{} kills of the host within {:.0?} while {count} events arrived",
        killed_at.len(),
        start.elapsed()
    );
    println!("events stored at each kill: {killed_at:?}");
    let undisturbed = settled(host(&kafka, "undisturbed").launch().unwrap(), &kafka).await;

    let difference = undisturbed.compare(&disturbed);

    println!("{difference}");
    assert_eq!(killed_at.len(), kills as usize);
    assert!(
        undisturbed.entries().count() >= count as usize / 2,
        "the plugins notify"
    );
    let counted = undisturbed
        .state
        .get(&("counter".to_owned(), "count".to_owned()));
    assert_eq!(
        counted,
        Some(&count.to_string().into_bytes()),
        "the counter counts every event"
    );
    assert!(difference.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_api_that_is_killed_publishes_every_booking_once() {
    let (count, kills) = (size("CRASH_BOOKINGS", 150), size("CRASH_BOOKING_KILLS", 2));
    let mut random = random();
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic(TOPIC, PARTITIONS).await.unwrap();
    let api = Setup::booking(&kafka)
        .argument("--demo")
        .start()
        .await
        .unwrap();
    let tokens = tokens(&api);
    let api = Mutex::new(api);

    let booked = Mutex::new(Booked::default());
    let address = async || api.lock().await.booking();
    let booking = book_all(&tokens, address, count, &booked);
    let killing = async {
        for kill in 1..=kills {
            // A random place between this kill's share of the bookings and the next one's.
            let place = random
                .random_range((kill - 1) * count / kills..kill * count / kills)
                .max(1);
            wait_until("the next kill", Duration::from_secs(300), async || {
                Ok((booked.lock().await.slots.len() >= place as usize).then_some(()))
            })
            .await
            .unwrap();
            let mut api = api.lock().await;
            api.kill().unwrap();
            api.launch_again().unwrap();
        }
    };
    let (done, ()) = tokio::join!(booking, killing);
    done.unwrap();
    let booked = booked.into_inner();

    let created = published_once(&kafka, &booked).await;
    let settled = settled(host(&kafka, "bookings").launch().unwrap(), &kafka).await;
    let told = settled
        .entries()
        .filter(|entry| entry.plugin == "booking-updates" && entry.kind == "booking.created")
        .fold(BTreeMap::<&str, usize>::new(), |mut told, entry| {
            *told.entry(&entry.event_id).or_default() += 1;
            told
        });

    let lost = created
        .iter()
        .filter(|event| !told.contains_key(event.as_str()))
        .count();
    let doubled = told.values().filter(|times| **times > 1).count();
    println!(
        "{count} bookings, {kills} kills of the booking API, {} answers lost: lost {lost}, doubled {doubled}",
        booked.answers_lost()
    );
    assert_eq!((lost, doubled, told.len()), (0, 0, created.len()));
    assert_eq!(settled.gaps(), Vec::<String>::new());
}

/// Waits until the outbox is empty, and compares the bookings with the events in Kafka; answers the
/// ids of the events.
async fn published_once(kafka: &Kafka, booked: &Booked) -> Vec<String> {
    let events = wait_until(
        "every booking to be published",
        Duration::from_secs(60),
        async || {
            let records = kafka.read_all(TOPIC).await?;
            // A relay that was killed may send a record again: the same event, by its id.
            let mut events = BTreeMap::new();
            for record in records {
                let event: Value = serde_json::from_slice(&record.value)?;
                if event["eventType"] == "booking.created" {
                    let id = event["eventId"].as_str().unwrap_or_default().to_owned();
                    events.insert(
                        id,
                        event["bookingId"].as_str().unwrap_or_default().to_owned(),
                    );
                }
            }
            Ok((events.len() >= booked.slots.len()).then_some(events))
        },
    )
    .await
    .unwrap();
    assert_eq!(events.len(), booked.slots.len(), "one event a booking");
    for id in booked.acknowledged() {
        assert_eq!(
            events.values().filter(|booking| *booking == id).count(),
            1,
            "booking {id}"
        );
    }
    events.into_keys().collect()
}

fn tokens(api: &Host) -> BTreeMap<String, String> {
    (1..=7)
        .map(|number| {
            let user = format!("user-{number}");
            let token = api.token(&user).unwrap();
            (user, token)
        })
        .collect()
}

/// Produces records evenly over a span of time, in a thread.
fn produce_slowly(
    kafka: &Kafka,
    records: Vec<Record>,
    span: Duration,
) -> tokio::task::JoinHandle<()> {
    let producer = kafka.producer().unwrap();
    tokio::task::spawn_blocking(move || {
        let pause = span / u32::try_from(records.len()).unwrap().max(1);
        for record in records {
            send(&producer, &record).unwrap();
            producer.poll(pause);
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    })
}

/// Half of the moments lie anywhere in the first three seconds: start, joining the group, first
/// fetch. The other half lie within the work: a random number of records after the first.
async fn wait_for_a_random_moment(random: &mut StdRng, host: &Host, records: usize) {
    let bound = Duration::from_millis(random.random_range(0..3_000));
    if random.random() {
        tokio::time::sleep(bound).await;
        return;
    }
    let data = host.data();
    let before = progress(&data).await.unwrap_or(0);
    let share = i64::try_from(random.random_range(1..=records / 2)).unwrap();
    // When it is not reached in time, any moment is as good.
    let _ = wait_until("some progress", Duration::from_secs(6), async || {
        Ok((progress(&data).await? >= before + share).then_some(()))
    })
    .await;
}

/// Lets a host finish, stops it in order, and reads what it wrote.
async fn settled(mut host: Host, kafka: &Kafka) -> Contents {
    let ends = kafka.ends(TOPIC).await.unwrap();
    let data = host.data();
    let total: i64 = ends.iter().sum();
    // First the cheap question, again and again; then the expensive one.
    let reached = async {
        wait_until(
            "the host to reach the end",
            Duration::from_secs(180),
            async || Ok((progress(&data).await? >= total).then_some(())),
        )
        .await?;
        wait_until(
            "every lane to reach the end",
            Duration::from_secs(60),
            async || {
                Ok(Contents::read(&data)
                    .await?
                    .has_reached(TOPIC, &ends)
                    .then_some(()))
            },
        )
        .await
    };
    reached
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    Contents::read(&data).await.unwrap()
}
