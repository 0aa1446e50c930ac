//! The life of a booking, as a type without any I/O.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a booking stands.
///
/// ```text
/// held ──accept──▶ pending or confirmed;  held ──▶ expired, or cancelled with its waitlist entry
/// pending ──confirm──▶ confirmed ──check-in──▶ checked_in ──check-out──▶ checked_out
///    │                  │      │
///    └──cancel──▶ cancelled ◀──┘ cancel;  confirmed ──no-show──▶ no_show
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Kept for somebody from the waitlist, until they accept it or their time is up.
    Held,
    /// Waits for approval; holds its time already.
    Pending,
    /// Stands.
    Confirmed,
    /// Its people are there.
    CheckedIn,
    /// Its people have left. The end.
    CheckedOut,
    /// Called off. The end.
    Cancelled,
    /// Nobody came. The end.
    NoShow,
    /// Held, and not accepted in time. The end.
    Expired,
}

/// What somebody can do with a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Approve it.
    Confirm,
    /// Call it off.
    Cancel,
    /// Its people arrive.
    CheckIn,
    /// Its people leave.
    CheckOut,
    /// Note that nobody came.
    NoShow,
}

/// A step that a booking cannot take from where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a booking that is {} cannot {step}: {reason}", status.in_words())]
pub struct Refusal {
    /// Where the booking stands.
    pub status: Status,
    /// What was asked.
    pub step: Step,
    /// Why not.
    pub reason: Cow<'static, str>,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 8] = [
        Status::Held,
        Status::Pending,
        Status::Confirmed,
        Status::CheckedIn,
        Status::CheckedOut,
        Status::Cancelled,
        Status::NoShow,
        Status::Expired,
    ];

    /// Takes a step: the status after it.
    ///
    /// # Errors
    /// [`Refusal`] when the step is impossible from here.
    pub fn take(self, step: Step) -> Result<Status, Refusal> {
        let reason = match (self, step) {
            (Status::Pending, Step::Confirm) => return Ok(Status::Confirmed),
            (Status::Pending | Status::Confirmed, Step::Cancel) => return Ok(Status::Cancelled),
            (Status::Confirmed, Step::CheckIn) => return Ok(Status::CheckedIn),
            (Status::Confirmed, Step::NoShow) => return Ok(Status::NoShow),
            (Status::CheckedIn, Step::CheckOut) => return Ok(Status::CheckedOut),

            (Status::Cancelled, _) => "it was called off, and that is final",
            (Status::CheckedOut, _) => "it is over, and that is final",
            (Status::NoShow, _) => "nobody came to it, and that is final",
            (Status::Expired, _) => "it was not accepted in time, and that is final",
            (Status::Held, _) => {
                "it is held for somebody from the waitlist, who has to accept it first"
            }
            (Status::Confirmed, Step::Confirm) => "it is confirmed already",
            (Status::CheckedIn, Step::CheckIn) => "its people are checked in already",
            (Status::CheckedIn, Step::Confirm) => "it was confirmed before its people checked in",
            (Status::CheckedIn, Step::Cancel) => "its people are there; check them out instead",
            (Status::CheckedIn, Step::NoShow) => "its people are there",
            (Status::Pending, _) => "it has to be confirmed first",
            (Status::Confirmed, Step::CheckOut) => "its people have to be checked in first",
        };
        Err(Refusal {
            status: self,
            step,
            reason: reason.into(),
        })
    }

    /// Whether the booking keeps others from its resource. The triggers of the database say the same.
    pub fn holds_its_time(self) -> bool {
        matches!(
            self,
            Status::Held | Status::Pending | Status::Confirmed | Status::CheckedIn
        )
    }

    /// The name in the database, in the API and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Held => "held",
            Status::Pending => "pending",
            Status::Confirmed => "confirmed",
            Status::CheckedIn => "checked_in",
            Status::CheckedOut => "checked_out",
            Status::Cancelled => "cancelled",
            Status::NoShow => "no_show",
            Status::Expired => "expired",
        }
    }

    /// As it stands in "a booking that is …".
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Status::Held => "held",
            Status::Pending => "pending",
            Status::Confirmed => "confirmed",
            Status::CheckedIn => "checked in",
            Status::CheckedOut => "checked out",
            Status::Cancelled => "cancelled",
            Status::NoShow => "a no-show",
            Status::Expired => "expired",
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no status of a booking"))
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 5] = [
        Step::Confirm,
        Step::Cancel,
        Step::CheckIn,
        Step::CheckOut,
        Step::NoShow,
    ];

    /// The last part of the path that asks for it: `/bookings/{id}/check-in`.
    pub fn path(self) -> &'static str {
        match self {
            Step::Confirm => "confirm",
            Step::Cancel => "cancel",
            Step::CheckIn => "check-in",
            Step::CheckOut => "check-out",
            Step::NoShow => "no-show",
        }
    }

    /// The kind of event that tells of it.
    pub fn kind(self) -> &'static str {
        match self {
            Step::Confirm => "booking.confirmed",
            Step::Cancel => "booking.cancelled",
            Step::CheckIn => "booking.checked_in",
            Step::CheckOut => "booking.checked_out",
            Step::NoShow => "booking.no_show",
        }
    }

    /// Whether it is for those who run the place, and not for whoever made the booking.
    pub fn needs_authority(self) -> bool {
        matches!(self, Step::Confirm | Step::NoShow)
    }
}

impl fmt::Display for Step {
    /// As it stands in "cannot …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Confirm => "be confirmed",
            Step::Cancel => "be cancelled",
            Step::CheckIn => "be checked in to",
            Step::CheckOut => "be checked out of",
            Step::NoShow => "become a no-show",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What becomes of each status under each step; everything else is impossible.
    const POSSIBLE: [(Status, Step, Status); 6] = [
        (Status::Pending, Step::Confirm, Status::Confirmed),
        (Status::Pending, Step::Cancel, Status::Cancelled),
        (Status::Confirmed, Step::Cancel, Status::Cancelled),
        (Status::Confirmed, Step::CheckIn, Status::CheckedIn),
        (Status::Confirmed, Step::NoShow, Status::NoShow),
        (Status::CheckedIn, Step::CheckOut, Status::CheckedOut),
    ];

    #[test]
    fn every_status_takes_exactly_the_steps_of_the_table() {
        for status in Status::ALL {
            for step in Step::ALL {
                let expected = POSSIBLE
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (status, step));
                match (status.take(step), expected) {
                    (Ok(after), Some((_, _, to))) => assert_eq!(after, *to),
                    (Err(refusal), None) => {
                        assert_eq!((refusal.status, refusal.step), (status, step));
                        assert!(!refusal.reason.is_empty());
                    }
                    (other, _) => panic!("{status:?} {step:?}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        assert_eq!(
            Status::Pending.take(Step::CheckIn).unwrap_err().to_string(),
            "a booking that is pending cannot be checked in to: it has to be confirmed first"
        );
    }

    #[test]
    fn what_has_ended_holds_no_time_and_takes_no_step() {
        for status in Status::ALL {
            let stuck = Step::ALL.into_iter().all(|step| status.take(step).is_err());
            // What is held waits for its one, who takes no step but accepts.
            let waits = status == Status::Held;
            assert_eq!(stuck, !status.holds_its_time() || waits, "{status:?}");
        }
    }

    #[test]
    fn names_come_back_as_what_they_were() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!("confirmd".parse::<Status>().is_err());
        for step in Step::ALL {
            assert!(carillon_events::catalogue::find(step.kind()).is_some());
        }
    }
}
