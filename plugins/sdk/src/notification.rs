//! Building the actions that a plugin answers.

use std::time::Duration;

use serde::Serialize;

use crate::{Action, Channel, Digest, Failure, Notification, Priority, Recipient, Withdrawal};

/// The longest title that the host takes, in characters.
const MAX_TITLE_CHARACTERS: usize = 200;

/// The longest body that the host takes, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The longest collapse key that the host takes, in bytes. An identifier alone may be as long.
const MAX_KEY_BYTES: usize = 256;

impl Notification {
    /// A notification for one user.
    #[must_use]
    pub fn to_user(user: impl Into<String>) -> Self {
        Self::to(Recipient::User(user.into()))
    }

    /// A notification for everybody in a group.
    #[must_use]
    pub fn to_group(group: impl Into<String>) -> Self {
        Self::to(Recipient::Group(group.into()))
    }

    /// A notification of category `general`, normal priority, for the channels of the
    /// recipient's own choice.
    #[must_use]
    pub fn to(recipient: Recipient) -> Self {
        Self {
            recipient,
            category: "general".to_owned(),
            title: String::new(),
            body: String::new(),
            data: None,
            link: None,
            channels: Vec::new(),
            priority: Priority::Normal,
            collapse_key: None,
            deliver_at: None,
            expires_at: None,
            digest: None,
        }
    }

    /// What it is about, in the recipient's preferences: `booking`, `waitlist` …
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = category.into();
        self
    }

    /// One line. Titles often hold what people typed, so line breaks and other control
    /// characters become spaces, and what is longer than 200 characters is cut.
    #[must_use]
    pub fn title(mut self, title: impl AsRef<str>) -> Self {
        self.title = one_line(title.as_ref());
        self
    }

    /// The text, plain. U+0000, which the host refuses, is left out, and what is longer than
    /// 64 KiB is cut.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.body.retain(|character| character != '\0');
        if self.body.len() > MAX_BODY_BYTES {
            let end = self
                .body
                .floor_char_boundary(MAX_BODY_BYTES - '…'.len_utf8());
            self.body.truncate(end);
            self.body.push('…');
        }
        self
    }

    /// Further data for clients, written as JSON.
    ///
    /// # Errors
    /// [`Failure::Reject`] when the value cannot be written as JSON.
    pub fn data(mut self, data: &impl Serialize) -> Result<Self, Failure> {
        let text = serde_json::to_string(data).map_err(|error| {
            Failure::reject(format!(
                "the notification's data cannot be written: {error}"
            ))
        })?;
        self.data = Some(text);
        Ok(self)
    }

    /// Where a click leads: an absolute URL or a path.
    #[must_use]
    pub fn link(mut self, link: impl Into<String>) -> Self {
        self.link = Some(link.into());
        self
    }

    /// A link to a page below `base`, each segment of the path percent-encoded; no link when
    /// `base` is empty. For plugins that let the operator say where their site is.
    ///
    /// ```
    /// use carillon_plugin::Notification;
    /// let built = Notification::to_user("u").link_below("https://book.example/", &["rooms", "a/b"]);
    /// assert_eq!(built.link.as_deref(), Some("https://book.example/rooms/a%2Fb"));
    /// ```
    #[must_use]
    pub fn link_below(self, base: &str, path: &[&str]) -> Self {
        let base = base.trim().trim_end_matches('/');
        if base.is_empty() {
            return self;
        }
        let mut link = base.to_owned();
        for segment in path {
            link.push('/');
            push_encoded(&mut link, segment);
        }
        self.link(link)
    }

    /// The channels to use, in place of the recipient's own choice.
    #[must_use]
    pub fn channels(mut self, channels: impl IntoIterator<Item = Channel>) -> Self {
        self.channels = channels.into_iter().collect();
        self
    }

    /// How urgent it is. [`Priority::Critical`] ignores quiet hours.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// A newer notification of this plugin to the same recipient with the same key replaces
    /// the older one in the inbox. A key longer than 256 bytes is shortened, to the same key each
    /// time, here and in [`Action::withdraw`].
    #[must_use]
    pub fn collapse_key(mut self, key: impl Into<String>) -> Self {
        self.collapse_key = Some(bounded_key(key.into()));
        self
    }

    /// Neither visible nor sent before this time, in milliseconds since the epoch.
    #[must_use]
    pub fn deliver_at(mut self, time_ms: i64) -> Self {
        self.deliver_at = Some(time_ms);
        self
    }

    /// Neither visible nor sent after this time, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_at(mut self, time_ms: i64) -> Self {
        self.expires_at = Some(time_ms);
        self
    }

    /// Gathered with others of the same recipient and key, and sent `window` after the first.
    #[must_use]
    pub fn digest(mut self, key: impl Into<String>, window: Duration) -> Self {
        self.digest = Some(Digest {
            key: key.into(),
            window: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
        });
        self
    }
}

impl From<Notification> for Action {
    fn from(notification: Notification) -> Self {
        Self::Notify(notification)
    }
}

impl Action {
    /// Takes back what this plugin sent to the recipient with this collapse key.
    #[must_use]
    pub fn withdraw(recipient: Recipient, collapse_key: impl Into<String>) -> Self {
        Self::Withdraw(Withdrawal {
            recipient,
            collapse_key: bounded_key(collapse_key.into()),
        })
    }

    /// Takes back what this plugin sent to the user with this collapse key.
    #[must_use]
    pub fn withdraw_from_user(user: impl Into<String>, collapse_key: impl Into<String>) -> Self {
        Self::withdraw(Recipient::User(user.into()), collapse_key)
    }
}

/// RFC 3986: everything but unreserved characters is percent-encoded.
fn push_encoded(link: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push('%');
            for half in [byte >> 4, byte & 15] {
                link.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
            }
        }
    }
}

/// A key that is too long keeps its beginning; what is cut off is told apart by its FNV-1a hash.
fn bounded_key(mut key: String) -> String {
    if key.len() <= MAX_KEY_BYTES {
        return key;
    }
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let suffix = format!("~{hash:016x}");
    key.truncate(key.floor_char_boundary(MAX_KEY_BYTES - suffix.len()));
    key + &suffix
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (count, character) in text.trim().chars().enumerate() {
        if count == MAX_TITLE_CHARACTERS {
            line.pop();
            line.push('…');
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_builder_fills_every_field() {
        let built = Notification::to_group("staff")
            .category("booking")
            .title("Hello")
            .body("World")
            .data(&[1, 2])
            .unwrap()
            .link("/bookings/1")
            .channels([Channel::Email, Channel::InApp])
            .priority(Priority::High)
            .collapse_key("booking:1")
            .deliver_at(1)
            .expires_at(2)
            .digest("daily", Duration::from_secs(60));
        let expected = Notification {
            recipient: Recipient::Group("staff".into()),
            category: "booking".into(),
            title: "Hello".into(),
            body: "World".into(),
            data: Some("[1,2]".into()),
            link: Some("/bookings/1".into()),
            channels: vec![Channel::Email, Channel::InApp],
            priority: Priority::High,
            collapse_key: Some("booking:1".into()),
            deliver_at: Some(1),
            expires_at: Some(2),
            digest: Some(Digest {
                key: "daily".into(),
                window: 60_000,
            }),
        };
        assert_eq!(built, expected);
    }

    #[test]
    fn a_title_is_one_line_of_at_most_200_characters() {
        let title = |text: &str| Notification::to_user("u").title(text).title;
        assert_eq!(title(" a\r\nb\0c\t"), "a  b c");
        assert_eq!(title(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(
            title(&"ä".repeat(201)),
            format!("{}…", "ä".repeat(199)),
            "cut at a character, never inside one"
        );
    }

    #[test]
    fn a_body_keeps_its_lines_and_loses_only_nul() {
        let body = Notification::to_user("u").body("one\ntwo\0").body;
        assert_eq!(body, "one\ntwo");
    }

    #[test]
    fn a_body_longer_than_the_host_takes_is_cut_at_a_character() {
        let body = Notification::to_user("u").body("ä".repeat(40_000)).body;
        assert!(body.len() <= MAX_BODY_BYTES && body.ends_with("ä…"));
        let whole = "x".repeat(MAX_BODY_BYTES);
        assert_eq!(Notification::to_user("u").body(&whole).body, whole);
    }

    #[test]
    fn long_keys_are_shortened_alike_everywhere_and_stay_apart() {
        let key = |text: &str| Notification::to_user("u").collapse_key(text).collapse_key;
        let long = "ä".repeat(200);
        let short = key(&long).unwrap();
        assert!(short.len() <= MAX_KEY_BYTES, "{} bytes", short.len());
        assert_ne!(key(&long), key(&format!("{long}2")));
        let Action::Withdraw(withdrawal) = Action::withdraw_from_user("u", long) else {
            panic!("a withdrawal was made");
        };
        assert_eq!(withdrawal.collapse_key, short);
        assert_eq!(key("booking:1").as_deref(), Some("booking:1"));
    }

    #[test]
    fn a_link_below_a_base_is_encoded_and_left_out_without_a_base() {
        let link =
            |base: &str, path: &[&str]| Notification::to_user("u").link_below(base, path).link;
        assert_eq!(link("", &["bookings", "1"]), None);
        assert_eq!(link(" / ", &["bookings", "1"]), None);
        assert_eq!(
            link("https://a.example/x//", &["bookings", "ü ?"]).as_deref(),
            Some("https://a.example/x/bookings/%C3%BC%20%3F")
        );
    }

    #[test]
    fn data_that_is_no_json_is_rejected_with_a_reason() {
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        let failure = Notification::to_user("u").data(&odd).unwrap_err();
        assert!(failure.reason().contains("key must be a string"));
    }
}
