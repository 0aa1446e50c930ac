//! Stretches of time, half open: the end is the first moment that is not in it any more.

use serde::{Deserialize, Serialize};

use crate::rfc3339;

/// A stretch of time, in milliseconds since the epoch; RFC 3339 in JSON.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    sqlx::FromRow,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interval {
    /// When it begins.
    #[serde(rename = "startTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) start_ms: i64,
    /// When it ends.
    #[serde(rename = "endTime", with = "rfc3339")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) end_ms: i64,
}

impl Interval {
    pub(crate) fn new(start_ms: i64, end_ms: i64) -> Self {
        Self { start_ms, end_ms }
    }

    pub(crate) fn duration_ms(self) -> i64 {
        self.end_ms - self.start_ms
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.start_ms <= other.start_ms && other.end_ms <= self.end_ms
    }

    /// What both have in common.
    pub(crate) fn within(self, bounds: Self) -> Option<Self> {
        let common = Self::new(
            self.start_ms.max(bounds.start_ms),
            self.end_ms.min(bounds.end_ms),
        );
        (common.start_ms < common.end_ms).then_some(common)
    }
}

impl From<(i64, i64)> for Interval {
    fn from((start_ms, end_ms): (i64, i64)) -> Self {
        Self::new(start_ms, end_ms)
    }
}

/// In order, and with those that touch or overlap made one.
pub(crate) fn merged(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match merged.last_mut() {
            Some(last) if next.start_ms <= last.end_ms => {
                last.end_ms = last.end_ms.max(next.end_ms);
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// What is left of the first when the second are taken away; both merged.
pub(crate) fn without(open: &[Interval], taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::with_capacity(open.len() + taken.len());
    let mut first = 0;
    for whole in open {
        while taken
            .get(first)
            .is_some_and(|gone| gone.end_ms <= whole.start_ms)
        {
            first += 1;
        }
        let mut start_ms = whole.start_ms;
        for gone in taken[first..]
            .iter()
            .take_while(|gone| gone.start_ms < whole.end_ms)
        {
            if start_ms < gone.start_ms {
                left.push(Interval::new(start_ms, gone.start_ms));
            }
            start_ms = start_ms.max(gone.end_ms);
        }
        if start_ms < whole.end_ms {
            left.push(Interval::new(start_ms, whole.end_ms));
        }
    }
    left
}

/// What two have in common; both merged.
pub(crate) fn common(ones: &[Interval], others: &[Interval]) -> Vec<Interval> {
    let mut common = Vec::new();
    let (mut one, mut other) = (0, 0);
    while let (Some(first), Some(second)) = (ones.get(one), others.get(other)) {
        common.extend(first.within(*second));
        match first.end_ms < second.end_ms {
            true => one += 1,
            false => other += 1,
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(pairs: &[(i64, i64)]) -> Vec<Interval> {
        let make = |(start_ms, end_ms): &(i64, i64)| Interval::new(*start_ms, *end_ms);
        pairs.iter().map(make).collect()
    }

    #[test]
    fn what_touches_does_not_overlap_and_merges() {
        let [first, second] = [Interval::new(0, 10), Interval::new(10, 20)];
        assert!(!first.overlaps(second));
        assert!(first.overlaps(Interval::new(9, 12)));
        assert_eq!(
            merged(intervals(&[(30, 40), (10, 20), (0, 10), (35, 37)])),
            intervals(&[(0, 20), (30, 40)])
        );
    }

    #[test]
    fn what_is_taken_leaves_the_rest() {
        let open = intervals(&[(0, 100), (200, 300), (400, 500)]);
        let taken = intervals(&[(10, 20), (90, 210), (250, 260), (400, 500), (600, 700)]);
        assert_eq!(
            without(&open, &taken),
            intervals(&[(0, 10), (20, 90), (210, 250), (260, 300)])
        );
        assert_eq!(without(&open, &[]), open);
        assert_eq!(without(&[], &taken), []);
    }

    #[test]
    fn what_two_have_in_common_is_left_of_both() {
        let ones = intervals(&[(0, 100), (200, 300)]);
        let others = intervals(&[(10, 20), (90, 210), (250, 400)]);
        let both = intervals(&[(10, 20), (90, 100), (200, 210), (250, 300)]);
        assert_eq!(common(&ones, &others), both);
        assert_eq!(common(&others, &ones), both);
        assert_eq!(common(&ones, &[]), []);
    }

    #[test]
    fn within_bounds_only_what_is_common_is_left() {
        let bounds = Interval::new(10, 20);
        assert_eq!(
            Interval::new(0, 15).within(bounds),
            Some(Interval::new(10, 15))
        );
        assert_eq!(Interval::new(0, 10).within(bounds), None);
        assert!(bounds.contains(Interval::new(10, 20)));
        assert!(!bounds.contains(Interval::new(10, 21)));
    }
}
