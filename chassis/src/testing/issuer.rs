//! An identity provider in a variable: keys of every accepted kind and the tokens they sign.
//!
//! Signs with aws-lc-rs directly rather than with the crate that verifies, so that a test which
//! passes shows two implementations agreeing. Not for production: [`crate::auth::mint`] is.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const GENERATED: &str = "the system has randomness for a key";

/// One signing key with its key id. Fresh for every value, except the HMAC one.
pub struct Issuer {
    kid: Option<String>,
    key: SigningKey,
}

#[expect(clippy::large_enum_variant, reason = "a handful per test, built once")]
enum SigningKey {
    Hs256(hmac::Key),
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Issuer {
    /// Signs HS256 with a shared secret. Its tokens carry no key id.
    pub fn hs256(secret: &[u8]) -> Self {
        Self { kid: None, key: SigningKey::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }

    /// A fresh Ed25519 key known as `kid`.
    pub fn ed_dsa(kid: &str) -> Self {
        let key = Ed25519KeyPair::generate().expect(GENERATED);
        Self { kid: Some(kid.to_owned()), key: SigningKey::EdDsa(key) }
    }

    /// A fresh P-256 key known as `kid`.
    pub fn es256(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(GENERATED);
        Self { kid: Some(kid.to_owned()), key: SigningKey::Es256(key) }
    }

    /// A fresh RSA key of 2048 bits known as `kid`. Takes up to a second to find its primes.
    pub fn rs256(kid: &str) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect(GENERATED);
        Self { kid: Some(kid.to_owned()), key: SigningKey::Rs256(key) }
    }

    /// The same key under another id, or under none.
    #[must_use]
    pub fn known_as(mut self, kid: Option<&str>) -> Self {
        self.kid = kid.map(str::to_owned);
        self
    }

    /// Signs exactly these `claims`: no `iat` or `exp` is added.
    pub fn token(&self, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm(), "typ": "JWT"});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        self.token_with_header(&header, claims)
    }

    /// Signs `claims` under a header of the test's own making, true or not.
    pub fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The public key as a JSON Web Key; the secret one of an HMAC issuer as kind `oct`, so that
    /// tests can show it refused.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            SigningKey::Hs256(_) => json!({"kty": "oct", "k": text(b"not told")}),
            SigningKey::EdDsa(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())})
            }
            SigningKey::Es256(key) => {
                // SEC 1, 2.3.3: 0x04, then x and y of 32 bytes each.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            SigningKey::Rs256(key) => {
                let PublicKeyComponents { n, e } =
                    PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "n": text(&n), "e": text(&e)})
            }
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// The key set of this one key, as JSON text.
    pub fn jwks(&self) -> String {
        jwks([self])
    }

    /// The `alg` of its tokens.
    pub fn algorithm(&self) -> &'static str {
        match &self.key {
            SigningKey::Hs256(_) => "HS256",
            SigningKey::EdDsa(_) => "EdDSA",
            SigningKey::Es256(_) => "ES256",
            SigningKey::Rs256(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            SigningKey::Hs256(key) => hmac::sign(key, message).as_ref().to_vec(),
            SigningKey::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            SigningKey::Es256(key) => {
                key.sign(&random, message).expect(GENERATED).as_ref().to_vec()
            }
            SigningKey::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect(GENERATED);
                signature
            }
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A key set of several issuers, as JSON text.
pub fn jwks<'a>(issuers: impl IntoIterator<Item = &'a Issuer>) -> String {
    let keys: Vec<Value> = issuers.into_iter().map(Issuer::jwk).collect();
    json!({ "keys": keys }).to_string()
}
