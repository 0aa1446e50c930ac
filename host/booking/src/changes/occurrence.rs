//! What becomes of one occurrence of a series, as whoever asked is told of it.

use serde::{Deserialize, Serialize};

use crate::changes::booking::{InTheWay, NotPlaced};
use crate::interval::Interval;
use crate::rules::Broken;

/// What became of one occurrence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Occurrence {
    #[serde(flatten)]
    pub(crate) interval: Interval,
    pub(crate) outcome: Outcome,
    /// The booking that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) booking_id: Option<String>,
    /// Why it has no place.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ObstacleIfAny)]
    pub(crate) obstacle: Option<Obstacle>,
    /// The conflict that was told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conflict_id: Option<String>,
}

/// How it went with one occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It is booked.
    Booked,
    /// It has no place, and the others were made without it.
    Skipped,
    /// It has no place, so none was made.
    Refused,
    /// It would have had a place.
    Possible,
}

/// Why an occurrence has no place; nothing in it says who is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Obstacle {
    /// A word for programs: `overlap`, `not-available`, or the rule of the resource.
    pub(crate) code: String,
    /// A phrase for people.
    pub(crate) reason: String,
    /// When it is taken.
    pub(crate) conflicts: Vec<Interval>,
}

/// An [`Obstacle`] within what has one or has none: then none of its members is there.
#[derive(utoipa::ToSchema)]
#[allow(dead_code)] // it is described here; serde flattens an `Option`
struct ObstacleIfAny {
    code: Option<String>,
    reason: Option<String>,
    conflicts: Option<Vec<Interval>>,
}

impl Obstacle {
    pub(crate) fn of_rule(broken: Broken) -> Self {
        Self {
            code: broken.code,
            reason: broken.reason,
            conflicts: Vec::new(),
        }
    }

    pub(crate) fn of_others(placed: NotPlaced, in_the_way: &InTheWay) -> Self {
        let code = match placed {
            NotPlaced::Overlaps => "overlap",
            NotPlaced::Unavailable => "not-available",
        };
        Self {
            code: code.to_owned(),
            reason: placed.in_words().to_owned(),
            conflicts: in_the_way.intervals.clone(),
        }
    }
}

impl Occurrence {
    pub(crate) fn without_place(interval: Interval, obstacle: Obstacle) -> Self {
        Self {
            interval,
            outcome: Outcome::Skipped,
            booking_id: None,
            obstacle: Some(obstacle),
            conflict_id: None,
        }
    }
}
