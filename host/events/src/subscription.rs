//! Which events a plugin wants.

use std::fmt;
use std::str::FromStr;

use crate::kind::is_part;
use crate::{Kind, KindError, MAX_KIND_BYTES};

/// A kind (`booking.created`), all kinds of a family (`booking.*`), or everything (`*`).
///
/// An alias means its canonical kind, so that a plugin written against one seed's spelling hears
/// the producers of the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription(Pattern);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pattern {
    Everything,
    Family(Box<str>),
    Kind(Kind),
}

/// Why a text is not a subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// Neither `*` nor a kind.
    #[error("{text:?} is no subscription: {reason}")]
    Kind {
        /// The text, shortened.
        text: String,
        /// What is wrong with it as a kind.
        reason: KindError,
    },
    /// A star in another place than `*` or `family.*`.
    #[error(
        "{text:?} is no subscription: a star stands alone (`*`) or after one family (`booking.*`)"
    )]
    Star {
        /// The text, shortened.
        text: String,
    },
}

impl Subscription {
    /// Reads a subscription.
    ///
    /// # Errors
    /// [`SubscriptionError`] with the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Subscription, SubscriptionError> {
        if text == "*" {
            return Ok(Subscription(Pattern::Everything));
        }
        if let Some(family) = text.strip_suffix(".*")
            && is_part(family)
            && family.len() <= MAX_KIND_BYTES
        {
            return Ok(Subscription(Pattern::Family(family.into())));
        }
        if text.contains('*') {
            return Err(SubscriptionError::Star {
                text: crate::error::excerpt(text),
            });
        }
        Kind::parse(text)
            .map(|kind| Subscription(Pattern::Kind(kind)))
            .map_err(|reason| SubscriptionError::Kind {
                text: crate::error::excerpt(text),
                reason,
            })
    }

    /// Whether events of this kind are wanted.
    #[must_use]
    pub fn matches(&self, kind: &Kind) -> bool {
        match &self.0 {
            Pattern::Everything => true,
            Pattern::Family(family) => kind.family() == &**family,
            Pattern::Kind(wanted) => wanted == kind,
        }
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Everything => f.write_str("*"),
            Pattern::Family(family) => write!(f, "{family}.*"),
            Pattern::Kind(kind) => write!(f, "{kind}"),
        }
    }
}

impl FromStr for Subscription {
    type Err = SubscriptionError;

    fn from_str(text: &str) -> Result<Subscription, SubscriptionError> {
        Subscription::parse(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(subscription: &str, kind: &str) -> bool {
        Subscription::parse(subscription)
            .unwrap()
            .matches(&Kind::parse(kind).unwrap())
    }

    #[test]
    fn a_kind_a_family_and_everything_match_what_they_say() {
        assert!(matches("booking.created", "booking.created"));
        assert!(!matches("booking.created", "booking.updated"));
        assert!(matches("booking.*", "booking.created"));
        assert!(matches("booking.*", "booking.teleported"));
        assert!(matches("booking.*", "booking.series.created"));
        assert!(!matches("booking.*", "bookings.created"));
        assert!(!matches("booking.*", "waitlist.joined"));
        assert!(matches("*", "garden.watered"));
    }

    #[test]
    fn an_alias_subscribes_to_its_canonical_kind_and_the_other_way_round() {
        assert!(matches("waitlist.added", "waitlist.joined"));
        assert!(matches("waitlist.joined", "waitlist.added"));
        assert_eq!(
            Subscription::parse("booking.noshow").unwrap().to_string(),
            "booking.no_show"
        );
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_subscription() {
        for text in ["*", "booking.*", "booking.created", "garden.watered"] {
            let subscription = Subscription::parse(text).unwrap();
            assert_eq!(subscription.to_string(), text);
            assert_eq!(text.parse(), Ok(subscription));
        }
    }

    #[test]
    fn a_refused_subscription_says_what_would_be_right() {
        for (text, sentence) in [
            (
                "booking*",
                "\"booking*\" is no subscription: a star stands alone (`*`) or after one family (`booking.*`)",
            ),
            (
                "*.created",
                "\"*.created\" is no subscription: a star stands alone (`*`) or after one family (`booking.*`)",
            ),
            (
                "booking.series.*",
                "\"booking.series.*\" is no subscription: a star stands alone (`*`) or after one family (`booking.*`)",
            ),
            (
                "booking",
                "\"booking\" is no subscription: it has no family: it must look like `booking.created`",
            ),
            ("", "\"\" is no subscription: it is empty"),
        ] {
            assert_eq!(Subscription::parse(text).unwrap_err().to_string(), sentence);
        }
    }
}
