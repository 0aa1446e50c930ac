//! The embedded default: no Kafka, no database server, and still nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use carillon_tests::bookings::{Booked, Slot, book, book_all};
use carillon_tests::child::wait_until;
use carillon_tests::client::Client;
use carillon_tests::host::{Host, Setup, http};
use carillon_tests::store::Contents;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread")]
async fn bookings_and_their_notifications_survive_kill_nine() {
    let number = |name: &str, default: u32| -> u32 {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let (count, kills) = (
        number("CRASH_EMBEDDED_BOOKINGS", 200),
        number("CRASH_EMBEDDED_KILLS", 4),
    );
    let seed =
        std::env::var("CRASH_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let host = Setup::run()
        .shipped_plugins()
        .argument("--demo")
        .start()
        .await
        .unwrap();
    let data = host.data();
    let users = (1..=7).map(|number| format!("user-{number}"));
    let tokens: BTreeMap<_, _> = users
        .map(|user| (user.clone(), host.token(&user).unwrap()))
        .collect();
    let host = Mutex::new(host);

    let booked = Mutex::new(Booked::default());
    let address = async || host.lock().await.booking();
    let booking = book_all(&tokens, address, count, &booked);
    let killing = async {
        for kill in 1..=kills {
            let place = random
                .random_range((kill - 1) * count / kills..kill * count / kills)
                .max(1);
            wait_until("the next kill", Duration::from_secs(300), async || {
                Ok((booked.lock().await.slots.len() >= place as usize).then_some(()))
            })
            .await
            .unwrap();
            let mut host = host.lock().await;
            host.kill().unwrap();
            host.launch_again().unwrap();
        }
    };
    let (done, ()) = tokio::join!(booking, killing);
    done.unwrap();
    let (booked, mut host) = (booked.into_inner(), host.into_inner());

    let contents = wait_until(
        "every booking to be told of",
        Duration::from_secs(120),
        async || {
            let contents = Contents::read(&data).await?;
            let told = created(&contents)
                .values()
                .map(BTreeSet::len)
                .sum::<usize>();
            Ok((told >= booked.slots.len()).then_some(contents))
        },
    )
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    // A restart sends the outbox's window again: nothing may follow from it.
    host.stop().unwrap();
    host.restart().await.unwrap();
    bookings_are_there(&host, &booked, &tokens).await;
    wait_for_the_echo_of_a_new_booking(&host, &tokens, count).await;
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    let after = Contents::read(&data).await.unwrap();

    let (lost, doubled) = count_effects(&booked, &after);
    println!(
        "{count} bookings, {kills} kills, {} answers lost, embedded: lost {lost}, doubled {doubled}",
        booked.answers_lost()
    );
    assert_eq!((lost, doubled), (0, 0));
    assert_eq!(after.gaps(), Vec::<String>::new());
    for (stream, entries) in &contents.streams {
        let kept = after.streams[stream].iter().take(entries.len());
        assert!(
            kept.eq(entries),
            "{stream} begins as it did before the restart"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_clients_to_reconnect_and_they_go_on_where_they_were() {
    let mut host = Setup::run()
        .shipped_plugins()
        .argument("--demo")
        .start()
        .await
        .unwrap();
    let user = Slot::new(0).user;
    let tokens = BTreeMap::from([(user.clone(), host.token(&user).unwrap())]);
    let connect = async |host: &Host, from: &BTreeMap<_, _>| {
        Client::connect(&host.gateway().unwrap(), &tokens[&user], from)
            .await
            .unwrap()
    };
    let mut client = connect(&host, &BTreeMap::new()).await;
    book(
        &http().unwrap(),
        &tokens,
        async || host.booking(),
        &Slot::new(0),
    )
    .await
    .unwrap();
    let first = client.next().await.unwrap();
    let positions = client.positions().clone();

    let stopping = tokio::task::spawn_blocking(move || {
        let code = host.stop();
        (host, code)
    });
    let (code, reason) = client.closed().await.unwrap();
    let (stopped, exit) = stopping.await.unwrap();
    host = stopped;
    host.restart().await.unwrap();
    let mut client = connect(&host, &positions).await;
    // The same user again: every seventh slot.
    book(
        &http().unwrap(),
        &tokens,
        async || host.booking(),
        &Slot::new(7),
    )
    .await
    .unwrap();
    let second = client.next().await.unwrap();

    // Of the protocol's codes, 3500 to 3999 and 4500 to 4999 mean: do not come back.
    assert!(matches!(code, 3000..3500 | 4000..4500), "{code} {reason}");
    assert!(!reason.is_empty(), "the npm client needs a reason");
    assert_eq!(exit.unwrap(), 0, "{}", host.log_tail());
    assert!(
        client.recovered().values().all(|recovered| *recovered),
        "{:?}",
        client.recovered()
    );
    assert_eq!(
        (&first.channel, first.offset + 1),
        (&second.channel, second.offset)
    );
    println!(
        "closed with {code} {reason:?}; recovered, and offset {} follows {}",
        second.offset, first.offset
    );
}

/// User to the ids of the events by which the user was told of a booking.
fn created(contents: &Contents) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (stream, entries) in &contents.streams {
        let user = stream.strip_prefix("user:").unwrap_or(stream);
        let ids = entries
            .values()
            .filter(|entry| is_created(entry))
            .map(|entry| entry.event_id.as_str());
        told.entry(user).or_default().extend(ids);
    }
    told
}

fn is_created(entry: &carillon_tests::store::Entry) -> bool {
    entry.plugin == "booking-updates" && entry.kind == "booking.created"
}

/// Each slot is one effect on its user's stream; the last booking of the test is one more.
fn count_effects(booked: &Booked, contents: &Contents) -> (usize, usize) {
    let told = created(contents);
    let (mut lost, mut doubled) = (0, 0);
    let mut expected = booked.by_user();
    *expected
        .entry(Slot::new(u32::try_from(booked.slots.len()).unwrap()).user)
        .or_default() += 1;
    for (user, slots) in expected {
        let ids = told.get(user.as_str()).map_or(0, BTreeSet::len);
        let stream = contents.streams.get(&format!("user:{user}"));
        let entries = stream.map_or(0, |entries| {
            entries.values().filter(|entry| is_created(entry)).count()
        });
        lost += slots.saturating_sub(ids);
        doubled += ids.saturating_sub(slots) + (entries - ids);
    }
    (lost, doubled)
}

async fn bookings_are_there(host: &Host, booked: &Booked, tokens: &BTreeMap<String, String>) {
    let client = http().unwrap();
    let api = host.booking().unwrap();
    for (slot, answer) in &booked.slots {
        let carillon_tests::bookings::Answer::Created(id) = answer else {
            continue;
        };
        let request = client
            .get(format!("{api}/bookings/{id}"))
            .bearer_auth(&tokens[&slot.user]);
        let status = request.send().await.unwrap().status();
        assert!(status.is_success(), "booking {id}: {status}");
    }
}

/// What the restart sends again stands in the log before a new booking: once that one is told of
/// on every partition's account, the repeats have been passed.
async fn wait_for_the_echo_of_a_new_booking(
    host: &Host,
    tokens: &BTreeMap<String, String>,
    number: u32,
) {
    let slot = Slot::new(number);
    let before = created(&Contents::read(&host.data()).await.unwrap())
        .get(slot.user.as_str())
        .map_or(0, BTreeSet::len);
    book(&http().unwrap(), tokens, async || host.booking(), &slot)
        .await
        .unwrap();
    wait_until(
        "the new booking to be told of",
        Duration::from_secs(60),
        async || {
            let contents = Contents::read(&host.data()).await?;
            let told = created(&contents)
                .get(slot.user.as_str())
                .map_or(0, BTreeSet::len);
            Ok((told > before).then_some(()))
        },
    )
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
}
