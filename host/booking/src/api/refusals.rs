//! Why something was not booked, as problem documents.

use carillon_web::Problem;

use super::etag::other_version;
use super::faults::impossible_at;
use crate::changes::{Edited, NoPlace, NotPlaced, Occurrence, Outcome, Refused, Stepped, Taken};
use crate::record::BookingRecord;
use crate::rfc3339;
use crate::status::{Refusal, Status};

/// Why a booking was not made or moved. `resource_id` and `user_id` are what was asked for.
pub(super) fn refused(resource_id: &str, user_id: &str, why: Refused) -> Problem {
    match why {
        Refused::NoResource => Master::Resource.typed(impossible_at(
            "resourceId",
            format!("there is no resource {resource_id:?}; GET /resources lists them"),
        )),
        Refused::NoUser => Master::User.typed(impossible_at(
            "userId",
            format!("there is no user {user_id:?}"),
        )),
        Refused::NoConflict => impossible_at(
            "conflictId",
            "there is no such conflict of this user, or it is resolved already; leave it out to book without",
        )
        .with_code("unknown-conflict"),
        Refused::TooMany { capacity } => impossible_at(
            "attendeesCount",
            format!("{resource_id} takes at most {capacity} people"),
        )
        .with_code("over-capacity")
        .with("capacity", capacity),
        Refused::Rule(broken) => Problem::conflict(format!(
            "{resource_id} cannot be booked like that: {}.",
            broken.reason
        ))
        .with_code("against-the-rules")
        .with_title("Against the rules of the resource")
        .with("rule", broken.code)
        .with("resourceId", resource_id),
        Refused::Taken(taken) => conflict(resource_id, &taken, ", and send its conflictId along"),
    }
}

/// Why a booking was not moved to where `booking` would be.
pub(super) fn refused_change(booking: &BookingRecord, why: Refused) -> Problem {
    match why {
        // A change names no conflict: its booking is known.
        Refused::Taken(taken) => conflict(&booking.resource_id, &taken, ""),
        other => refused(&booking.resource_id, &booking.user_id, other),
    }
}

/// Names the times that are taken, and nothing of whose they are, and what could be booked instead.
/// `how` says what to do with an alternative.
fn conflict(resource_id: &str, taken: &Taken, how: &str) -> Problem {
    let times: Vec<String> = taken
        .intervals
        .iter()
        .map(|held| {
            let (start, end) = (rfc3339::print(held.start_ms), rfc3339::print(held.end_ms));
            format!("{start} to {end}")
        })
        .collect();
    let advice = match taken.alternatives.is_empty() {
        true => "Choose another time or another resource, or wait with POST /waitlist".to_owned(),
        false => format!("Choose one of the alternatives{how}"),
    };
    let (code, title) = match taken.placed {
        NotPlaced::Overlaps => ("overlap", "Already booked"),
        NotPlaced::Unavailable => ("not-available", "Not available at that time"),
    };
    Problem::conflict(format!(
        "{} cannot be booked: {} ({}). {advice}.",
        taken.resource_name,
        taken.placed.in_words(),
        times.join(", "),
    ))
    .with_code(code)
    .with_title(title)
    .with("reason", taken.placed.in_words())
    .with("resourceId", resource_id)
    .with("conflictId", &taken.conflict_id)
    .with("conflicts", &taken.intervals)
    .with("alternatives", &taken.alternatives)
}

/// A step that cannot be taken.
pub(super) fn impossible(id: &str, refusal: Refusal) -> Problem {
    Problem::conflict(format!("Booking {id} stays as it is: {refusal}."))
        .with_code("impossible-step")
        .with_title("Not possible now")
        .with("bookingStatus", refusal.status)
        .with("reason", refusal.reason)
}

/// A change of what is not changed any more.
pub(super) fn is_final(id: &str, status: Status) -> Problem {
    Problem::conflict(format!(
        "Booking {id} stays as it is: one that is {} is not changed.",
        status.in_words()
    ))
    .with_code("impossible-step")
    .with_title("Not possible now")
    .with("bookingStatus", status)
}

/// Another start or resource for a booking whose people are there.
pub(super) fn is_inside(id: &str) -> Problem {
    Problem::conflict(format!(
        "Booking {id} stays as it is: its people are checked in, so only its end, its title and the \
         number of people can change; check them out and book anew."
    ))
    .with_code("impossible-step")
    .with_title("Not possible now")
    .with("bookingStatus", Status::CheckedIn)
}

/// What many requests name, in their path or in their body: where there is none, the type of the problem
/// is the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Master {
    Resource,
    User,
}

impl Master {
    /// 404 where the path names it.
    pub(super) fn unknown(self, id: &str) -> Problem {
        self.typed(Problem::not_found(match self {
            Self::Resource => format!("There is no resource {id:?}; GET /resources lists them."),
            Self::User => format!("There is no user {id:?}."),
        }))
    }

    fn typed(self, problem: Problem) -> Problem {
        let (code, title) = match self {
            Self::Resource => ("unknown-resource", "No such resource"),
            Self::User => ("unknown-user", "No such user"),
        };
        problem.with_code(code).with_title(title)
    }
}

/// Somebody else's booking answers the same, so that ids cannot be tried out.
pub(super) fn no_booking(id: &str) -> Problem {
    Problem::not_found(format!("There is no booking {id:?}."))
}

/// The booking as it is now, or why it is as it was.
pub(super) fn edited_booking(id: &str, edited: Edited) -> Result<BookingRecord, Problem> {
    match edited {
        Edited::Booking(booking) => Ok(booking),
        Edited::Refused(booking, why) => Err(refused_change(&booking, why)),
        Edited::Final(status) => Err(is_final(id, status)),
        Edited::Inside => Err(is_inside(id)),
        Edited::Times(reason) => Err(impossible_at("endTime", reason)),
        Edited::NoBooking => Err(no_booking(id)),
        Edited::OtherVersion(version) => Err(other_version(version)),
    }
}

/// The booking as it is now, or why it is as it was.
pub(super) fn stepped_booking(id: &str, stepped: Stepped) -> Result<BookingRecord, Problem> {
    match stepped {
        Stepped::Taken(booking) => Ok(booking),
        Stepped::Refused(refusal) => Err(impossible(id, refusal)),
        Stepped::NoBooking => Err(no_booking(id)),
        Stepped::OtherVersion(version) => Err(other_version(version)),
    }
}

/// Names what is in the way of each occurrence, and nothing of whose it is. `advice` is a sentence more.
pub(super) fn without_place(no_place: NoPlace, advice: &str) -> Problem {
    let all = no_place.occurrences.len();
    let refused = |occurrence: &&Occurrence| occurrence.outcome == Outcome::Refused;
    let count = no_place.occurrences.iter().filter(refused).count();
    let first = no_place.occurrences.iter().find(refused).map(|occurrence| {
        let reason = occurrence
            .obstacle
            .as_ref()
            .map_or("", |obstacle| obstacle.reason.as_str());
        let start = rfc3339::print(occurrence.interval.start_ms);
        format!("; the first is that of {start}: {reason}")
    });
    let problem = Problem::conflict(format!(
        "{count} of {all} occurrences have no place, so everything is as it was{}.{advice}",
        first.unwrap_or_default()
    ))
    .with_code("series-conflict")
    .with_title("Not every occurrence has a place")
    .with("occurrences", &no_place.occurrences);
    match no_place.first {
        None => problem,
        Some(taken) => problem
            .with("conflictId", &taken.conflict_id)
            .with("conflicts", &taken.intervals)
            .with("alternatives", &taken.alternatives),
    }
}
