//! Bookings made over HTTP by a client that does not give up: it asks again after every error of
//! the connection, as long as the API is down.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{TryStreamExt, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::child::wait_until;
use crate::host::http;

/// How long one booking may take over all its attempts.
const BOUND: Duration = Duration::from_secs(120);
/// The resources of `--demo`.
const ROOMS: u32 = 4;
/// The users of `--demo`.
const USERS: u32 = 7;

/// One time slot of one room, booked by one user. No two slots overlap, so that each can be booked
/// exactly once however often it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The user.
    pub user: String,
    /// The room.
    pub resource: String,
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// Unlike any other slot's.
    pub title: String,
}

impl Slot {
    /// The slot of a number: all numbers' slots differ.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let hours = number / ROOMS;
        let (day, hour) = (hours / 24, hours % 24);
        let (month, day) = (day / 28 + 1, day % 28 + 1);
        let date = format!("2031-{month:02}-{day:02}");
        Self {
            user: format!("user-{}", number % USERS + 1),
            resource: format!("room-{}", number % ROOMS + 1),
            start: format!("{date}T{hour:02}:00:00Z"),
            end: format!("{date}T{hour:02}:45:00Z"),
            title: format!("Slot {number}"),
        }
    }

    /// The body of `POST /bookings`.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "resourceId": self.resource,
            "userId": self.user,
            "title": self.title,
            "startTime": self.start,
            "endTime": self.end,
            "attendeesCount": 3,
        })
    }
}

/// What the API has said of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 201, with the booking's id.
    Created(String),
    /// 409 after an attempt whose answer was lost: that attempt had booked it.
    BookedBefore,
}

/// Books a slot, however often the connection fails. `address` is asked anew for each attempt,
/// since a restarted API listens elsewhere.
///
/// # Errors
/// When the API refuses the slot, or is away for longer than the bound.
pub async fn book(
    client: &reqwest::Client,
    tokens: &BTreeMap<String, String>,
    address: impl AsyncFn() -> Result<String>,
    slot: &Slot,
) -> Result<Answer> {
    let mut lost_an_answer = false;
    wait_until("a booking to be taken", BOUND, async || {
        let url = format!("{}/bookings", address().await?);
        let mut request = client.post(url).json(&slot.body());
        if let Some(token) = tokens.get(&slot.user) {
            request = request.bearer_auth(token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                lost_an_answer = true;
                return Err(error.into());
            }
        };
        match response.status() {
            StatusCode::CREATED => {
                let Ok(booking) = response.json::<Value>().await else {
                    lost_an_answer = true;
                    return Ok(None);
                };
                let id = booking["id"].as_str().unwrap_or_default();
                Ok(Some(Ok(Answer::Created(id.to_owned()))))
            }
            StatusCode::CONFLICT if lost_an_answer => Ok(Some(Ok(Answer::BookedBefore))),
            status if status.is_server_error() => bail!("{status}"),
            status => Ok(Some(Err(anyhow::anyhow!(
                "{slot:?}: {status} {}",
                response.text().await.unwrap_or_default()
            )))),
        }
    })
    .await?
}

/// Books the slots of the numbers 0 to `count`, several at a time, so that a kill of the API always
/// meets requests that are under way; each answer is put into `booked`.
///
/// # Errors
/// As [`book`].
pub async fn book_all(
    tokens: &BTreeMap<String, String>,
    address: impl AsyncFn() -> Result<String>,
    count: u32,
    booked: &Mutex<Booked>,
) -> Result<()> {
    const AT_A_TIME: usize = 8;
    let client = http()?;
    let slots = stream::iter((0..count).map(|number| Ok(Slot::new(number))));
    let book_one = async |slot: Slot| {
        let answer = book(&client, tokens, &address, &slot).await?;
        booked.lock().await.slots.push((slot, answer));
        Ok(())
    };
    slots.try_for_each_concurrent(AT_A_TIME, book_one).await
}

/// A series of slots that were asked for, and what came of each.
#[derive(Debug, Default)]
pub struct Booked {
    /// Slot and answer, in the order of the answers.
    pub slots: Vec<(Slot, Answer)>,
}

impl Booked {
    /// How many slots each user has.
    #[must_use]
    pub fn by_user(&self) -> BTreeMap<String, usize> {
        self.slots
            .iter()
            .fold(BTreeMap::new(), |mut counts, (slot, _)| {
                *counts.entry(slot.user.clone()).or_default() += 1;
                counts
            })
    }

    /// How many answers were lost although the booking had been made.
    #[must_use]
    pub fn answers_lost(&self) -> usize {
        let lost = self
            .slots
            .iter()
            .filter(|(_, answer)| *answer == Answer::BookedBefore);
        lost.count()
    }

    /// The ids that were answered with 201.
    pub fn acknowledged(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|(_, answer)| match answer {
            Answer::Created(id) => Some(id.as_str()),
            Answer::BookedBefore => None,
        })
    }
}
