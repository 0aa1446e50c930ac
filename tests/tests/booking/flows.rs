//! The flows of the seeds, driven through HTTP: every kind of event that the service owns is told, in
//! order, and those whom it concerns hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use carillon_tests::api::{Answer, Api, Call};
use carillon_tests::child::wait_until;
use carillon_tests::client::Client;
use carillon_tests::events::TOPICS;
use carillon_tests::host::Host;
use carillon_tests::kafka::Kafka;
use carillon_tests::ledger::{Topic, own_kinds};
use carillon_tests::operate::Operator;
use carillon_tests::store::Contents;
use reqwest::StatusCode;
use serde_json::json;

use crate::stage::{Stage, book, booked, kafka, quarter, settled, standing};

const BOUND: Duration = Duration::from_secs(60);
/// Longer than a waiter of this test takes to accept; another one lets it pass.
const CONFIG: &str = "hold_s = 3\nsweep_every_ms = 50\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_that_the_service_owns_is_told_in_order_and_those_whom_it_concerns_hear_of_it() {
    let kafka = kafka().await;
    let stage = Stage::new(kafka, "flows").await;
    let host = stage.everything(kafka, CONFIG).start().await.unwrap();
    let api = Api::of(&host).unwrap();
    let mut hearer = listen(&host, "user-5").await;

    resources_and_users(&api).await;
    creation(&api).await;
    conflict(&api).await;
    waitlist(&api).await;
    let correlation = "the-request-that-freed-it";

    let ledger = settled(&host).await;
    let mut topics = BTreeMap::new();
    for topic in TOPICS {
        topics.insert(topic, stage.read(kafka, topic).await);
    }
    let events = || topics.values().flat_map(|topic| &topic.events);
    let told: BTreeSet<String> = events().map(|event| event.kind.clone()).collect();
    let own = own_kinds().unwrap();
    assert_eq!(told, own, "told on the left, the catalogue on the right");
    for (topic, kind) in [
        ("booking-events", "booking"),
        ("waitlist-events", "waitlist"),
    ] {
        ledger.is_told_by(&topics[topic], kind, &own).unwrap();
    }

    let contents = heard(stage, kafka, &host).await;
    let plugins = [
        ("booking-events", "booking-updates"),
        ("waitlist-events", "waitlist-updates"),
        ("conflict-events", "conflict-alerts"),
    ];
    let mut notified = 0;
    for (topic, plugin) in plugins {
        notified += told_of(&contents, &topics[topic], plugin);
    }
    let promotion = hear(&mut hearer, "waitlist.promoted").await;
    one_correlation(&host, &topics["waitlist-events"], correlation, &promotion).await;
    println!(
        "flows: {} events of all {} kinds in order, {notified} of them told to their users by the plugins that ship",
        events().count(),
        own.len()
    );
}

/// `resource.*` and `user.*`, and `booking.no_show`.
async fn resources_and_users(api: &Api) {
    let lab = json!({"id": "lab", "name": "Labor", "kind": "lab", "capacity": 4, "requiresApproval": true});
    let lab = api.done(&Call::post("/resources", lab)).await.unwrap();
    let changed = json!({"name": "Labor Ost"});
    let lab = Call::patch("/resources/lab", lab.version().unwrap(), changed);
    let lab = api.done(&lab).await.unwrap();
    let closed = json!({"startTime": quarter(0), "endTime": quarter(4), "reason": "Wartung"});
    let closed = Call::post("/resources/lab/unavailability", closed);
    api.done(&closed).await.unwrap();
    let gone = Call::delete("/resources/lab").header("if-match", lab.version().unwrap());
    api.done(&gone).await.unwrap();

    let ada = json!({"id": "ada", "email": "ada@example.com", "displayName": "Ada"});
    let ada = api.done(&Call::post("/users", ada)).await.unwrap();
    let changed = json!({"locale": "de"});
    let ada = Call::patch("/users/ada", ada.version().unwrap(), changed);
    let ada = api.done(&ada).await.unwrap();
    let gone = Call::delete("/users/ada").header("if-match", ada.version().unwrap());
    api.done(&gone).await.unwrap();
}

/// The first flow of the seeds, and the rest of a booking's life.
async fn creation(api: &Api) {
    let requested = api.done(&book("room-4", "user-1", 0, 4)).await.unwrap();
    assert_eq!(requested.status, StatusCode::CREATED);
    assert_eq!(requested.body["status"], "pending");
    let path = format!("/bookings/{}", requested.field("id").unwrap());
    let confirmed = api.done(&Call::step(format!("{path}/confirm"))).await;
    let changed = json!({"title": "Besprechung, verlegt"});
    let changed = Call::patch(&path, confirmed.unwrap().version().unwrap(), changed);
    api.done(&changed).await.unwrap();
    for step in ["check-in", "check-out"] {
        api.done(&Call::step(format!("{path}/{step}")))
            .await
            .unwrap();
    }
    // It began a minute ago.
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap();
    let begun = json!({
        "resourceId": "room-2", "userId": "user-2", "title": "Jetzt", "attendeesCount": 2,
        "startTime": (now - jiff::SignedDuration::from_mins(1)).to_string(),
        "endTime": (now + jiff::SignedDuration::from_mins(30)).to_string(),
    });
    let missed = booked(api, &Call::post("/bookings", begun)).await;
    let missed = Call::step(format!("/bookings/{missed}/no-show"));
    api.done(&missed).await.unwrap();
}

/// The third flow of the seeds: the refusal suggests what is taken then.
async fn conflict(api: &Api) {
    booked(api, &book("room-1", "user-3", 0, 4)).await;
    let refused = api.send(&book("room-1", "user-4", 2, 4)).await.unwrap();
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    let best = &refused.body["alternatives"][0];
    let instead = json!({
        "resourceId": best["resourceId"], "startTime": best["startTime"], "endTime": best["endTime"],
        "userId": "user-4", "title": "Stattdessen", "attendeesCount": 2,
        "conflictId": refused.field("conflictId").unwrap(),
    });
    booked(api, &Call::post("/bookings", instead)).await;
}

/// The second flow of the seeds: three wait, one leaves, the first does not accept, the second does.
async fn waitlist(api: &Api) {
    let slot = booked(api, &book("room-3", "user-3", 0, 4)).await;
    let first = join(api, "user-5", 50).await;
    let second = join(api, "user-6", 10).await;
    let third = join(api, "user-7", 90).await;
    assert_eq!(first.body["position"], 1);
    assert_eq!(second.body["position"], 2);
    assert_eq!(third.body["position"], 1, "who came last is asked first");
    let [first, second, third] =
        [first, second, third].map(|entry| entry.field("id").unwrap().to_owned());
    let leave = Call::delete(format!("/waitlist/room-3/{third}"));
    api.done(&leave).await.unwrap();

    let cancel = Call::step(format!("/bookings/{slot}/cancel"));
    api.done(&cancel.correlation("the-request-that-freed-it"))
        .await
        .unwrap();
    assert_eq!(standing(api, "room-3", &first).await.unwrap(), "promoted");
    assert_eq!(standing(api, "room-3", &second).await.unwrap(), "waiting");
    wait_until("the second to be asked", BOUND, async || {
        Ok((standing(api, "room-3", &second).await? == "promoted").then_some(()))
    })
    .await
    .unwrap();
    let accept = Call::step(format!("/waitlist/room-3/{second}/accept"));
    let accepted = api.done(&accept).await.unwrap();
    assert_eq!(accepted.body["status"], "confirmed");
    assert_eq!(standing(api, "room-3", &first).await.unwrap(), "expired");
}

async fn join(api: &Api, user: &str, priority: u32) -> Answer {
    let entry = json!({
        "userId": user, "title": format!("{user} wartet"), "startTime": quarter(0), "endTime": quarter(4),
        "priority": priority,
    });
    api.done(&Call::post("/waitlist/room-3", entry))
        .await
        .unwrap()
}

/// What the host stored once it has heard everything.
async fn heard(stage: Stage, kafka: &Kafka, host: &Host) -> Contents {
    let data = host.data();
    let heard = wait_until("the host to hear everything", BOUND, async || {
        let contents = Contents::read(&data).await?;
        for topic in TOPICS {
            let topic = stage.topic(topic);
            let ends = kafka.ends(&topic).await?;
            ensure!(contents.has_reached(&topic, &ends), "{topic}");
        }
        Ok(Some(contents))
    });
    heard
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
}

/// Holds that a plugin has told each event of a topic once, to the user whom it is about.
fn told_of(contents: &Contents, topic: &Topic, plugin: &str) -> usize {
    for event in &topic.events {
        let streams = contents.streams.iter();
        let entries = streams.flat_map(|(stream, entries)| {
            let mut told = Vec::new();
            for entry in entries.values() {
                // What takes an older one back has no title.
                let is_told = entry.event_id == event.id && !entry.title.is_empty();
                if entry.plugin == plugin && is_told {
                    told.push(stream.as_str());
                }
            }
            told
        });
        let told: Vec<&str> = entries.collect();
        assert_eq!(told, [format!("user:{}", event.user)], "{event:?}");
    }
    topic.events.len()
}

async fn listen(host: &Host, user: &str) -> Client {
    let token = host.token(user).unwrap();
    let gateway = host.gateway().unwrap();
    Client::connect(&gateway, &token, &BTreeMap::new())
        .await
        .unwrap()
}

/// The id of the notification of this kind that is pushed.
async fn hear(client: &mut Client, kind: &str) -> String {
    loop {
        let pushed = client.next().await.unwrap();
        let text = pushed.data.to_string();
        if text.contains(kind) {
            return pushed.data["id"].as_str().unwrap().to_owned();
        }
    }
}

/// One id leads from the HTTP request that freed a time to the one who was told of it.
async fn one_correlation(host: &Host, waitlist: &Topic, correlation: &str, notification: &str) {
    let promoted = waitlist.of_kind("waitlist.promoted");
    let mut promoted = promoted.filter(|event| event.correlation_id == correlation);
    let event = promoted
        .next()
        .expect("the promotion follows from the request");
    assert_eq!(event.user, "user-5");
    let operator = Operator::of(host).unwrap();
    for id in [event.id.as_str(), notification] {
        let explained = operator.ask(&["explain", id]).await.unwrap();
        let text = explained.to_string();
        assert!(text.contains(correlation), "{explained:#}");
        assert!(text.contains(&event.id), "{explained:#}");
    }
}
