//! The token table: every way a token can be bad, and the one way each algorithm is good.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};

use super::*;
use crate::testing::{Issuer, jwks};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret of more than thirty-two bytes";
const PREVIOUS: &str = "the secret that was current last month";

fn config() -> Config {
    Config { secrets: vec![SECRET.into(), PREVIOUS.into()], ..Config::default() }
}

fn alice() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// Answers at the first poll or fails: an HS256 token must never wait.
fn at_once(config: Config, token: &str) -> Result<Claims, TokenError> {
    let verifier = Verifier::new(config).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    match pin!(verifier.verify_at(token, NOW)).poll(&mut context) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("an HS256 token was made to wait"),
    }
}

fn refusal(token: &str) -> TokenError {
    at_once(config(), token).expect_err("a bad token")
}

/// A verifier over a key set file; the folder must outlive it.
fn with_key_set(set: &str, secrets: Vec<SecretString>) -> (tempfile::TempDir, Arc<Verifier>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set).unwrap();
    let jwks = Some(JwksSource::File(path));
    let verifier = Verifier::new(Config { secrets, jwks, ..Config::default() }).unwrap();
    (folder, verifier)
}

#[test]
fn current_and_previous_secret_are_accepted_without_waiting() {
    for secret in [SECRET, PREVIOUS] {
        let token = Issuer::hs256(secret.as_bytes()).token(&alice());
        let claims = at_once(config(), &token).unwrap();
        assert_eq!(claims.user.unwrap().as_str(), "alice");
    }
}

#[test]
fn a_minted_token_is_accepted_with_all_it_says() {
    let token = NewToken {
        user: Some("alice".parse().unwrap()),
        name: Some("Alice".to_owned()),
        roles: vec!["dj".to_owned()],
        scope: vec!["ops:read".to_owned(), "chat:write".to_owned()],
        channel: Some("news".to_owned()),
        issuer: Some("veza".to_owned()),
        audience: Some("chat".to_owned()),
        issued_at: NOW,
        ttl: Some(std::time::Duration::from_secs(60)),
    };
    let strict = Config {
        issuer: Some("veza".to_owned()),
        audience: Some("chat".to_owned()),
        exp_required: true,
        ..config()
    };
    let claims = at_once(strict, &mint(&SECRET.into(), &token)).unwrap();
    assert_eq!(claims.user, token.user);
    assert_eq!(claims.name, token.name);
    assert_eq!(claims.roles, token.roles);
    assert_eq!(claims.scope, token.scope);
    assert_eq!(claims.channel, token.channel);
    assert_eq!(claims.expires_at, Some(NOW + 60));
}

#[test]
fn an_absent_malformed_or_oversize_token_is_malformed() {
    for token in ["", "x", "a.b.c", "..", "{}"] {
        assert_eq!(refusal(token), TokenError::Malformed, "{token:?}");
    }
    let long = json!({"sub": "alice", "pad": "x".repeat(TOKEN_BYTES_MAX)});
    let token = Issuer::hs256(SECRET.as_bytes()).token(&long);
    assert_eq!(refusal(&token), TokenError::Malformed);
}

#[test]
fn expired_early_and_undated_tokens_are_told_apart() {
    let of = |claims: Value| Issuer::hs256(SECRET.as_bytes()).token(&claims);
    assert_eq!(refusal(&of(json!({"exp": NOW - 31}))), TokenError::Expired);
    assert!(refusal(&of(json!({"exp": NOW - 31}))).is_expired());
    assert_eq!(refusal(&of(json!({"nbf": NOW + 31}))), TokenError::NotYetValid);
    assert_eq!(refusal(&of(json!({"iat": NOW + 31}))), TokenError::NotYetValid);
    let strict = Config { exp_required: true, ..config() };
    assert_eq!(at_once(strict, &of(json!({}))), Err(TokenError::MissingExp));
}

#[test]
fn tokens_for_others_are_refused() {
    let token = Issuer::hs256(SECRET.as_bytes()).token(&json!({"iss": "them", "aud": "theirs"}));
    let issuer = Config { issuer: Some("us".to_owned()), ..config() };
    assert_eq!(at_once(issuer, &token), Err(TokenError::Issuer));
    let audience = Config { audience: Some("ours".to_owned()), ..config() };
    assert_eq!(at_once(audience, &token), Err(TokenError::Audience));
}

#[test]
fn another_key_or_a_changed_payload_is_a_wrong_signature() {
    let token = Issuer::hs256(b"somebody else's secret").token(&alice());
    assert_eq!(refusal(&token), TokenError::Signature);

    let honest = Issuer::hs256(SECRET.as_bytes());
    let parts = |claims: Value| {
        let token = honest.token(&claims);
        token.split('.').map(str::to_owned).collect::<Vec<_>>()
    };
    let (mine, hers) = (parts(json!({"sub": "mallory"})), parts(alice()));
    let forged = format!("{}.{}.{}", mine[0], hers[1], mine[2]);
    assert_eq!(refusal(&forged), TokenError::Signature);
    let cut = format!("{}.{}.{}", mine[0], mine[1], mine[2].split_at(20).0);
    assert_eq!(refusal(&cut), TokenError::Signature);
    let garbled = format!("{}.{}.!", mine[0], mine[1]);
    assert_eq!(refusal(&garbled), TokenError::Malformed);
}

#[test]
fn unsigned_tokens_are_refused_whatever_they_are_called() {
    let honest = Issuer::hs256(SECRET.as_bytes());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let signed = honest.token_with_header(&json!({"alg": alg}), &alice());
        assert_eq!(refusal(&signed), TokenError::Algorithm, "{alg:?}");
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(refusal(&format!("{unsigned}.")), TokenError::Algorithm, "{alg:?}");
    }
}

#[tokio::test]
async fn each_public_algorithm_is_accepted_with_and_without_a_key_id() {
    for issuer in [Issuer::ed_dsa("a"), Issuer::es256("a"), Issuer::rs256("a")] {
        let (_folder, verifier) = with_key_set(&issuer.jwks(), Vec::new());
        let named = issuer.token(&alice());
        assert!(verifier.verify_at(&named, NOW).await.is_ok(), "{issuer:?}");
        let issuer = issuer.known_as(None);
        let unnamed = issuer.token(&alice());
        assert!(verifier.verify_at(&unnamed, NOW).await.is_ok(), "{issuer:?}");
    }
}

#[tokio::test]
async fn a_key_verifies_its_own_algorithm_only() {
    let (ed, es) = (Issuer::ed_dsa("ed"), Issuer::es256("es"));
    let (_folder, verifier) = with_key_set(&jwks([&ed, &es]), vec![SECRET.into()]);
    let header = json!({"alg": "EdDSA", "kid": "es"});
    let crossed = es.token_with_header(&header, &alice());
    assert_eq!(verifier.verify_at(&crossed, NOW).await, Err(TokenError::Algorithm));
    let header = json!({"alg": "RS256", "kid": "ed"});
    let crossed = ed.token_with_header(&header, &alice());
    assert_eq!(verifier.verify_at(&crossed, NOW).await, Err(TokenError::Algorithm));
    let impostor = Issuer::ed_dsa("ed").token(&alice());
    assert_eq!(verifier.verify_at(&impostor, NOW).await, Err(TokenError::Signature));
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let rsa = Issuer::rs256("rsa");
    let jwk = rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let (_folder, verifier) = with_key_set(&rsa.jwks(), vec![SECRET.into()]);
    for secret in [modulus.to_owned(), jwk.to_string(), rsa.jwks()] {
        let header = json!({"alg": "HS256", "kid": "rsa"});
        let token = Issuer::hs256(secret.as_bytes()).token_with_header(&header, &alice());
        assert_eq!(verifier.verify_at(&token, NOW).await, Err(TokenError::Signature));
    }
    let (_folder, public_only) = with_key_set(&rsa.jwks(), Vec::new());
    let token = Issuer::hs256(modulus.as_bytes()).token(&alice());
    assert_eq!(public_only.verify_at(&token, NOW).await, Err(TokenError::Algorithm));
}

#[tokio::test]
async fn a_symmetric_key_in_a_key_set_verifies_nothing() {
    let set = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}]});
    let (_folder, verifier) = with_key_set(&set.to_string(), Vec::new());
    let token = Issuer::hs256(b"secret").known_as(Some("s")).token(&alice());
    assert_eq!(verifier.verify_at(&token, NOW).await, Err(TokenError::Algorithm));
}

#[test]
fn a_verifier_without_usable_keys_is_refused() {
    let refused = |config: Config| Verifier::new(config).expect_err("a bad configuration");
    assert!(matches!(refused(Config::default()), Error::NoKeys));
    let with = |secret: &str| Config { secrets: vec![secret.into()], ..Config::default() };
    assert!(matches!(refused(with("")), Error::EmptySecret));
    assert!(matches!(refused(with("-----BEGIN PUBLIC KEY-----\nMC")), Error::PemSecret));
    let missing = JwksSource::File("/no/such/keys.json".into());
    let config = Config { jwks: Some(missing), ..Config::default() };
    assert!(matches!(refused(config), Error::Jwks { source: SourceError::Io(_), .. }));
}

#[test]
fn every_refusal_has_its_own_word() {
    let all = [
        TokenError::Malformed,
        TokenError::Algorithm,
        TokenError::UnknownKey,
        TokenError::Signature,
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::Issuer,
        TokenError::Audience,
        TokenError::MissingExp,
        TokenError::Claim("name"),
        TokenError::KeysUnavailable,
    ];
    let words: std::collections::HashSet<_> = all.iter().map(|error| error.reason()).collect();
    assert_eq!(words.len(), all.len());
}
