//! What the verifier accepts and refuses, with keys of every kind. The private keys in `keys/` were
//! made for these tests and open nothing.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carillon_web::{TokenConfig, TokenConfigError, TokenError, TokenMinter, TokenVerifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

fn with_secret() -> TokenConfig {
    TokenConfig {
        hmac_secret: Some(SECRET.into()),
        ..TokenConfig::default()
    }
}

fn with_keys() -> TokenConfig {
    TokenConfig {
        jwks_file: Some(key_file("jwks.json")),
        ..TokenConfig::default()
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A token of the shared secret with exactly these claims.
fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn refused(config: &TokenConfig, token: &str) -> TokenError {
    TokenVerifier::new(config)
        .unwrap()
        .verify(token)
        .unwrap_err()
}

#[test]
fn a_minted_token_says_who_its_bearer_is() {
    let minter = TokenMinter::new(SECRET).unwrap();
    let token = minter
        .mint(
            "user-1",
            &["staff".into()],
            &["admin".into()],
            Duration::from_secs(60),
        )
        .unwrap();
    let claims = TokenVerifier::new(&with_secret())
        .unwrap()
        .verify(&token)
        .unwrap();
    assert_eq!(claims.user, "user-1");
    assert_eq!(claims.groups, ["staff"]);
    assert!(claims.has_role("admin") && !claims.has_role("staff"));
    let left_ms = claims.expires_at_ms.unwrap() - i64::try_from(now_s()).unwrap() * 1000;
    assert!((58_000..=61_000).contains(&left_ms), "{left_ms}");
}

#[test]
fn a_token_without_end_is_accepted_and_says_so() {
    let claims = TokenVerifier::new(&with_secret())
        .unwrap()
        .verify(&signed(&json!({"sub": "user-1"})))
        .unwrap();
    assert_eq!(claims.expires_at_ms, None);
}

#[test]
fn a_minter_of_a_configuration_satisfies_its_audience_and_issuer() {
    let config = TokenConfig {
        audience: Some("carillon".into()),
        issuer: Some("here".into()),
        ..with_secret()
    };
    let minter = TokenMinter::from_config(&config).unwrap().unwrap();
    let token = minter
        .mint("user-1", &[], &[], Duration::from_secs(60))
        .unwrap();
    let verifier = TokenVerifier::new(&config).unwrap();
    assert_eq!(verifier.verify(&token).unwrap().user, "user-1");
    assert!(TokenMinter::from_config(&with_keys()).unwrap().is_none());
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let for_us = TokenConfig {
        audience: Some("carillon".into()),
        issuer: Some("here".into()),
        ..with_secret()
    };
    let good = signed(&json!({"sub": "user-1"}));
    let (head, tail) = good.rsplit_once('.').unwrap();
    let other_end = if tail.starts_with('A') { "B" } else { "A" };
    let cases = [
        (with_secret(), String::new(), TokenError::NotAToken),
        (with_secret(), "a.b.c".into(), TokenError::NotAToken),
        (with_secret(), "x".repeat(10_000), TokenError::TooLong),
        (
            with_secret(),
            format!("{head}.{other_end}{}", &tail[1..]),
            TokenError::BadSignature,
        ),
        (
            with_secret(),
            signed(&json!({"sub": "u", "exp": now_s() - 60})),
            TokenError::Expired,
        ),
        (
            with_secret(),
            signed(&json!({"sub": "u", "nbf": now_s() + 60})),
            TokenError::NotYetValid,
        ),
        (
            with_secret(),
            signed(&json!({"sub": "u", "aud": "someone"})),
            TokenError::WrongAudience,
        ),
        (
            for_us.clone(),
            signed(&json!({"sub": "u", "iss": "here"})),
            TokenError::WrongAudience,
        ),
        (
            for_us.clone(),
            signed(&json!({"sub": "u", "aud": "carillon", "iss": "there"})),
            TokenError::WrongIssuer,
        ),
        (
            for_us,
            signed(&json!({"sub": "u", "aud": "carillon"})),
            TokenError::WrongIssuer,
        ),
    ];
    for (config, token, expected) in cases {
        assert_eq!(refused(&config, &token), expected, "{token}");
    }
}

#[test]
fn claims_of_the_wrong_shape_are_refused() {
    for claims in [
        json!({}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "x".repeat(300)}),
        json!({"sub": "u", "exp": "tomorrow"}),
        json!({"sub": "u", "exp": 1e300}),
        json!({"sub": "u", "groups": "staff"}),
        json!({"sub": "u", "groups": [""]}),
        json!({"sub": "u", "roles": vec!["r"; 101]}),
    ] {
        let error = refused(&with_secret(), &signed(&claims));
        assert!(
            matches!(error, TokenError::BadClaims(_)),
            "{claims}: {error}"
        );
    }
}

/// The key of the test set with this `kid`.
fn private_key(kid: &str) -> (Algorithm, EncodingKey) {
    let read = |name: &str| std::fs::read(key_file(name)).unwrap();
    match kid {
        "rsa-1" => (
            Algorithm::RS256,
            EncodingKey::from_rsa_der(&read("rsa.der")),
        ),
        "ec-1" => (Algorithm::ES256, EncodingKey::from_ec_der(&read("ec.der"))),
        _ => (Algorithm::EdDSA, EncodingKey::from_ed_der(&read("ed.der"))),
    }
}

fn signed_by(private: &str, kid: Option<&str>) -> String {
    let (algorithm, key) = private_key(private);
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, &json!({"sub": private}), &key).unwrap()
}

#[test]
fn each_kind_of_public_key_verifies_its_tokens_by_kid() {
    let verifier = TokenVerifier::new(&with_keys()).unwrap();
    for kid in ["rsa-1", "ec-1", "ed-1"] {
        let claims = verifier.verify(&signed_by(kid, Some(kid))).unwrap();
        assert_eq!(claims.user, kid);
    }
}

#[test]
fn a_kid_that_is_missing_unknown_or_of_another_kind_is_refused() {
    assert_eq!(
        refused(&with_keys(), &signed_by("rsa-1", None)),
        TokenError::UnknownKey
    );
    assert_eq!(
        refused(&with_keys(), &signed_by("rsa-1", Some("rsa-2"))),
        TokenError::UnknownKey
    );
    assert_eq!(
        refused(&with_keys(), &signed_by("rsa-1", Some("ec-1"))),
        TokenError::WrongAlgorithm
    );
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    // The classic attack: HS256 with the bytes of the public key, which everybody knows.
    let set: Value =
        serde_json::from_slice(&std::fs::read(key_file("jwks.json")).unwrap()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("rsa-1".into());
    let public = set["keys"][0]["n"].as_str().unwrap();
    let key = EncodingKey::from_secret(public.as_bytes());
    let forged = encode(&header, &json!({"sub": "admin"}), &key).unwrap();
    assert_eq!(refused(&with_keys(), &forged), TokenError::WrongAlgorithm);

    let both = TokenConfig {
        hmac_secret: Some(SECRET.into()),
        ..with_keys()
    };
    assert_eq!(refused(&both, &forged), TokenError::BadSignature);
}

#[test]
fn a_token_without_signature_is_refused() {
    // {"alg":"none"} and {"sub":"admin"}
    let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
    for config in [with_secret(), with_keys()] {
        assert_eq!(refused(&config, forged), TokenError::WrongAlgorithm);
    }
}

fn config_error(config: &TokenConfig) -> String {
    TokenVerifier::new(config).unwrap_err().to_string()
}

#[test]
fn a_configuration_that_could_not_work_is_refused_at_the_start() {
    assert!(matches!(
        TokenVerifier::new(&TokenConfig::default()).unwrap_err(),
        TokenConfigError::NothingConfigured
    ));
    let short = TokenConfig {
        hmac_secret: Some("short".into()),
        ..TokenConfig::default()
    };
    assert!(config_error(&short).contains("5 bytes"));
    assert!(TokenMinter::new("short").is_err());
    let missing = TokenConfig {
        jwks_file: Some(key_file("none.json")),
        ..TokenConfig::default()
    };
    assert!(config_error(&missing).contains("none.json"));
}

#[test]
fn a_key_set_with_an_unusable_key_is_refused_and_the_key_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let good: Value =
        serde_json::from_slice(&std::fs::read(key_file("jwks.json")).unwrap()).unwrap();
    let (rsa, ec) = (&good["keys"][0], &good["keys"][1]);
    let without_kid = |key: &Value| {
        let mut key = key.clone();
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let mut off_curve = ec.clone();
    off_curve["x"] = ec["y"].clone();
    let mut wrong_algorithm = rsa.clone();
    wrong_algorithm["alg"] = "RS512".into();
    let mut small = rsa.clone();
    small["n"] = "AQAB".into();
    for (keys, expected) in [
        (json!([]), "no key for signatures"),
        (json!([rsa, rsa]), "same `kid`"),
        (json!([without_kid(rsa), ec]), "needs its own"),
        (json!([off_curve]), "\"ec-1\": the key itself is broken"),
        (json!([wrong_algorithm]), "`alg` is RS512"),
        (json!([small]), "2048"),
        (
            json!([{"kty": "oct", "kid": "s", "k": "AAAA"}]),
            "shared secret",
        ),
    ] {
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        let text = config_error(&TokenConfig {
            jwks_file: Some(file.clone()),
            ..TokenConfig::default()
        });
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("keys.json"), "{text}");
    }
    std::fs::write(&file, json!({ "keys": [without_kid(rsa)] }).to_string()).unwrap();
    let single = TokenConfig {
        jwks_file: Some(file),
        ..TokenConfig::default()
    };
    let verifier = TokenVerifier::new(&single).unwrap();
    assert_eq!(
        verifier.verify(&signed_by("rsa-1", None)).unwrap().user,
        "rsa-1"
    );
}

#[test]
fn the_secret_is_not_printed() {
    assert!(!format!("{:?}", with_secret()).contains(SECRET));
    let verifier = TokenVerifier::new(&with_secret()).unwrap();
    assert!(!format!("{verifier:?}").contains(SECRET));
}
