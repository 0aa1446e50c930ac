//! What the host knows and a plugin only names.

use std::fmt;
use std::path::PathBuf;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// Where a secret comes from. It is read when the plugin is made ready, and shown to nobody.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum SecretSource {
    /// A variable of the host's environment.
    Env(String),
    /// A file; a line break at its end does not belong to the secret.
    File(PathBuf),
    /// The configuration itself.
    Value(String),
}

/// As it stands in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    env: Option<String>,
    file: Option<PathBuf>,
    value: Option<String>,
}

impl TryFrom<Written> for SecretSource {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match (written.env, written.file, written.value) {
            (Some(name), None, None) => Ok(Self::Env(name)),
            (None, Some(path), None) => Ok(Self::File(path)),
            (None, None, Some(value)) => Ok(Self::Value(value)),
            _ => Err(
                "a secret comes from one place: write { env = \"NAME\" }, { file = \"PATH\" } or { value = \"…\" }",
            ),
        }
    }
}

impl SecretSource {
    /// The secret itself, or why there is none.
    pub(super) fn read(&self) -> Result<String, String> {
        let secret = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment has no variable {name} with a text"))?,
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            Self::Value(value) => value.clone(),
        };
        if secret.is_empty() {
            return Err("it is empty".to_owned());
        }
        if secret.contains(char::is_control) {
            return Err("it has control characters, which no header can carry".to_owned());
        }
        Ok(secret)
    }
}

/// Without the value: it would end up in logs.
impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}

/// Without the value: operators see where a secret comes from, not what it is.
impl Serialize for SecretSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Env(name) => map.serialize_entry("env", name)?,
            Self::File(path) => map.serialize_entry("file", path)?,
            Self::Value(_) => map.serialize_entry("value", "…")?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_comes_from_one_place_and_is_not_shown() {
        let read = |json: &str| serde_json::from_str::<SecretSource>(json);
        let given = read(r#"{"value": "hush"}"#).unwrap();
        assert_eq!(given.read().unwrap(), "hush");
        for shown in [format!("{given:?}"), serde_json::to_string(&given).unwrap()] {
            assert!(!shown.contains("hush"), "{shown}");
        }
        for wrong in [r#"{}"#, r#"{"env": "A", "value": "b"}"#] {
            let sentence = read(wrong).unwrap_err().to_string();
            assert!(sentence.contains("comes from one place"), "{sentence}");
        }
        assert!(read(r#"{"variable": "A"}"#).is_err());
    }

    #[test]
    fn a_secret_that_is_not_there_or_fits_into_no_header_is_refused() {
        let missing = SecretSource::Env("CARILLON_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(missing.read().unwrap_err().contains("NO_SUCH_VARIABLE"));
        let missing = SecretSource::File("/nowhere/secret".into());
        assert!(missing.read().unwrap_err().contains("/nowhere/secret"));
        assert!(SecretSource::Value(String::new()).read().is_err());
        assert!(SecretSource::Value("a\nb".to_owned()).read().is_err());
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hush hush\r\n").unwrap();
        assert_eq!(SecretSource::File(path).read().unwrap(), "hush hush");
    }
}
