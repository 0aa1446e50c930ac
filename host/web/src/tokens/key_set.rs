//! A file of public keys (RFC 7517), each bound to one algorithm when it is read.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::TokenConfigError;

/// Smallest RSA modulus that is taken, in bytes (2048 bits, RFC 7518 section 3.3).
const MIN_MODULUS_BYTES: usize = 256;

/// Size of a coordinate of P-256 and of an Ed25519 public key, in bytes.
const CURVE_BYTES: usize = 32;

/// A public key and the only algorithm that it is used with.
pub(super) struct PublicKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Reads all signing keys of the file. Keys for encryption are passed over; anything else that cannot
/// be used is an error, since a key silently left out would show only when its tokens fail.
pub(super) fn read_keys(path: &Path) -> Result<Vec<PublicKey>, TokenConfigError> {
    let text = std::fs::read(path).map_err(|cause| TokenConfigError::UnreadableKeys {
        path: path.to_owned(),
        cause,
    })?;
    let set: JwkSet =
        serde_json::from_slice(&text).map_err(|cause| TokenConfigError::NotAKeySet {
            path: path.to_owned(),
            cause,
        })?;
    let mut keys: Vec<PublicKey> = Vec::with_capacity(set.keys.len());
    for (place, jwk) in set.keys.iter().enumerate() {
        if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
            continue;
        }
        let key = bind(jwk).and_then(|key| check_unique(key, &keys));
        keys.push(key.map_err(|reason| bad_key(path, name(jwk, place), reason))?);
    }
    if keys.is_empty() {
        return Err(bad_key(
            path,
            "the whole set".into(),
            "there is no key for signatures in it".into(),
        ));
    }
    if keys.len() > 1 && keys.iter().any(|key| key.kid.is_none()) {
        return Err(bad_key(
            path,
            "a key without `kid`".into(),
            "in a set of several each key needs its own, since tokens choose by it".into(),
        ));
    }
    Ok(keys)
}

fn bad_key(path: &Path, key: String, reason: String) -> TokenConfigError {
    TokenConfigError::BadKey {
        path: path.to_owned(),
        key,
        reason,
    }
}

fn name(jwk: &Jwk, place: usize) -> String {
    match &jwk.common.key_id {
        Some(kid) => format!("key {kid:?}"),
        None => format!("key number {}", place + 1),
    }
}

fn check_unique(key: PublicKey, others: &[PublicKey]) -> Result<PublicKey, String> {
    match others.iter().any(|other| other.kid == key.kid) {
        true => Err("another key of the set has the same `kid`".into()),
        false => Ok(key),
    }
}

fn bind(jwk: &Jwk) -> Result<PublicKey, String> {
    let (algorithm, stated) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = bytes(&rsa.n, "n")?;
            bytes(&rsa.e, "e")?;
            if modulus.len() < MIN_MODULUS_BYTES {
                return Err(format!(
                    "the RSA modulus has {} bits; at least {} are needed",
                    modulus.len() * 8,
                    MIN_MODULUS_BYTES * 8
                ));
            }
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            check_curve_bytes(&ec.x, "x")?;
            check_curve_bytes(&ec.y, "y")?;
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            check_curve_bytes(&okp.x, "x")?;
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => {
            return Err(
                "it is a shared secret (`oct`), and a file of public keys must hold none; set `hmac_secret` instead"
                    .into(),
            );
        }
        _ => {
            return Err(
                "its type is not supported; use RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)"
                    .into(),
            );
        }
    };
    if let Some(other) = jwk.common.key_algorithm.filter(|own| *own != stated) {
        return Err(format!(
            "its `alg` is {other:?}; a key of this type is used with {stated:?} here"
        ));
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    // A point off the curve shows only when the key is used: use it once, on nothing.
    jsonwebtoken::crypto::verify("", b"", &key, algorithm)
        .map_err(|error| format!("the key itself is broken ({error})"))?;
    Ok(PublicKey {
        kid: jwk.common.key_id.clone(),
        algorithm,
        key,
    })
}

fn check_curve_bytes(text: &str, member: &str) -> Result<(), String> {
    match bytes(text, member)?.len() {
        CURVE_BYTES => Ok(()),
        other => Err(format!(
            "`{member}` has {other} bytes instead of {CURVE_BYTES}"
        )),
    }
}

fn bytes(text: &str, member: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| format!("`{member}` is not base64url"))
}
