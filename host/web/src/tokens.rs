//! JSON Web Tokens: who a caller is, and until when.
//!
//! Two ways to trust a token, which may be configured side by side: a shared secret (HS256) and a file
//! with a JSON Web Key Set (RS256, ES256, EdDSA, chosen by `kid`). A key is bound to its algorithm when
//! the configuration is read, and a token's own header only chooses among such pairs, so a public key
//! can never be taken for a secret (RFC 8725, section 3.1).

mod key_set;
mod minter;
mod verifier;

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

pub use minter::TokenMinter;
pub use verifier::TokenVerifier;

/// The shortest secret that is taken, in bytes: RFC 7518 section 3.2 asks for as many as the hash has.
pub const MIN_SECRET_BYTES: usize = 32;

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Longest user, group or role name in a token, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// Most groups, and most roles, that a token may carry: a connection subscribes to a stream for each.
pub const MAX_NAMES: usize = 100;

/// How far the clocks of issuer and host may be apart, in seconds.
pub const LEEWAY_S: u64 = 5;

/// Which tokens are accepted.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Shared secret for HS256, at least [`MIN_SECRET_BYTES`] long.
    pub hmac_secret: Option<String>,
    /// File with a JSON Web Key Set (RFC 7517) of public keys: RSA, P-256 or Ed25519.
    pub jwks_file: Option<PathBuf>,
    /// What a token's `aud` must name. Without it a token that has an `aud` is meant for somebody else.
    pub audience: Option<String>,
    /// What a token's `iss` must be. Without it the issuer is not looked at.
    pub issuer: Option<String>,
}

impl fmt::Debug for TokenConfig {
    /// Leaves the secret out: configuration is printed and logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field(
                "hmac_secret",
                &self.hmac_secret.as_ref().map(|_| "(hidden)"),
            )
            .field("jwks_file", &self.jwks_file)
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish()
    }
}

/// What a token says about its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user's id (`sub`).
    pub user: String,
    /// Groups the user belongs to (`groups`).
    pub groups: Vec<String>,
    /// What the user may do (`roles`).
    pub roles: Vec<String>,
    /// When the token ends (`exp`), in milliseconds since the epoch; `None` is a token without end.
    pub expires_at_ms: Option<i64>,
}

impl Claims {
    /// Whether the token carries this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// Why no token could be verified or made with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum TokenConfigError {
    /// Neither way to trust a token is there.
    #[error("no way to check tokens is configured: set `hmac_secret` or `jwks_file`")]
    NothingConfigured,
    /// The shared secret could be guessed.
    #[error(
        "`hmac_secret` has {actual_bytes} bytes; HS256 needs at least {MIN_SECRET_BYTES} (`openssl rand -hex 32` makes a good one)"
    )]
    SecretTooShort {
        /// Bytes that it has.
        actual_bytes: usize,
    },
    /// The key file could not be read.
    #[error("`jwks_file` {path:?} cannot be read: {cause}")]
    UnreadableKeys {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The key file is not a key set.
    #[error("`jwks_file` {path:?} is not a JSON Web Key Set: {cause}")]
    NotAKeySet {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        cause: serde_json::Error,
    },
    /// A key of the file cannot be used.
    #[error("`jwks_file` {path:?}, {key}: {reason}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Which key: its `kid`, or its place.
        key: String,
        /// Why not, and what to do.
        reason: String,
    },
}

/// Why a token was refused. The text is fit for the bearer: it tells nothing about keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not three parts of base64url with JSON inside.
    #[error("it is not a JSON Web Token")]
    NotAToken,
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("it is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// An algorithm that no configured key has.
    #[error("it is signed with an algorithm that is not accepted here")]
    WrongAlgorithm,
    /// No key with this `kid`, or none given where there are several.
    #[error("its `kid` names no key that is known here")]
    UnknownKey,
    /// The signature does not belong to the content.
    #[error("its signature is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("it has expired; get a new one")]
    Expired,
    /// `nbf` has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// `aud` names somebody else, or nobody.
    #[error("its audience (`aud`) is not this service")]
    WrongAudience,
    /// `iss` is somebody else, or nobody.
    #[error("its issuer (`iss`) is not the configured one")]
    WrongIssuer,
    /// A claim is missing or not what it should be.
    #[error("its claims do not fit: {0}")]
    BadClaims(String),
    /// The token could not be made.
    #[error("it could not be signed: {0}")]
    NotSigned(String),
}

impl TokenError {
    /// A short name for metrics and problem types.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAToken => "token-malformed",
            Self::TooLong => "token-too-long",
            Self::WrongAlgorithm => "token-wrong-algorithm",
            Self::UnknownKey => "token-unknown-key",
            Self::BadSignature => "token-bad-signature",
            Self::Expired => "token-expired",
            Self::NotYetValid => "token-not-yet-valid",
            Self::WrongAudience => "token-wrong-audience",
            Self::WrongIssuer => "token-wrong-issuer",
            Self::BadClaims(_) => "token-bad-claims",
            Self::NotSigned(_) => "token-not-signed",
        }
    }
}

/// Refuses secrets that are too short to be secret.
fn checked_secret(secret: &str) -> Result<&[u8], TokenConfigError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(TokenConfigError::SecretTooShort {
            actual_bytes: secret.len(),
        });
    }
    Ok(secret.as_bytes())
}
