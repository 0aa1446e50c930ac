//! Making tokens, for `carillon token` and the demo page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use super::{TokenConfig, TokenConfigError, TokenError, checked_secret};

/// Makes HS256 tokens with the shared secret.
#[derive(Clone)]
pub struct TokenMinter {
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

#[derive(Serialize)]
struct WrittenClaims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

impl TokenMinter {
    /// A minter whose tokens name neither audience nor issuer.
    ///
    /// # Errors
    /// [`TokenConfigError::SecretTooShort`].
    pub fn new(secret: &str) -> Result<Self, TokenConfigError> {
        Ok(Self {
            key: EncodingKey::from_secret(checked_secret(secret)?),
            audience: None,
            issuer: None,
        })
    }

    /// A minter whose tokens pass a [`super::TokenVerifier`] of the same configuration; `None` where
    /// there is no secret, since tokens of a key set are made by whoever has the private keys.
    ///
    /// # Errors
    /// [`TokenConfigError::SecretTooShort`].
    pub fn from_config(config: &TokenConfig) -> Result<Option<Self>, TokenConfigError> {
        let Some(secret) = &config.hmac_secret else {
            return Ok(None);
        };
        Ok(Some(Self {
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
            ..Self::new(secret)?
        }))
    }

    /// Makes a token that ends after `ttl` (whole seconds).
    ///
    /// # Errors
    /// [`TokenError::NotSigned`] when the token cannot be written.
    pub fn mint(
        &self,
        user: &str,
        groups: &[String],
        roles: &[String],
        ttl: Duration,
    ) -> Result<String, TokenError> {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| TokenError::NotSigned("the clock stands before 1970".into()))?
            .as_secs();
        let claims = WrittenClaims {
            sub: user,
            iat: now_s,
            exp: now_s.saturating_add(ttl.as_secs()),
            groups,
            roles,
            aud: self.audience.as_deref(),
            iss: self.issuer.as_deref(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .map_err(|error| TokenError::NotSigned(error.to_string()))
    }
}

impl std::fmt::Debug for TokenMinter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMinter").finish_non_exhaustive()
    }
}
