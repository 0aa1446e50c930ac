//! Who may operate: secrets that stand for names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// The shortest secret of an operator, in characters. Drawn at random from the 64 characters of
/// base64 it has 96 bits, which nobody guesses over a network, so that attempts need no limit.
const MIN_SECRET_CHARS: usize = 16;

/// `[admin]`: who may operate.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Names of operators, as the audit shows them, and the secret of each. Without any, the
    /// binary draws one for the name `local` and keeps it in the data folder.
    pub tokens: BTreeMap<String, String>,
}

impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig")
            .field("tokens", &self.tokens.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A token that operators cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminConfigError {
    /// Whoever it is would have no name in the audit.
    #[error("admin.tokens has an entry without a name: the audit says by it who did what")]
    Nameless,
    /// It could be guessed.
    #[error(
        "admin.tokens.{name} has {chars} characters: it must have at least {MIN_SECRET_CHARS}, so that it cannot be guessed; `openssl rand -base64 24` draws a good one"
    )]
    Short {
        /// Whose it is.
        name: String,
        /// How long it is.
        chars: usize,
    },
    /// It would never be recognised.
    #[error(
        "admin.tokens.{name} holds a space or a character that is not ASCII: an Authorization header cannot carry it"
    )]
    Unsendable {
        /// Whose it is.
        name: String,
    },
    /// Nobody could say who it was.
    #[error(
        "admin.tokens.{first} and admin.tokens.{second} are the same secret: the audit could not tell the two apart"
    )]
    Shared {
        /// Who has it.
        first: String,
        /// Who has it too.
        second: String,
    },
}

/// The tokens of all operators, as digests. Cheap to clone.
#[derive(Clone)]
pub struct AdminTokens {
    operators: Arc<[Operator]>,
}

struct Operator {
    name: Arc<str>,
    digest: [u8; 32],
}

impl fmt::Debug for AdminTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.operators.iter().map(|operator| &operator.name))
            .finish()
    }
}

impl AdminConfig {
    /// Looks for tokens that nobody should have.
    ///
    /// # Errors
    /// Names the first one that is short, shared or cannot be sent.
    pub fn check(&self) -> Result<(), AdminConfigError> {
        AdminTokens::new(self).map(drop)
    }
}

impl AdminTokens {
    /// Takes the tokens of a configuration. Without any, nobody may operate.
    ///
    /// # Errors
    /// As [`AdminConfig::check`].
    pub fn new(config: &AdminConfig) -> Result<Self, AdminConfigError> {
        let mut operators: Vec<Operator> = Vec::with_capacity(config.tokens.len());
        for (name, secret) in &config.tokens {
            check_secret(name, secret)?;
            let digest = digest(secret);
            if let Some(other) = operators.iter().find(|other| other.digest == digest) {
                return Err(AdminConfigError::Shared {
                    first: other.name.to_string(),
                    second: name.clone(),
                });
            }
            operators.push(Operator {
                name: name.as_str().into(),
                digest,
            });
        }
        Ok(Self {
            operators: operators.into(),
        })
    }

    /// Whose token this is. Takes the same time whichever matches, and whether one does: it
    /// compares digests, in constant time, and looks at all of them.
    #[must_use]
    pub fn operator(&self, token: &str) -> Option<Arc<str>> {
        const NOBODY: u64 = u64::MAX;
        let digest = digest(token);
        let mut found = NOBODY;
        for (place, operator) in (0_u64..).zip(self.operators.iter()) {
            let same = operator.digest.ct_eq(&digest);
            found = u64::conditional_select(&found, &place, same);
        }
        let operator = self.operators.get(usize::try_from(found).ok()?)?;
        Some(Arc::clone(&operator.name))
    }
}

fn check_secret(name: &str, secret: &str) -> Result<(), AdminConfigError> {
    if name.trim().is_empty() {
        return Err(AdminConfigError::Nameless);
    }
    let chars = secret.chars().count();
    if chars < MIN_SECRET_CHARS {
        return Err(AdminConfigError::Short {
            name: name.to_owned(),
            chars,
        });
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AdminConfigError::Unsendable {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ADA: &str = "a-secret-of-ada's-own";
    const BOB: &str = "a-secret-of-bob's-own";

    fn config(tokens: &[(&str, &str)]) -> AdminConfig {
        AdminConfig {
            tokens: tokens
                .iter()
                .map(|(name, secret)| ((*name).to_owned(), (*secret).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_token_stands_for_the_name_it_was_given_to() {
        let tokens = AdminTokens::new(&config(&[("ada", ADA), ("bob", BOB)])).unwrap();
        assert_eq!(tokens.operator(ADA).as_deref(), Some("ada"));
        assert_eq!(tokens.operator(BOB).as_deref(), Some("bob"));
        for other in [
            "",
            "a-secret",
            "a-secret-of-bob's-own ",
            "A-SECRET-OF-ADA'S-OWN",
        ] {
            assert_eq!(tokens.operator(other), None, "{other}");
        }
    }

    #[test]
    fn without_tokens_nobody_may_operate() {
        let tokens = AdminTokens::new(&AdminConfig::default()).unwrap();
        assert_eq!(tokens.operator(""), None);
    }

    #[test]
    fn a_secret_that_is_short_shared_or_cannot_be_sent_is_refused_by_name() {
        let refusal = |tokens: &[(&str, &str)]| config(tokens).check().unwrap_err().to_string();
        let short = refusal(&[("ci", "hunter2")]);
        assert!(
            short.starts_with("admin.tokens.ci has 7 characters: it must have at least 16"),
            "{short}"
        );
        let shared = refusal(&[("ada", ADA), ("bob", ADA)]);
        assert!(shared.contains("ada") && shared.contains("bob"), "{shared}");
        assert!(refusal(&[("ci", "two words and some more")]).contains("space"));
        assert!(refusal(&[(" ", ADA)]).contains("without a name"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = config(&[("ada", ADA)]);
        let printed = format!("{config:?} {:?}", AdminTokens::new(&config).unwrap());
        assert!(
            printed.contains("ada") && !printed.contains(ADA),
            "{printed}"
        );
    }
}
