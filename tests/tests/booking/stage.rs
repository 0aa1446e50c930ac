//! Where a test takes place: topics of its own, and a booking API that tells there.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use carillon_tests::api::{Api, Call};
use carillon_tests::events::TOPICS;
use carillon_tests::host::{Host, Setup};
use carillon_tests::kafka::Kafka;
use carillon_tests::ledger::{Ledger, Topic};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const PARTITIONS: i32 = 4;

/// One broker for all tests that do not stop it.
static KAFKA: OnceCell<Kafka> = OnceCell::const_new();

/// Whether the tests are as large as the project promises.
pub(crate) fn is_long() -> bool {
    std::env::var("BOOKING").as_deref() == Ok("long")
}

/// The size of something: in the short form, or in the long one.
pub(crate) fn size(short: u32, long: u32) -> u32 {
    match is_long() {
        true => long,
        false => short,
    }
}

pub(crate) fn seconds(short: f32, long: f32) -> Duration {
    Duration::from_secs_f32(match is_long() {
        true => long,
        false => short,
    })
}

pub(crate) fn random() -> StdRng {
    let seed =
        std::env::var("BOOKING_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("BOOKING_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

pub(crate) async fn kafka() -> &'static Kafka {
    KAFKA
        .get_or_init(async || Kafka::start().await.unwrap())
        .await
}

/// The topics of one test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    name: &'static str,
}

impl Stage {
    /// Makes the topics.
    pub(crate) async fn new(kafka: &Kafka, name: &'static str) -> Self {
        let stage = Self { name };
        for topic in TOPICS {
            kafka
                .create_topic(&stage.topic(topic), PARTITIONS)
                .await
                .unwrap();
        }
        stage
    }

    pub(crate) fn topic(self, topic: &str) -> String {
        format!("{}.{topic}", self.name)
    }

    /// `carillon booking` with the demo's rooms and users; `config` are keys of `[booking_service]`.
    pub(crate) fn booking(self, kafka: &Kafka, config: &str) -> Setup {
        let setup = Setup::booking(kafka).argument("--demo");
        setup.config(&self.config(config))
    }

    /// `carillon run` with the plugins that ship.
    pub(crate) fn everything(self, kafka: &Kafka, config: &str) -> Setup {
        let setup = Setup::run().kafka(kafka).argument("--demo");
        setup.config(&self.config(config)).shipped_plugins()
    }

    /// `carillon host` with the plugins that ship.
    pub(crate) fn host(self, kafka: &Kafka) -> Setup {
        Setup::host(kafka)
            .config(&self.config(""))
            .shipped_plugins()
    }

    fn config(self, booking: &str) -> String {
        let mut config = format!("group_id = \"{}\"\n", self.name);
        for service in ["booking_service", "notification_service"] {
            let _ = writeln!(config, "[{service}.kafka.topics]");
            for topic in TOPICS {
                let key = topic.replace('-', "_");
                let _ = writeln!(config, "{key} = \"{}\"", self.topic(topic));
            }
        }
        // People can check in today to what they have booked for a day that is far away.
        let far = "check_in_early_minutes = 10000000";
        let _ = write!(config, "[booking_service]\n{far}\n{booking}\n");
        config
    }

    pub(crate) async fn read(self, kafka: &Kafka, topic: &str) -> Topic {
        Topic::read(kafka, &self.topic(topic)).await.unwrap()
    }
}

/// The booking database once everything is told.
pub(crate) async fn settled(host: &Host) -> Ledger {
    let settled = Ledger::settled(&host.data()).await;
    settled.unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
}

/// A quarter of an hour of a day that is far away, as the API writes it; 0 is eight o'clock.
pub(crate) fn quarter(number: u32) -> String {
    let minutes = 8 * 60 + number * 15;
    format!("2031-05-06T{:02}:{:02}:00Z", minutes / 60, minutes % 60)
}

/// The body of a booking of so many quarters of an hour.
pub(crate) fn booking(resource: &str, user: &str, from: u32, quarters: u32) -> Value {
    json!({
        "resourceId": resource, "userId": user, "title": format!("Meeting of {user}"),
        "startTime": quarter(from), "endTime": quarter(from + quarters), "attendeesCount": 2,
    })
}

pub(crate) fn book(resource: &str, user: &str, from: u32, quarters: u32) -> Call {
    Call::post("/bookings", booking(resource, user, from, quarters))
}

/// The id of a booking that is made.
pub(crate) async fn booked(api: &Api, call: &Call) -> String {
    let answer = api.done(call).await.unwrap();
    answer.field("id").unwrap().to_owned()
}

/// Where an entry of a waitlist stands.
pub(crate) async fn standing(api: &Api, resource: &str, entry: &str) -> Result<String> {
    let call = Call::get(format!("/waitlist/{resource}/{entry}"));
    let answer = api.insist(&call).await?;
    Ok(answer.field("status")?.to_owned())
}
