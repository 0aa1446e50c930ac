//! What an event says, typed.
//!
//! Producers leave fields out, and add new ones: every field is optional, unknown ones are
//! ignored. A field of the wrong type is an error that names it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Event, Failure};

/// `eventData` of a `booking.*` event. Times are RFC 3339 text; see [`crate::time`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BookingData {
    /// The booking's id; the event's `subject_id` has it too.
    pub id: Option<String>,
    /// What the person called it.
    pub title: Option<String>,
    /// `pending`, `confirmed`, `cancelled` …
    pub status: Option<String>,
    /// When it begins.
    pub start_time: Option<String>,
    /// When it ends.
    pub end_time: Option<String>,
    /// How many people come.
    pub attendees_count: Option<u32>,
    /// What people call the resource, where the producer knows it.
    pub resource_name: Option<String>,
    /// Why it was changed or cancelled, in words.
    pub reason: Option<String>,
}

/// `eventData` of a `waitlist.*` event. Times are RFC 3339 text; see [`crate::time`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitlistData {
    /// A higher priority is promoted first.
    pub priority: Option<i64>,
    /// The place in the queue, from 1.
    pub position: Option<u32>,
    /// When the person would like to begin.
    pub desired_start_time: Option<String>,
    /// When the person would like to end.
    pub desired_end_time: Option<String>,
    /// The booking that a promotion led to.
    pub booking_id: Option<String>,
    /// Until when a promotion has to be accepted; without it, it needs no acceptance.
    pub hold_until: Option<String>,
    /// What people call the resource, where the producer knows it.
    pub resource_name: Option<String>,
    /// Why the entry was removed, in words.
    pub reason: Option<String>,
}

/// `eventData` of a `conflict.*` event. Times are RFC 3339 text; see [`crate::time`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictData {
    /// The booking that cannot stand as it is.
    pub booking_id: Option<String>,
    /// What the person called it.
    pub title: Option<String>,
    /// The bookings that it overlaps.
    #[serde(default)]
    pub conflicts_with: Vec<String>,
    /// When the overlap begins.
    pub start_time: Option<String>,
    /// When the overlap ends.
    pub end_time: Option<String>,
    /// Resources that are free at that time.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// What people call the resource, where the producer knows it.
    pub resource_name: Option<String>,
    /// The booking that ended the conflict.
    pub resolved_by: Option<String>,
    /// The resource of that booking.
    pub resolved_on: Option<String>,
    /// What people call it.
    pub resolved_resource_name: Option<String>,
    /// When that booking begins.
    pub resolved_start_time: Option<String>,
    /// When that booking ends.
    pub resolved_end_time: Option<String>,
}

/// `eventData` of a `user.*` event.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserData {
    /// The user's id.
    pub id: Option<String>,
    /// The address for e-mail.
    pub email: Option<String>,
    /// What the user wants to be called.
    pub display_name: Option<String>,
    /// An IANA time zone, `Europe/Berlin`.
    pub time_zone: Option<String>,
    /// A BCP 47 language tag, `de`.
    pub locale: Option<String>,
}

/// `eventData` of a `resource.*` event. Times are RFC 3339 text; see [`crate::time`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceData {
    /// The resource's id.
    pub id: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// How many people it takes.
    pub capacity: Option<u32>,
    /// `room`, `desk`, `device` …
    pub kind: Option<String>,
    /// Since when it cannot be used.
    pub start_time: Option<String>,
    /// Until when it cannot be used.
    pub end_time: Option<String>,
    /// Why it cannot be used, in words.
    pub reason: Option<String>,
}

impl Event {
    /// `eventData` as a type of your own.
    ///
    /// # Errors
    /// [`Failure::Reject`] when the data does not look like `T`, with the field's place in it.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.data).map_err(|error| {
            Failure::reject(format!(
                "eventData of {} {} cannot be read: {error}",
                self.kind, self.id
            ))
        })
    }

    /// `eventData` of a `booking.*` event.
    ///
    /// # Errors
    /// As [`Event::data_as`].
    pub fn booking(&self) -> Result<BookingData, Failure> {
        self.data_as()
    }

    /// `eventData` of a `waitlist.*` event.
    ///
    /// # Errors
    /// As [`Event::data_as`].
    pub fn waitlist(&self) -> Result<WaitlistData, Failure> {
        self.data_as()
    }

    /// `eventData` of a `conflict.*` event.
    ///
    /// # Errors
    /// As [`Event::data_as`].
    pub fn conflict(&self) -> Result<ConflictData, Failure> {
        self.data_as()
    }

    /// `eventData` of a `user.*` event.
    ///
    /// # Errors
    /// As [`Event::data_as`].
    pub fn user(&self) -> Result<UserData, Failure> {
        self.data_as()
    }

    /// `eventData` of a `resource.*` event.
    ///
    /// # Errors
    /// As [`Event::data_as`].
    pub fn resource(&self) -> Result<ResourceData, Failure> {
        self.data_as()
    }

    /// The user whom the event is about.
    ///
    /// # Errors
    /// [`Failure::Reject`] when the event names none: without one, nobody can be told.
    pub fn require_user(&self) -> Result<&str, Failure> {
        match self.user_id.as_deref() {
            Some(user) if !user.is_empty() => Ok(user),
            _ => Err(Failure::reject(format!(
                "{} {} has no userId, so there is nobody to tell",
                self.kind, self.id
            ))),
        }
    }

    /// The part of the kind behind the first dot: `checked_in` of `booking.checked_in`.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.kind.split_once('.').map_or("", |(_, verb)| verb)
    }
}
