//! Keys, each bound to the one algorithm it verifies.
//!
//! Responsible for: turning secrets and JWKs (RFC 7517) into keys, refusing weak and unsuitable
//! ones, finding the key a token names. Not for: fetching key sets. Invariant: the algorithm
//! comes from the key, so no header can turn a public key into an HMAC secret, and a symmetric
//! key never enters through a key set, which is public by nature.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::errors::ErrorKind;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::token::{Algorithm, Compact, TokenError};

/// Most keys of one set: issuers publish two or three per algorithm while rotating.
const KEYS_MAX: usize = 64;

/// Shortest RSA modulus in bits (RFC 7518, 3.3).
const RSA_BITS_MIN: usize = 2048;

/// Longest RSA modulus in bits that the cryptographic library verifies.
const RSA_BITS_MAX: usize = 8192;

/// A key and its algorithm.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// The usable keys of one fetched set.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    keys: Vec<(Option<String>, Key)>,
}

/// What a key ring has for a token.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Key(&'a Key),
    /// The key the token names exists, but for another algorithm.
    OtherAlgorithm,
    Nothing,
}

/// Why a key set was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or without an array `keys`.
    #[error("not a JSON Web Key Set")]
    Json(#[from] serde_json::Error),
    /// More than 64 keys.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
}

/// Why one key of a set is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("not a JSON Web Key")]
    Json,
    #[error("symmetric keys do not belong in a key set")]
    Symmetric,
    #[error("not a key for verifying signatures")]
    Purpose,
    #[error("key type, curve or algorithm is not supported")]
    Unsupported,
    #[error("RSA modulus is not {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")]
    RsaSize,
    #[error("a parameter is missing or malformed")]
    Parameter,
}

#[derive(Deserialize)]
struct RawSet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A shared secret: HS256 and nothing else.
    pub(super) fn from_secret(secret: &SecretString) -> Self {
        let decoding = DecodingKey::from_secret(secret.expose_secret().as_bytes());
        Self { algorithm: Algorithm::Hs256, decoding }
    }

    /// Verifies the signature of `token`.
    pub(super) fn verify(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        if token.algorithm != self.algorithm {
            return Err(TokenError::Algorithm);
        }
        let message = token.message.as_bytes();
        let algorithm = self.algorithm.into();
        match jsonwebtoken::crypto::verify(token.signature, message, &self.decoding, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::Signature),
            Err(error) if matches!(error.kind(), ErrorKind::Base64(_)) => {
                Err(TokenError::Malformed)
            }
            Err(_) => Err(TokenError::Signature),
        }
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let purpose = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let operations = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if jwk.kty == "oct" {
            return Err(KeyError::Symmetric);
        }
        if !(purpose && operations) {
            return Err(KeyError::Purpose);
        }
        match (jwk.kty.as_str(), jwk.crv.as_deref(), jwk.alg.as_deref()) {
            ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => jwk.ed25519(),
            ("EC", Some("P-256"), None | Some("ES256")) => jwk.p256(),
            ("RSA", _, None | Some("RS256")) => jwk.rsa(),
            _ => Err(KeyError::Unsupported),
        }
    }
}

impl Jwk {
    fn ed25519(&self) -> Result<Key, KeyError> {
        let x = self.bytes(self.x.as_ref())?;
        if x.len() != 32 {
            return Err(KeyError::Parameter);
        }
        Ok(Key { algorithm: Algorithm::EdDsa, decoding: DecodingKey::from_ed_der(&x) })
    }

    fn p256(&self) -> Result<Key, KeyError> {
        let (x, y) = (self.bytes(self.x.as_ref())?, self.bytes(self.y.as_ref())?);
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyError::Parameter);
        }
        // SEC 1, 2.3.3: an uncompressed point is 0x04, x, y.
        let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
        Ok(Key { algorithm: Algorithm::Es256, decoding: DecodingKey::from_ec_der(&point) })
    }

    fn rsa(&self) -> Result<Key, KeyError> {
        let (n, e) = (self.bytes(self.n.as_ref())?, self.bytes(self.e.as_ref())?);
        let leading = n.iter().take_while(|&&byte| byte == 0).count();
        let significant = n.get(leading..).unwrap_or_default();
        let Some(first) = significant.first() else {
            return Err(KeyError::Parameter);
        };
        let bits = significant.len() * 8 - first.leading_zeros() as usize;
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyError::RsaSize);
        }
        let decoding = DecodingKey::from_rsa_raw_components(significant, &e);
        Ok(Key { algorithm: Algorithm::Rs256, decoding })
    }

    fn bytes(&self, parameter: Option<&String>) -> Result<Vec<u8>, KeyError> {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let text = parameter.ok_or(KeyError::Parameter)?;
        URL_SAFE_NO_PAD.decode(text).or(Err(KeyError::Parameter))
    }
}

impl KeyRing {
    /// Reads a key set. Keys that cannot be used are left out and logged; an empty set is taken
    /// at its word, because that is how an issuer withdraws its last key.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let set: RawSet<'_> = serde_json::from_slice(json)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::with_capacity(set.keys.len());
        for (index, raw) in set.keys.into_iter().enumerate() {
            match read_key(raw) {
                Ok(key) => keys.push(key),
                Err(error) => tracing::warn!(index, %error, "key left out of the key set"),
            }
        }
        Ok(Self { keys })
    }

    /// Finds the key for `token`: by its key id, or without one the only key of its algorithm.
    pub(super) fn find(&self, token: &Compact<'_>) -> Found<'_> {
        let fits = |key: &&Key| key.algorithm == token.algorithm;
        let Some(kid) = &token.kid else {
            let mut same = self.keys.iter().map(|(_, key)| key).filter(fits);
            return match (same.next(), same.next()) {
                (Some(key), None) => Found::Key(key),
                _ => Found::Nothing,
            };
        };
        let named = || self.keys.iter().filter(|(id, _)| id.as_ref() == Some(kid));
        match named().map(|(_, key)| key).find(fits) {
            Some(key) => Found::Key(key),
            None if named().next().is_some() => Found::OtherAlgorithm,
            None => Found::Nothing,
        }
    }

    /// How many keys can be used.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

fn read_key(raw: &RawValue) -> Result<(Option<String>, Key), KeyError> {
    let jwk: Jwk = serde_json::from_str(raw.get()).or(Err(KeyError::Json))?;
    let key = Key::from_jwk(&jwk)?;
    Ok((jwk.kid, key))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(jwk: &Value) -> KeyError {
        let raw = serde_json::value::to_raw_value(jwk).unwrap();
        read_key(&raw).expect_err("a bad key")
    }

    fn base64url(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        json!({"kty": "RSA", "n": base64url(&modulus), "e": "AQAB"})
    }

    #[test]
    fn symmetric_keys_are_refused_in_a_key_set() {
        assert_eq!(refusal(&json!({"kty": "oct", "k": "AAAA"})), KeyError::Symmetric);
        let hidden = json!({"kty": "oct", "k": "AAAA", "alg": "RS256", "use": "sig"});
        assert_eq!(refusal(&hidden), KeyError::Symmetric);
    }

    #[test]
    fn short_rsa_keys_are_refused_and_leading_zeros_do_not_count() {
        assert_eq!(refusal(&rsa(1024)), KeyError::RsaSize);
        assert_eq!(refusal(&rsa(2047)), KeyError::RsaSize);
        assert_eq!(refusal(&rsa(8193)), KeyError::RsaSize);
        let padded = base64url(&[vec![0; 128], vec![0xff; 128]].concat());
        assert_eq!(refusal(&json!({"kty": "RSA", "n": padded, "e": "AQAB"})), KeyError::RsaSize);
        assert!(KeyRing::parse(json!({"keys": [rsa(2048)]}).to_string().as_bytes()).is_ok());
    }

    #[test]
    fn keys_for_other_ends_are_refused() {
        let mut key = rsa(2048);
        key["use"] = json!("enc");
        assert_eq!(refusal(&key), KeyError::Purpose);
        key["use"] = json!("sig");
        key["key_ops"] = json!(["sign"]);
        assert_eq!(refusal(&key), KeyError::Purpose);
        key["key_ops"] = json!(["verify"]);
        key["alg"] = json!("HS256");
        assert_eq!(refusal(&key), KeyError::Unsupported);
        let x = base64url(&[1; 32]);
        let p384 = json!({"kty": "EC", "crv": "P-384", "x": x, "y": x});
        assert_eq!(refusal(&p384), KeyError::Unsupported);
        let short = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&[1; 31])});
        assert_eq!(refusal(&short), KeyError::Parameter);
        assert_eq!(refusal(&json!({"kty": "EC", "crv": "P-256", "x": x})), KeyError::Parameter);
        assert_eq!(refusal(&json!("key")), KeyError::Json);
    }

    #[test]
    fn one_bad_key_does_not_spoil_the_set() {
        let set = json!({"keys": [7, {"kty": "oct", "k": "AA"}, rsa(2048), {}]});
        assert_eq!(KeyRing::parse(set.to_string().as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_set_is_bounded_and_an_empty_one_is_a_set() {
        let keys = |count: usize| json!({"keys": vec![7; count]}).to_string();
        assert!(KeyRing::parse(keys(64).as_bytes()).is_ok());
        assert!(matches!(KeyRing::parse(keys(65).as_bytes()), Err(KeySetError::TooMany)));
        assert_eq!(KeyRing::parse(br#"{"keys":[]}"#).unwrap().len(), 0);
        assert!(matches!(KeyRing::parse(b"{}"), Err(KeySetError::Json(_))));
        assert!(matches!(KeyRing::parse(b"<html>"), Err(KeySetError::Json(_))));
    }
}
