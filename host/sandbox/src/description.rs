//! What a plugin says of itself, and whether that and its settings hold together.

use std::collections::{HashMap, HashSet};

use carillon_events::Subscription;

use crate::bindings::carillon::plugin::types as wit;
use crate::model::{Description, Setting};
use crate::refusal::Refusal;

const MAX_SETTING_KEY_BYTES: usize = 128;

/// Takes over what a plugin says of itself.
pub(crate) fn check_description(said: wit::Description) -> Result<Description, Refusal> {
    let invalid = |reason: String| Err(Refusal::Description(reason));
    let name_fits = !said.name.is_empty()
        && said.name.len() <= 64
        && said
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && said.name.starts_with(|c: char| c.is_ascii_lowercase());
    if !name_fits {
        return invalid(format!(
            "its name {:?} must begin with a letter and consist of lower-case letters, digits and hyphens, 64 at most",
            said.name
        ));
    }
    let numbers: Vec<&str> = said.version.split('.').collect();
    if numbers.len() != 3 || !numbers.iter().all(|number| is_number(number)) {
        return invalid(format!(
            "its version {:?} must be three numbers, major.minor.patch",
            said.version
        ));
    }
    if said.summary.len() > 500 || said.summary.contains(char::is_control) {
        return invalid("its summary must be one line of at most 500 bytes".to_owned());
    }
    if said.subscriptions.is_empty() {
        return invalid("it subscribes to nothing, so it would never be called".to_owned());
    }
    if said.subscriptions.len() > 100 || said.settings.len() > 100 {
        return invalid("it has more than 100 subscriptions or settings".to_owned());
    }
    let mut subscriptions = Vec::with_capacity(said.subscriptions.len());
    for text in &said.subscriptions {
        match Subscription::parse(text) {
            Ok(subscription) => subscriptions.push(subscription),
            Err(error) => return invalid(format!("its subscription {text:?}: {error}")),
        }
    }
    check_setting_keys(&said.settings)?;
    let settings = said
        .settings
        .into_iter()
        .map(|setting| Setting {
            key: setting.key,
            summary: setting.summary,
            default: setting.default,
        })
        .collect();
    Ok(Description {
        name: said.name,
        version: said.version,
        summary: said.summary,
        subscriptions,
        settings,
    })
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

fn check_setting_keys(settings: &[wit::Setting]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for setting in settings {
        let key = &setting.key;
        if key.is_empty() || key.len() > MAX_SETTING_KEY_BYTES || key.contains(char::is_control) {
            return Err(Refusal::Description(format!(
                "the key of a setting, {key:?}, must have 1 to {MAX_SETTING_KEY_BYTES} bytes and no control characters"
            )));
        }
        if !seen.insert(key) {
            return Err(Refusal::Description(format!(
                "it declares the setting {key:?} twice"
            )));
        }
    }
    Ok(())
}

/// Fills in defaults; refuses what is missing and what nobody reads.
pub(crate) fn check_settings(
    description: &Description,
    given: &mut HashMap<String, String>,
) -> Result<(), Refusal> {
    let known: Vec<&str> = description
        .settings
        .iter()
        .map(|setting| setting.key.as_str())
        .collect();
    if let Some(key) = given.keys().find(|key| !known.contains(&key.as_str())) {
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(Refusal::UnknownSetting {
            plugin: description.name.clone(),
            key: key.clone(),
            known,
        });
    }
    for setting in &description.settings {
        if given.contains_key(&setting.key) {
            continue;
        }
        match &setting.default {
            Some(default) => given.insert(setting.key.clone(), default.clone()),
            None => {
                return Err(Refusal::MissingSetting {
                    plugin: description.name.clone(),
                    key: setting.key.clone(),
                    summary: setting.summary.clone(),
                });
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn described() -> wit::Description {
        wit::Description {
            name: "room-signs".to_owned(),
            version: "1.20.3".to_owned(),
            summary: "Changes the signs at the doors.".to_owned(),
            subscriptions: vec!["booking.*".to_owned()],
            settings: vec![wit::Setting {
                key: "address".to_owned(),
                summary: "the address of the signs".to_owned(),
                default: None,
            }],
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut wit::Description), words: &str) {
        let mut said = described();
        change(&mut said);
        let sentence = check_description(said).unwrap_err().to_string();
        assert!(sentence.contains(words), "{sentence}");
    }

    #[test]
    fn a_description_that_breaks_a_rule_is_refused_with_the_rule() {
        check_description(described()).unwrap();
        for name in ["", "Room", "9rooms", "room_signs", "r\0", &"r".repeat(65)] {
            refused(|said| said.name = name.to_owned(), "its name");
        }
        for version in [
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "+1.2.3",
            "1.2.",
            "1.2.99999999999",
        ] {
            refused(|said| said.version = version.to_owned(), "its version");
        }
        refused(|said| said.summary = "two\nlines".to_owned(), "its summary");
        refused(|said| said.subscriptions.clear(), "subscribes to nothing");
        refused(
            |said| said.subscriptions = vec!["*".to_owned(); 101],
            "more than 100",
        );
        refused(
            |said| said.subscriptions.push("not a kind".to_owned()),
            "\"not a kind\"",
        );
        refused(|said| said.settings[0].key.clear(), "the key of a setting");
        refused(
            |said| said.settings.push(said.settings[0].clone()),
            "\"address\" twice",
        );
    }

    #[test]
    fn a_setting_without_default_and_without_value_is_missing() {
        let description = check_description(described()).unwrap();
        let refusal = check_settings(&description, &mut HashMap::new()).unwrap_err();
        assert!(matches!(&refusal, Refusal::MissingSetting { key, .. } if key == "address"));
        assert_eq!(
            refusal.to_string(),
            "the plugin room-signs needs the setting \"address\" (the address of the signs); \
             give it in [plugins.room-signs.settings]"
        );
        let mut given = HashMap::from([("address".to_owned(), "10.0.0.7".to_owned())]);
        check_settings(&description, &mut given).unwrap();
    }
}
