//! What is asked of a plugin's JSON beyond that it is JSON.

/// How deep JSON may be nested: as deep as the data of an event.
const MAX_DEPTH: usize = carillon_events::MAX_DEPTH;

/// JSON text without line breaks. Between tokens they mean nothing, and the protocols that
/// carry the text to clients end their messages with them. (Within a string they are not JSON.)
pub(crate) fn one_line(text: String) -> String {
    // To the end, and without an early way out: that takes many bytes at a time.
    let broken = text
        .bytes()
        .fold(false, |found, byte| found | matches!(byte, b'\n' | b'\r'));
    if broken {
        text.replace(['\n', '\r'], " ")
    } else {
        text
    }
}

/// Says what is wrong with a JSON text that is valid so far: nesting that a reader's stack may
/// not hold, and U+0000, which the databases refuse.
pub(crate) fn check(json: &str) -> Result<(), String> {
    // Most texts are harmless at first sight, which is quicker than to walk through them.
    let opening = json.bytes().fold(0_u32, |count, byte| {
        count.wrapping_add(matches!(byte, b'[' | b'{').into())
    });
    let escapes = json
        .bytes()
        .fold(false, |found, byte| found | (byte == b'\\'));
    if opening as usize <= MAX_DEPTH && !escapes {
        return Ok(());
    }
    walk(json)
}

/// [`check`] for text that is not harmless at first sight.
fn walk(json: &str) -> Result<(), String> {
    let mut depth = 0;
    let mut in_string = false;
    let mut bytes = json.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => {
                if json.as_bytes()[at..].starts_with(br"\u0000") {
                    return Err("contains U+0000".to_owned());
                }
                // What follows is escaped: a quotation mark or a backslash, perhaps.
                bytes.next();
            }
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("is nested more than {MAX_DEPTH} deep"));
                }
            }
            (false, b'}' | b']') => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_looks_like_u_0000_and_is_not_passes() {
        check(r#"{"a":"\\u0000","b":"[[[\"{{","c":[1,{"d":"\\\""}]}"#).unwrap();
        assert_eq!(check(r#"["\\\u0000"]"#).unwrap_err(), "contains U+0000");
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_nest() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(MAX_DEPTH)).unwrap();
        assert!(
            check(&nested(MAX_DEPTH + 1))
                .unwrap_err()
                .contains("nested")
        );
        check(&format!("[\"{}\"]", "[".repeat(MAX_DEPTH + 1))).unwrap();
    }

    #[test]
    fn line_breaks_between_tokens_go() {
        assert_eq!(one_line("{\r\n\"a\": 1\n}".to_owned()), "{  \"a\": 1 }");
    }
}
