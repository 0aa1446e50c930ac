//! What a calendar needs to know of a booking, in the shape of iTIP (RFC 5546): whoever hears of the
//! event can mail an invitation, or take it back.

use serde::Serialize;

use crate::record::{BookingRecord, Resource, User};
use crate::rfc3339;
use crate::status::Status;

/// `invitation` in the `eventData` of bookings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invitation<'a> {
    method: &'static str,
    uid: String,
    sequence: i64,
    summary: &'a str,
    location: String,
    #[serde(with = "rfc3339", rename = "startTime")]
    start_ms: i64,
    #[serde(with = "rfc3339", rename = "endTime")]
    end_ms: i64,
    organizer: Organizer<'a>,
    attendee: Attendee<'a>,
}

#[derive(Serialize)]
struct Organizer<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

#[derive(Serialize)]
struct Attendee<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
}

impl<'a> Invitation<'a> {
    /// With the address that it comes from, where one is configured: iTIP needs it to answer to.
    ///
    /// None where nothing changes in a calendar: whoever arrives or leaves needs no new invitation,
    /// and what is only held is nobody's yet. Nor for a user who was deleted, who has no address.
    pub(crate) fn of(
        kind: &str,
        booking: &'a BookingRecord,
        resource: &'a Resource,
        user: &'a User,
        organizer: Option<&'a str>,
    ) -> Option<Self> {
        let method = match (kind, booking.status) {
            (_, Status::Held) => return None,
            _ if user.email.is_empty() => return None,
            ("booking.cancelled", _) => "CANCEL",
            ("booking.created" | "booking.updated" | "booking.confirmed", _) => "REQUEST",
            _ => return None,
        };
        Some(Self {
            method,
            uid: uid(&booking.id),
            sequence: sequence(booking),
            summary: &booking.title,
            location: location(&resource.name, &resource.place),
            start_ms: booking.start_ms,
            end_ms: booking.end_ms,
            organizer: Organizer {
                name: &resource.name,
                email: organizer,
            },
            attendee: Attendee {
                id: &user.id,
                name: &user.display_name,
                email: &user.email,
            },
        })
    }
}

/// The name of a booking in calendars, the same for ever (RFC 5545, section 3.8.4.7).
pub(crate) fn uid(booking_id: &str) -> String {
    format!("{booking_id}@carillon")
}

/// Rises with every change, from 0 (RFC 5545, section 3.8.7.4).
pub(crate) fn sequence(booking: &BookingRecord) -> i64 {
    booking.version - 1
}

/// Where a booking takes place: `Aurora, Main building`.
pub(crate) fn location(name: &str, place: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{name}, {place}"),
    }
}
