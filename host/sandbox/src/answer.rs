//! Whether what a plugin answered keeps to the interface.

use serde_json::value::RawValue;

use crate::bindings::carillon::plugin::types as wit;
use crate::json;
use crate::limits::Limits;
use crate::model::{
    Action, Answer, Channel, Digest, Fault, Notification, Recipient, Urgency, Withdrawal,
};

/// Bounds of single texts, in bytes. The whole answer has a bound of its own.
const MAX_NAME_BYTES: usize = 256;
const MAX_BODY_BYTES: usize = 64 << 10;
const MAX_LINK_BYTES: usize = 2_048;

/// Bound of the title, from the interface.
const MAX_TITLE_CHARACTERS: usize = 200;
/// Schemes of URLs that a browser executes or shows as a page of ours.
const SCRIPT_SCHEMES: [&str; 4] = ["javascript", "data", "vbscript", "blob"];

/// How many channels the interface knows.
const CHANNELS: usize = 6;

/// Checks an answer against the rules of the interface.
pub(crate) fn check_answer(
    said: Result<Vec<wit::Action>, wit::Failure>,
    limits: &Limits,
) -> Result<Answer, Fault> {
    match said {
        Err(wit::Failure::Reject(reason)) => Ok(Answer::Reject(reason_line(&reason))),
        Err(wit::Failure::Retry(reason)) => Ok(Answer::Retry(reason_line(&reason))),
        Ok(actions) => {
            if actions.len() > limits.actions {
                return Err(Fault::Answer(format!(
                    "it has {} actions, and at most {} are taken",
                    actions.len(),
                    limits.actions
                )));
            }
            let actions: Result<Vec<Action>, Fault> =
                actions.into_iter().map(check_action).collect();
            actions.map(Answer::Handled)
        }
    }
}

/// How much an answer lifted out of the guest, counted as the engine counts it: the texts, and the
/// elements of lists.
pub(crate) fn lifted_bytes(said: &Result<Vec<wit::Action>, wit::Failure>) -> usize {
    match said {
        Err(wit::Failure::Reject(reason) | wit::Failure::Retry(reason)) => reason.len(),
        Ok(actions) => {
            let texts: usize = actions.iter().map(text_bytes).sum();
            size_of_val(actions.as_slice()) + texts
        }
    }
}

fn text_bytes(action: &wit::Action) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let recipient = |recipient: &wit::Recipient| match recipient {
        wit::Recipient::User(text) | wit::Recipient::Group(text) => text.len(),
    };
    match action {
        wit::Action::Withdraw(said) => recipient(&said.recipient) + said.collapse_key.len(),
        wit::Action::Notify(said) => {
            recipient(&said.recipient)
                + said.category.len()
                + said.title.len()
                + said.body.len()
                + optional(&said.data)
                + optional(&said.link)
                + size_of_val(said.channels.as_slice())
                + optional(&said.collapse_key)
                + said.digest.as_ref().map_or(0, |digest| digest.key.len())
        }
    }
}

fn reason_line(reason: &str) -> String {
    let line = &reason[..reason.floor_char_boundary(1_000)];
    line.replace(|c: char| c.is_control(), " ")
}

fn check_action(action: wit::Action) -> Result<Action, Fault> {
    match action {
        wit::Action::Withdraw(withdrawal) => Ok(Action::Withdraw(Withdrawal {
            recipient: check_recipient(withdrawal.recipient)?,
            collapse_key: check_text("collapse-key", withdrawal.collapse_key, MAX_NAME_BYTES)?,
        })),
        wit::Action::Notify(notification) => {
            check_notification(notification).map(|n| Action::Notify(Box::new(n)))
        }
    }
}

fn check_notification(said: wit::Notification) -> Result<Notification, Fault> {
    let optional = |name: &str, text: Option<String>, bytes: usize| {
        text.map(|text| check_text(name, text, bytes)).transpose()
    };
    let data = match said.data {
        None => None,
        Some(text) => {
            let text = json::one_line(check_text("data", text, usize::MAX)?);
            let parsed = RawValue::from_string(text)
                .map_err(|error| Fault::Answer(format!("`data` is not JSON: {error}")))?;
            json::check(parsed.get()).map_err(|wrong| Fault::Answer(format!("`data` {wrong}")))?;
            Some(parsed)
        }
    };
    let digest = match said.digest {
        None => None,
        Some(digest) => Some(Digest {
            key: check_text("digest.key", digest.key, MAX_NAME_BYTES)?,
            window_ms: i64::try_from(digest.window)
                .map_err(|_| Fault::Answer("`digest.window` is longer than time".to_owned()))?,
        }),
    };
    if said.channels.len() > CHANNELS {
        return Err(Fault::Answer(
            "`channels` names more channels than there are".to_owned(),
        ));
    }
    Ok(Notification {
        recipient: check_recipient(said.recipient)?,
        category: check_text("category", said.category, MAX_NAME_BYTES)?,
        title: check_title(said.title)?,
        body: check_text("body", said.body, MAX_BODY_BYTES)?,
        data,
        link: said.link.map(check_link).transpose()?,
        channels: said.channels.into_iter().map(channel).collect(),
        urgency: match said.priority {
            wit::Priority::Low => Urgency::Low,
            wit::Priority::Normal => Urgency::Normal,
            wit::Priority::High => Urgency::High,
            wit::Priority::Critical => Urgency::Critical,
        },
        collapse_key: optional("collapse-key", said.collapse_key, MAX_NAME_BYTES)?,
        deliver_at_ms: said.deliver_at,
        expires_at_ms: said.expires_at,
        digest,
    })
}

fn channel(said: wit::Channel) -> Channel {
    match said {
        wit::Channel::InApp => Channel::InApp,
        wit::Channel::Email => Channel::Email,
        wit::Channel::Sms => Channel::Sms,
        wit::Channel::Push => Channel::Push,
        wit::Channel::Chat => Channel::Chat,
        wit::Channel::Webhook => Channel::Webhook,
    }
}

fn check_recipient(said: wit::Recipient) -> Result<Recipient, Fault> {
    let check = |name: &str, text: String| {
        if text.is_empty() {
            return Err(Fault::Answer(format!("`recipient.{name}` is empty")));
        }
        if text.contains(char::is_control) {
            return Err(Fault::Answer(format!(
                "`recipient.{name}` has control characters"
            )));
        }
        check_text(name, text, MAX_NAME_BYTES)
    };
    match said {
        wit::Recipient::User(id) => check("user", id).map(Recipient::User),
        wit::Recipient::Group(name) => check("group", name).map(Recipient::Group),
    }
}

fn check_title(title: String) -> Result<String, Fault> {
    if title.contains(char::is_control) {
        return Err(Fault::Answer(
            "`title` is not one line: it has control characters".to_owned(),
        ));
    }
    // A character has four bytes at most, so most titles need not be counted.
    if title.len() > MAX_TITLE_CHARACTERS && title.chars().count() > MAX_TITLE_CHARACTERS {
        return Err(Fault::Answer(format!(
            "`title` has {} characters, and at most {MAX_TITLE_CHARACTERS} are taken",
            title.chars().count()
        )));
    }
    Ok(title)
}

/// A link is put into pages: it must not be a script.
fn check_link(link: String) -> Result<String, Fault> {
    if link.contains(|c: char| c.is_control() || c == ' ') {
        return Err(Fault::Answer(
            "`link` has spaces or control characters".to_owned(),
        ));
    }
    let scheme = link.split_once(':').map_or("", |(scheme, _)| scheme);
    if SCRIPT_SCHEMES
        .iter()
        .any(|script| scheme.eq_ignore_ascii_case(script))
    {
        return Err(Fault::Answer(format!(
            "`link` has the scheme `{scheme}`, which runs what it holds"
        )));
    }
    check_text("link", link, MAX_LINK_BYTES)
}

fn check_text(name: &str, text: String, bytes: usize) -> Result<String, Fault> {
    if text.contains('\0') {
        return Err(Fault::Answer(format!("`{name}` contains U+0000")));
    }
    if text.len() > bytes {
        return Err(Fault::Answer(format!(
            "`{name}` has {} bytes, and at most {bytes} are taken",
            text.len()
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn notification() -> wit::Notification {
        wit::Notification {
            recipient: wit::Recipient::User("user-1".to_owned()),
            category: "booking".to_owned(),
            title: "Booked".to_owned(),
            body: "room-1\nat noon".to_owned(),
            data: Some(r#"{"a": 1}"#.to_owned()),
            link: Some("https://book.example/bookings/1".to_owned()),
            channels: vec![wit::Channel::Email],
            priority: wit::Priority::High,
            collapse_key: Some("booking:1".to_owned()),
            deliver_at: Some(1),
            expires_at: Some(2),
            digest: Some(wit::Digest {
                key: "daily".to_owned(),
                window: 86_400_000,
            }),
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut wit::Notification), words: &str) {
        let mut said = notification();
        change(&mut said);
        let actions = vec![wit::Action::Notify(said)];
        let fault = check_answer(Ok(actions), &Limits::default()).unwrap_err();
        assert!(fault.to_string().contains(words), "{fault}");
    }

    #[test]
    fn a_notification_that_keeps_to_the_interface_is_taken_whole() {
        let taken = check_notification(notification()).unwrap();
        assert_eq!(taken.recipient.stream(), "user:user-1");
        assert_eq!(taken.body, "room-1\nat noon");
        assert_eq!(taken.data.unwrap().get(), r#"{"a": 1}"#);
        assert_eq!(taken.channels, [Channel::Email]);
        assert_eq!(taken.digest.unwrap().window_ms, 86_400_000);
        let longest = wit::Notification {
            title: "ö".repeat(200),
            ..notification()
        };
        check_notification(longest).unwrap();
        let path = wit::Notification {
            link: Some("/bookings/1?at=12:30".to_owned()),
            ..notification()
        };
        check_notification(path).unwrap();
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_field_and_the_rule() {
        refused(
            |n| n.recipient = wit::Recipient::User(String::new()),
            "`recipient.user` is empty",
        );
        refused(
            |n| n.recipient = wit::Recipient::Group("a\nb".to_owned()),
            "control characters",
        );
        refused(
            |n| n.recipient = wit::Recipient::User("u".repeat(257)),
            "at most 256",
        );
        refused(|n| n.title = "ö".repeat(201), "201 characters");
        refused(|n| n.title = "two\nlines".to_owned(), "not one line");
        refused(|n| n.body = "nul\0".to_owned(), "`body` contains U+0000");
        refused(|n| n.body = "b".repeat(65_537), "at most 65536");
        refused(|n| n.data = Some("{".to_owned()), "`data` is not JSON");
        refused(
            |n| n.data = Some(r#"{"a":"\u0000"}"#.to_owned()),
            "`data` contains U+0000",
        );
        refused(
            |n| n.data = Some("[".repeat(100) + &"]".repeat(100)),
            "nested",
        );
        refused(
            |n| n.link = Some("JavaScript:alert(1)".to_owned()),
            "the scheme `JavaScript`",
        );
        refused(
            |n| n.link = Some(" javascript:alert(1)".to_owned()),
            "spaces",
        );
        refused(|n| n.channels = vec![wit::Channel::Sms; 7], "more channels");
        refused(|n| n.collapse_key = Some("k".repeat(257)), "`collapse-key`");
        refused(
            |n| {
                n.digest = Some(wit::Digest {
                    key: String::new(),
                    window: u64::MAX,
                })
            },
            "window",
        );
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let said = Err(wit::Failure::Reject(format!(
            "no\nroom {}",
            "ö".repeat(1_000)
        )));
        let Ok(Answer::Reject(reason)) = check_answer(said, &Limits::default()) else {
            panic!("it is a rejection");
        };
        assert!(reason.starts_with("no room ö") && reason.len() <= 1_000);
    }
}
