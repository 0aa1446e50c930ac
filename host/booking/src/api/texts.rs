//! The texts of requests, each with its form.

use carillon_web::paging::{CURSOR_CHARS, CURSOR_PATTERN};

use super::form::{Form, Text as _, texts};
use crate::rfc3339;

/// Control characters, for the brackets of a pattern.
macro_rules! control {
    () => {
        r"\u0000-\u001F\u007F-\u009F"
    };
}
/// Other characters that look like nothing. They are spelt out, since `\s` is something else to each
/// reader of patterns.
macro_rules! blank {
    () => {
        r"\u0020\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
    };
}

const PRINTABLE: &str = concat!("^[^", control!(), "]*$");

const fn id() -> Form {
    Form::new((1, 128), PRINTABLE, "it must not hold control characters")
}

const NEW_ID: &str = concat!(
    "^[^.",
    control!(),
    blank!(),
    "]([^",
    control!(),
    "]*[^",
    control!(),
    blank!(),
    "])?$"
);

const LINE: &str = concat!(
    "^[^",
    control!(),
    "]*[^",
    control!(),
    blank!(),
    "][^",
    control!(),
    "]*$"
);
const LINE_RULE: &str = "it must be one line without control characters, and not be empty";

/// What is between dots and before the `@` (RFC 5322, section 3.2.3; RFC 6531, section 3.3).
macro_rules! atom {
    () => {
        concat!("[^", control!(), blank!(), r#"()<>\[\]:;,@\\"."#, "]+")
    };
}
/// A letter or a digit of any script.
macro_rules! alphanumeric {
    () => {
        concat!("[^", control!(), blank!(), r"!-/:-@\[-`{-~", "]")
    };
}
/// What is between dots and after the `@`.
macro_rules! label {
    () => {
        concat!(
            alphanumeric!(),
            "([^",
            control!(),
            blank!(),
            r"!-,./:-@\[-`{-~",
            "]{0,61}",
            alphanumeric!(),
            ")?"
        )
    };
}
const EMAIL: &str = concat!(
    "^",
    atom!(),
    r"(\.",
    atom!(),
    ")*@",
    label!(),
    r"(\.",
    label!(),
    ")+$"
);

texts! {
    /// The id of something.
    Id = id();

    /// The id of a resource.
    ResourceId = id().example("room-1");

    /// The id of a user. May be left out by a caller with a token, who is meant then.
    UserId = id().example("user-1");

    /// An id to come. It stands in paths of its own, and browsers and proxies take `.` and `..` out of
    /// them.
    NewId = Form::new(
        (1, 128),
        NEW_ID,
        "it must begin with neither a dot nor a space, end with no space, and hold no control characters, for it stands in a path",
    );

    /// What something is for, in one line.
    Title = Form::new((1, 200), LINE, LINE_RULE).example("Team meeting");

    /// What people call something or somebody.
    Name = Form::new((1, 200), LINE, LINE_RULE).example("Aurora");

    /// Why, in one line for those who are affected.
    Reason = Form::new((1, 500), LINE, LINE_RULE).example("New carpets");

    /// Where something is, in one line; it may be empty.
    Place = Form::new((0, 200), PRINTABLE, "it must be one line without control characters")
        .example("2nd floor");

    /// What something is: a word of small letters, digits and single hyphens.
    Kind = Form::new(
        (1, 64),
        "^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "it must be a word of small letters, digits and single hyphens, such as `meeting-room`",
    )
    .example("meeting-room");

    /// An address for e-mail (RFC 5321, section 4.1.2, and RFC 6531). Whether mail reaches it, only a mail
    /// can tell. Quoted local parts and addresses without a domain are left out; nobody has them.
    Email = Form::new(
        (5, 254),
        EMAIL,
        "it must be an address for e-mail, such as `ada@example.com`",
    )
    .example("ada@example.com");

    /// A language tag (BCP 47): a language of two to eight letters, then subtags of one to eight letters
    /// and digits.
    Locale = Form::new(
        (2, 35),
        "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$",
        "it must be a BCP 47 language tag, such as `de` or `pt-BR`",
    )
    .example("pt-BR");

    /// The name of an IANA time zone.
    ZoneName = Form::new(
        (1, 64),
        "^[A-Za-z][A-Za-z0-9_+/-]*$",
        "it must be the name of an IANA time zone, such as `Europe/Berlin`",
    )
    .example("Europe/Berlin")
    .format("iana-time-zone");

    /// A moment, from the year 2000 to the year 8999 (RFC 3339).
    Time = Form::new((20, 35), rfc3339::PATTERN, rfc3339::RULE).format("date-time");

    /// What the clocks of a place show, from the year 2000 to the year 8999, without an offset.
    LocalTime = Form::new(
        (19, 19),
        "^[2-8][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$",
        "it must be a local time without an offset, from the year 2000 to the year 8999, such as 2026-10-19T09:00:00; timeZone says where",
    )
    .format("local-date-time");

    /// A rule of recurrence that ends, with COUNT or UNTIL (RFC 5545, section 3.3.10).
    RecurrenceRule = Form::new(
        (1, 500),
        "^[ -~]+$",
        "it must be a rule as RFC 5545 has it, such as FREQ=WEEKLY;BYDAY=MO;COUNT=10",
    )
    .example("FREQ=WEEKLY;BYDAY=TU;COUNT=10")
    .format("recurrence-rule");

    /// `next` of the page before, unchanged.
    CursorText = Form::new(CURSOR_CHARS, CURSOR_PATTERN, "it must be `next` of a page");

    /// The version that was seen, as the `ETag` of an answer has it (or several, with commas), or `*` for
    /// whatever is there (RFC 9110, section 13.1.1).
    SeenVersions = Form::new(
        (1, 500),
        r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#,
        r#"it must be the ETag of an answer with its quotes, such as "3", or *"#,
    )
    .example("*")
    .format("entity-tags");

    /// What the caller calls the request; the same key and body are answered the same. It may stand in
    /// quotes, but not alone.
    RequestName = Form::new(
        (1, 255),
        r#"^([!#-~]([ -~]*[!-~])?|"([!#-~]|[ -~]+[!-~])?)$"#,
        "it must be printable ASCII without spaces around it; a UUID is a good one",
    );
}

impl Place {
    pub(super) fn nowhere() -> Self {
        Self(String::new())
    }
}

impl Default for Locale {
    fn default() -> Self {
        Self("en".to_owned())
    }
}

impl Default for ZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::Text;
    use super::*;

    fn check<T: Text>(good: &[&str], odd: &[&str]) {
        for text in good {
            assert_eq!(T::form().fault(text), None, "{text:?}");
        }
        for text in odd {
            assert!(T::form().fault(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn every_pattern_compiles_and_every_example_is_one() {
        for (name, form) in all() {
            let fault = form.example.map(|example| form.fault(example));
            assert!(matches!(fault, None | Some(None)), "{name}: {fault:?}");
            assert!(form.fault("\n").is_some(), "{name}");
        }
    }

    #[test]
    fn a_form_says_what_is_wrong() {
        let fault = |text: &str| Title::form().fault(text).unwrap_or_default();
        assert!(fault("").contains("empty"));
        assert!(fault(" \u{3000}").contains("empty"));
        assert!(fault("a\nb").contains("one line"));
        assert!(fault(&"ä".repeat(201)).contains("at most 200"));
        assert_eq!(fault(&"ä".repeat(200)), "");
    }

    #[test]
    fn what_looks_like_nothing_is_what_is_trimmed() {
        for char in '\0'..=char::MAX {
            let text = format!("{char}");
            let is_nothing = text.trim().is_empty() || char.is_control();
            assert_eq!(Title::form().fault(&text).is_some(), is_nothing, "{char:?}");
        }
    }

    #[test]
    fn new_ids_can_stand_in_a_path() {
        check::<NewId>(
            &["room-1", "auth0|ä b/c", "a", "a.b", "_"],
            &["", ".", "..", ".a", " a", "a ", "a\u{0}b", "\u{a0}"],
        );
    }

    #[test]
    fn kinds_are_words() {
        check::<Kind>(
            &["room", "meeting-room", "a1", "desk-2-b"],
            &[
                "", "Room", "1a", "-room", "room-", "a--b", "a b", "a_b", "ä", "room\n",
            ],
        );
    }

    #[test]
    fn local_times_have_no_offset() {
        check::<LocalTime>(
            &["2026-10-19T09:00:00", "8999-12-31T23:59:59"],
            &[
                "",
                "2026-10-19T09:00:00Z",
                "2026-10-19T09:00",
                "2026-10-19",
                "2026-10-19 09:00:00",
                "2026-13-19T09:00:00",
                "2026-10-19T24:00:00",
                "1999-10-19T09:00:00",
                "9000-10-19T09:00:00",
            ],
        );
    }

    #[test]
    fn addresses_have_a_name_and_a_domain() {
        let long = format!("a@{}.example", "b".repeat(64));
        check::<Email>(
            &[
                "ada@example.com",
                "a.b+c@mail.example.co.uk",
                "jörg@müller.example",
                "o'neil@example.com",
                "a@b.c-d.e",
            ],
            &[
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
                "ada@example-.com",
                "ada@exam ple.com",
                "ada@exam_ple.com",
                "Ada <ada@example.com>",
                "a\u{0}@example.com",
                "a\r\nBcc:x@example.com",
                &long,
            ],
        );
    }

    #[test]
    fn language_tags_are_subtags_with_hyphens() {
        check::<Locale>(
            &["de", "pt-BR", "zh-Hant-TW", "de-CH-1996", "en-x-pirate"],
            &[
                "",
                "d",
                "de_DE",
                "de-",
                "-de",
                "1a",
                "englishlanguage",
                "de-ß",
            ],
        );
    }

    #[test]
    fn versions_are_tags_in_quotes_or_a_star() {
        check::<SeenVersions>(
            &[
                "*",
                "\"3\"",
                "W/\"3\"",
                "\"3\", \"4\",\"5\"",
                "\"\"",
                "\"a,b\"",
            ],
            &[
                "",
                "3",
                "\"",
                "*, \"3\"",
                "\"3\" \"4\"",
                "\"3\",",
                "w/\"3\"",
            ],
        );
    }

    #[test]
    fn a_request_has_a_name_even_in_quotes() {
        check::<RequestName>(
            &["k", "k 1", "\"k-1\"", "\"", "a\"\""],
            &["", " k", "k ", "\"\"", "ä"],
        );
    }
}
