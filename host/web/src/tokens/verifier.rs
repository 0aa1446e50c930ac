//! Checking tokens.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::key_set::{PublicKey, read_keys};
use super::{
    Claims, LEEWAY_S, MAX_NAME_BYTES, MAX_NAMES, MAX_TOKEN_BYTES, TokenConfig, TokenConfigError,
    TokenError, checked_secret,
};

/// Checks tokens against the configured keys. Cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Trust>);

struct Trust {
    secret: Option<DecodingKey>,
    public: Vec<PublicKey>,
    audience: Option<String>,
    issuer: Option<String>,
}

/// The claims as a token writes them (RFC 7519, section 4.1, and two of ours).
#[derive(Deserialize)]
struct WrittenClaims {
    sub: String,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
}

impl TokenVerifier {
    /// Reads keys and checks them, so that a bad configuration stops the start and not the first caller.
    ///
    /// # Errors
    /// [`TokenConfigError`] when nothing is configured, the secret is short, or a key cannot be used.
    pub fn new(config: &TokenConfig) -> Result<Self, TokenConfigError> {
        let secret = match &config.hmac_secret {
            Some(secret) => Some(DecodingKey::from_secret(checked_secret(secret)?)),
            None => None,
        };
        let public = match &config.jwks_file {
            Some(path) => read_keys(path)?,
            None => Vec::new(),
        };
        if secret.is_none() && public.is_empty() {
            return Err(TokenConfigError::NothingConfigured);
        }
        Ok(Self(Arc::new(Trust {
            secret,
            public,
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
        })))
    }

    /// Checks signature, times, audience and issuer, and answers who the bearer is.
    ///
    /// # Errors
    /// [`TokenError`], whose text may be shown to the bearer.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| header_refusal(error.kind()))?;
        let (key, algorithm) = self.key_for(header.alg, header.kid.as_deref())?;
        let written = decode::<WrittenClaims>(token, key, &self.validation(algorithm))
            .map_err(|error| refusal(error.kind()))?
            .claims;
        checked_claims(written)
    }

    /// The key for a token's header. The header picks, it never defines: each key comes with the one
    /// algorithm that it was configured for.
    fn key_for(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<(&DecodingKey, Algorithm), TokenError> {
        let trust = &*self.0;
        if algorithm == Algorithm::HS256 {
            let key = trust.secret.as_ref().ok_or(TokenError::WrongAlgorithm)?;
            return Ok((key, Algorithm::HS256));
        }
        if !trust.public.iter().any(|key| key.algorithm == algorithm) {
            return Err(TokenError::WrongAlgorithm);
        }
        let found = match kid {
            Some(kid) => trust
                .public
                .iter()
                .find(|key| key.kid.as_deref() == Some(kid)),
            None if trust.public.len() == 1 => trust.public.first(),
            None => None,
        };
        match found {
            Some(key) if key.algorithm == algorithm => Ok((&key.key, key.algorithm)),
            Some(_) => Err(TokenError::WrongAlgorithm),
            None => Err(TokenError::UnknownKey),
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        // A token without `exp` is one without end, as Centrifuge has it.
        validation.required_spec_claims.clear();
        if let Some(audience) = &self.0.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        if let Some(issuer) = &self.0.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        validation
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("shared_secret", &self.0.secret.is_some())
            .field("public_keys", &self.0.public.len())
            .finish_non_exhaustive()
    }
}

/// A header that is JSON but does not fit names an algorithm that does not exist, `none` for one.
fn header_refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::Json(error) if error.is_data() => TokenError::WrongAlgorithm,
        other => refusal(other),
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => TokenError::WrongAlgorithm,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) => {
            TokenError::BadClaims(format!("`{claim}` is missing"))
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::BadClaims(format!("`{claim}` has the wrong type"))
        }
        ErrorKind::Json(error) if error.is_data() => TokenError::BadClaims(error.to_string()),
        _ => TokenError::NotAToken,
    }
}

fn checked_claims(written: WrittenClaims) -> Result<Claims, TokenError> {
    check_name("sub", &written.sub)?;
    for (claim, names) in [("groups", &written.groups), ("roles", &written.roles)] {
        if names.len() > MAX_NAMES {
            return Err(TokenError::BadClaims(format!(
                "`{claim}` has more than {MAX_NAMES} entries"
            )));
        }
        for name in names {
            check_name(claim, name)?;
        }
    }
    let expires_at_ms = written.exp.map(milliseconds).transpose()?;
    Ok(Claims {
        user: written.sub,
        groups: written.groups,
        roles: written.roles,
        expires_at_ms,
    })
}

fn check_name(claim: &str, name: &str) -> Result<(), TokenError> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "is too long"
    } else if name.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(TokenError::BadClaims(format!(
        "a name in `{claim}` {fault}"
    )))
}

/// A NumericDate (RFC 7519, section 2) in milliseconds. Dates that no clock will show are refused.
fn milliseconds(seconds: f64) -> Result<i64, TokenError> {
    const FARTHEST_S: f64 = 253_402_300_799.0; // the end of the year 9999
    if !(0.0..=FARTHEST_S).contains(&seconds) {
        return Err(TokenError::BadClaims(
            "`exp` is no date before the year 10000".into(),
        ));
    }
    #[allow(clippy::cast_possible_truncation)] // the bounds above are far inside of i64
    Ok((seconds * 1000.0) as i64)
}
