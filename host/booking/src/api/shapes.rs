//! What ids, words, addresses and language tags look like.

use super::faults::Faults;

/// Longest name of a resource, a user or a place, in characters.
const MAX_NAME_CHARS: usize = 200;
/// Longest word for a kind, in bytes.
const MAX_KIND_BYTES: usize = 64;
/// The most people that a resource takes.
const MAX_CAPACITY: i64 = 100_000;
/// Longest address for e-mail, and longest part before the `@`, in bytes (RFC 5321, section 4.5.3.1).
const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
/// Longest language tag, in bytes (RFC 5646, section 4.4.1).
const MAX_LOCALE_BYTES: usize = 35;

impl Faults {
    pub(super) fn name(&mut self, field: &'static str, name: &str) {
        self.line(field, name, MAX_NAME_CHARS);
    }

    /// An id that stands in paths of its own: browsers and proxies take `.` and `..` out of them.
    pub(super) fn new_id(&mut self, field: &'static str, id: &str) {
        if matches!(id, "." | "..") {
            self.add(
                field,
                "it must not be `.` or `..`, which mean something in a path",
            );
        } else if id.trim() != id {
            self.add(field, "it must not begin or end with a space");
        } else {
            self.id(field, id);
        }
    }

    pub(super) fn kind(&mut self, kind: &str) {
        if kind.len() > MAX_KIND_BYTES || !is_kebab_case(kind) {
            self.add(
                "kind",
                format!(
                    "it must be a word of small letters, digits and single hyphens, such as `meeting-room`, of at most {MAX_KIND_BYTES}"
                ),
            );
        }
    }

    pub(super) fn capacity(&mut self, capacity: i64) {
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            self.add("capacity", format!("it must be from 1 to {MAX_CAPACITY}"));
        }
    }

    /// It may be empty.
    pub(super) fn place(&mut self, place: &str) {
        if !place.is_empty() {
            self.line("place", place, MAX_NAME_CHARS);
        }
    }

    pub(super) fn email(&mut self, email: &str) {
        if !is_email(email) {
            self.add(
                "email",
                "it must be an address for e-mail, such as `ada@example.com`",
            );
        }
    }

    pub(super) fn locale(&mut self, locale: &str) {
        if !is_language_tag(locale) {
            self.add(
                "locale",
                "it must be a BCP 47 language tag, such as `de` or `pt-BR`",
            );
        }
    }

    /// An IANA time zone, as the database of time zones spells it.
    pub(super) fn zone_name(&mut self, field: &'static str, name: &str) -> String {
        self.time_zone(field, name);
        let zone = jiff::tz::TimeZone::get(name).ok();
        zone.as_ref()
            .and_then(|zone| zone.iana_name())
            .unwrap_or(name)
            .to_owned()
    }
}

fn is_kebab_case(word: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.split('-').all(is_part)
}

/// Whether mail could reach it: whether it does, only a mail can tell. Quoted local parts and
/// addresses without a domain are left out; nobody has them.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let is_local = !local.is_empty()
        && local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|atom| {
            !atom.is_empty()
                && !atom.contains(|char: char| {
                    char.is_whitespace() || char.is_control() || "()<>[]:;,@\\\"".contains(char)
                })
        });
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|char| char == '-' || char.is_alphanumeric())
    };
    text.len() <= MAX_EMAIL_BYTES
        && is_local
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

/// Whether it is built like a tag of RFC 5646: a language of two to eight letters, then subtags of one
/// to eight letters and digits.
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let is_language = subtags.next().is_some_and(|language| {
        (2..=8).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    text.len() <= MAX_LOCALE_BYTES
        && is_language
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len())
                && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_words() {
        for good in ["room", "meeting-room", "a1", "desk-2-b"] {
            assert!(is_kebab_case(good), "{good}");
        }
        for odd in [
            "", "Room", "1a", "-room", "room-", "a--b", "a b", "a_b", "ä",
        ] {
            assert!(!is_kebab_case(odd), "{odd}");
        }
    }

    #[test]
    fn addresses_have_a_name_and_a_domain() {
        for good in [
            "ada@example.com",
            "a.b+c@mail.example.co.uk",
            "jörg@müller.example",
            "o'neil@example.com",
        ] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for odd in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a@b@example.com",
            "a b@example.com",
            "a..b@example.com",
            ".a@example.com",
            "ada@example..com",
            "ada@-example.com",
            "ada@exam ple.com",
            "Ada <ada@example.com>",
            "a\u{0}@example.com",
            "a\r\nBcc:x@example.com",
            &long,
        ] {
            assert!(!is_email(odd), "{odd:?}");
        }
    }

    #[test]
    fn language_tags_are_subtags_with_hyphens() {
        for good in ["de", "pt-BR", "zh-Hant-TW", "de-CH-1996", "en-x-pirate"] {
            assert!(is_language_tag(good), "{good}");
        }
        for odd in [
            "",
            "d",
            "de_DE",
            "de-",
            "-de",
            "1a",
            "englishlanguage",
            "de-ß",
        ] {
            assert!(!is_language_tag(odd), "{odd}");
        }
    }
}
