//! Which binaries are trusted.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;

/// What a binary must bring to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Nothing: whoever may load plugins is trusted.
    #[default]
    Nothing,
    /// Its SHA-256 stands in `allow_sha256`.
    Listed,
    /// An ed25519 signature (RFC 8032) by one of the signers.
    Signed,
}

/// `[trust]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustConfig {
    /// What a binary must bring.
    pub require: Requirement,
    /// SHA-256 sums of binaries, in hexadecimal.
    pub allow_sha256: Vec<String>,
    /// Public keys by the names of their owners: 32 bytes in base64.
    pub signers: BTreeMap<String, String>,
}

/// The rules of [`TrustConfig`], checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    require: Requirement,
    listed: Vec<String>,
    signers: Vec<(String, VerifyingKey)>,
}

impl TrustConfig {
    /// Looks for values that cannot work.
    ///
    /// # Errors
    /// A sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        Trust::new(self).map(drop)
    }
}

impl Trust {
    pub(crate) fn new(config: &TrustConfig) -> Result<Self, String> {
        let mut listed = Vec::with_capacity(config.allow_sha256.len());
        for sum in &config.allow_sha256 {
            let sum = sum.trim().to_ascii_lowercase();
            if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!(
                    "trust.allow_sha256 has {sum:?}, which is not a SHA-256: 64 hexadecimal digits, as sha256sum prints them"
                ));
            }
            listed.push(sum);
        }
        let signers = config
            .signers
            .iter()
            .map(|(name, key)| Ok((name.clone(), public_key(name, key)?)))
            .collect::<Result<Vec<_>, String>>()?;
        if config.require == Requirement::Signed && signers.is_empty() {
            return Err(
                "trust.require is \"signed\", and trust.signers names nobody; add name = \"<base64 of an ed25519 public key>\""
                    .to_owned(),
            );
        }
        Ok(Self {
            require: config.require,
            listed,
            signers,
        })
    }

    /// Accepts or refuses a binary; answers who vouches for it.
    pub(crate) fn check(
        &self,
        sha256: &str,
        binary: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Option<&str>, String> {
        match self.require {
            Requirement::Nothing => Ok(self.signer(binary, signature)),
            Requirement::Listed if self.listed.iter().any(|sum| sum == sha256) => {
                Ok(self.signer(binary, signature))
            }
            Requirement::Listed => Err(format!(
                "only listed plugins are loaded here (trust.require = \"listed\"), and the SHA-256 of this one is not in trust.allow_sha256: {sha256}; add it there if you trust the binary"
            )),
            Requirement::Signed if signature.is_none() => Err(
                "only signed plugins are loaded here (trust.require = \"signed\"), and this one came without a signature; put it beside the file, as NAME.wasm.sig, or give it with --signature"
                    .to_owned(),
            ),
            Requirement::Signed => self.signer(binary, signature).map(Some).ok_or_else(|| {
                let names: Vec<&str> = self.signers.iter().map(|(name, _)| name.as_str()).collect();
                format!(
                    "the signature of this plugin is by none of the signers in trust.signers ({}); sign this very file (SHA-256 {sha256}) again",
                    names.join(", ")
                )
            }),
        }
    }

    fn signer(&self, binary: &[u8], signature: Option<&[u8]>) -> Option<&str> {
        let signature = Signature::from_slice(signature?).ok()?;
        self.signers
            .iter()
            .find(|(_, key)| key.verify_strict(binary, &signature).is_ok())
            .map(|(name, _)| name.as_str())
    }
}

fn public_key(name: &str, text: &str) -> Result<VerifyingKey, String> {
    let wrong = |why: String| {
        format!("trust.signers.{name} is not an ed25519 public key (32 bytes in base64): {why}")
    };
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|error| wrong(error.to_string()))?;
    let bytes: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| wrong(format!("it has {} bytes", bytes.len())))?;
    VerifyingKey::from_bytes(&bytes).map_err(|error| wrong(error.to_string()))
}

/// Reads a signature as tools write it: 64 raw bytes, or base64 of them.
///
/// # Errors
/// A sentence when it is neither.
pub fn read_signature(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() == Signature::BYTE_SIZE {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    match STANDARD.decode(text) {
        Ok(raw) if raw.len() == Signature::BYTE_SIZE => Ok(raw),
        _ => Err(format!(
            "a signature has 64 bytes, raw or in base64, and this has {}; make it with `openssl pkeyutl -sign -rawin`",
            bytes.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn signed(require: Requirement, key: &SigningKey) -> Trust {
        Trust::new(&TrustConfig {
            require,
            allow_sha256: Vec::new(),
            signers: BTreeMap::from([(
                "ci".to_owned(),
                STANDARD.encode(key.verifying_key().as_bytes()),
            )]),
        })
        .unwrap()
    }

    #[test]
    fn a_signature_is_refused_when_it_is_missing_or_of_another_file_or_key() {
        let (key, other) = (
            SigningKey::from_bytes(&[7; 32]),
            SigningKey::from_bytes(&[8; 32]),
        );
        let trust = signed(Requirement::Signed, &key);
        let signature = key.sign(b"binary").to_vec();
        assert_eq!(
            trust.check("aa", b"binary", Some(&signature)).unwrap(),
            Some("ci")
        );
        let missing = trust.check("aa", b"binary", None).unwrap_err();
        assert!(missing.contains("without a signature"), "{missing}");
        let changed = trust.check("aa", b"Binary", Some(&signature)).unwrap_err();
        assert!(changed.contains("(ci)"), "{changed}");
        let foreign = other.sign(b"binary").to_vec();
        assert!(trust.check("aa", b"binary", Some(&foreign)).is_err());
        assert!(trust.check("aa", b"binary", Some(b"short")).is_err());
    }

    #[test]
    fn a_binary_that_is_not_listed_is_refused_with_its_sum() {
        let listed = "ab".repeat(32);
        let trust = Trust::new(&TrustConfig {
            require: Requirement::Listed,
            allow_sha256: vec![listed.to_uppercase()],
            signers: BTreeMap::new(),
        })
        .unwrap();
        assert!(trust.check(&listed, b"", None).is_ok());
        let sum = "cd".repeat(32);
        assert!(trust.check(&sum, b"", None).unwrap_err().contains(&sum));
    }

    #[test]
    fn what_is_no_key_or_sum_is_refused_by_name() {
        let bad_key = TrustConfig {
            signers: BTreeMap::from([("ci".to_owned(), "AAAA".to_owned())]),
            ..TrustConfig::default()
        };
        assert!(bad_key.check().unwrap_err().contains("trust.signers.ci"));
        let bad_sum = TrustConfig {
            allow_sha256: vec!["12".to_owned()],
            ..TrustConfig::default()
        };
        assert!(bad_sum.check().unwrap_err().contains("allow_sha256"));
        let nobody = TrustConfig {
            require: Requirement::Signed,
            ..TrustConfig::default()
        };
        assert!(nobody.check().unwrap_err().contains("names nobody"));
    }
}
