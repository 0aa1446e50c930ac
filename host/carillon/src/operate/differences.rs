//! Where two JSON values differ, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

/// A field that is not the same on both sides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where it stands: `[0].title`.
    pub(crate) field: String,
    /// What stands on the left; `None` where there is no such field.
    pub(crate) left: Option<String>,
    /// What stands on the right.
    pub(crate) right: Option<String>,
}

/// The fields that differ, in the order in which they stand.
pub(crate) fn between(left: &Value, right: &Value) -> Vec<Difference> {
    let (left, right) = (flat(left), flat(right));
    let mut seen = BTreeSet::new();
    let fields = left.iter().chain(&right).map(|(field, _)| field);
    fields
        .filter(|field| seen.insert(field.as_str()))
        .filter_map(|field| {
            let value = |side: &[(String, String)]| {
                side.iter()
                    .find(|(name, _)| name == field)
                    .map(|(_, value)| value.clone())
            };
            let (left, right) = (value(&left), value(&right));
            (left != right).then(|| Difference {
                field: field.clone(),
                left,
                right,
            })
        })
        .collect()
}

/// Every leaf with its path. Text stands without quotation marks, as people read it.
fn flat(value: &Value) -> Vec<(String, String)> {
    let mut leaves = Vec::new();
    descend(String::new(), value, &mut leaves);
    leaves
}

fn descend(path: String, value: &Value, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let dot = if path.is_empty() { "" } else { "." };
                descend(format!("{path}{dot}{name}"), member, leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (place, item) in items.iter().enumerate() {
                descend(format!("{path}[{place}]"), item, leaves);
            }
        }
        // A field that is null says no more than one that is not there.
        Value::Null => {}
        Value::String(text) => leaves.push((path, text.clone())),
        other => leaves.push((path, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(field: &str, left: Option<&str>, right: Option<&str>) -> Difference {
        Difference {
            field: field.to_owned(),
            left: left.map(str::to_owned),
            right: right.map(str::to_owned),
        }
    }

    #[test]
    fn only_the_fields_that_differ_are_named() {
        let left = json!([{ "title": "a", "data": { "n": 1 }, "link": null }]);
        let right = json!([{ "title": "b", "data": { "n": 1 } }, { "title": "c" }]);
        assert_eq!(
            between(&left, &right),
            [
                difference("[0].title", Some("a"), Some("b")),
                difference("[1].title", None, Some("c")),
            ]
        );
        assert_eq!(between(&left, &left), []);
    }

    #[test]
    fn nothing_and_something_differ_in_all_that_the_something_has() {
        assert_eq!(
            between(&Value::Null, &json!({ "a": [], "b": 2 })),
            [
                difference("a", None, Some("[]")),
                difference("b", None, Some("2")),
            ]
        );
    }
}
