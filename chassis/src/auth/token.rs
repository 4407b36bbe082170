//! A compact JWS (RFC 7515) taken apart, and everything that can be wrong with a token.
//!
//! Responsible for: the bounds checked before any parsing, the header, naming each refusal.
//! Not for: signatures (`key`) and the meaning of claims (`claims`). Nothing here is trusted
//! until a key has verified `message`; the payload stays encoded until then. Sans IO, no clock.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Longest token in bytes, checked first: the largest tokens of known issuers, with a dozen
/// roles and an RSA-4096 signature of 683 characters, stay under 4 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest key id in bytes: SHA-256 thumbprints take 43 characters, certificate chains' 64.
const KID_BYTES_MAX: usize = 256;

/// The signature algorithms accepted, each fixed by the key and never by the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// HMAC with SHA-256, by a shared secret (RFC 7518, 3.2).
    Hs256,
    /// Ed25519 (RFC 8037; named `Ed25519` by RFC 9864).
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518, 3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3).
    Rs256,
}

/// A token split into its parts, borrowed from the text it came in.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// What the header claims; only used to find keys of that algorithm.
    pub(super) algorithm: Algorithm,
    /// The key the issuer says it signed with.
    pub(super) kid: Option<String>,
    /// `header.payload`, the bytes under the signature.
    pub(super) message: &'a str,
    /// The claims, base64url.
    payload: &'a str,
    /// The signature, base64url.
    pub(super) signature: &'a str,
}

/// Why a token was refused. Says exactly one thing; what a client is told is the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`], not three base64url parts, or not JSON inside.
    #[error("token is malformed")]
    Malformed,
    /// An algorithm that no configured key has, `none` among them.
    #[error("token algorithm is not accepted")]
    Algorithm,
    /// No key of that id (or, without an id, no single key of that algorithm).
    #[error("token is signed by an unknown key")]
    UnknownKey,
    /// The key did not make this signature.
    #[error("token signature is wrong")]
    Signature,
    /// `exp` has passed, the allowed skew included.
    #[error("token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future, the allowed skew included.
    #[error("token is not valid yet")]
    NotYetValid,
    /// `iss` is absent or another than the configured one.
    #[error("token is from another issuer")]
    Issuer,
    /// `aud` is absent or does not name the configured audience.
    #[error("token is for another audience")]
    Audience,
    /// `exp` is absent where it is required.
    #[error("token has no expiry")]
    MissingExp,
    /// The named claim or header has the wrong type, is too long or has forbidden characters.
    #[error("token claim {0} is not acceptable")]
    Claim(&'static str),
    /// The issuer's keys cannot be fetched: the token may be good, ask again later.
    #[error("the keys to verify the token cannot be fetched")]
    KeysUnavailable,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Rs256 => Self::RS256,
        }
    }
}

impl<'a> Compact<'a> {
    /// Splits `token` and reads its header.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = decode(header)?;
        let Ok(header) = serde_json::from_slice::<Header<'_>>(&header) else {
            return Err(TokenError::Malformed);
        };
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: an extension marked critical and not understood is a refusal.
            return Err(TokenError::Claim("crit"));
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(TokenError::Claim("kid"));
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(TokenError::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid, message, payload, signature })
    }

    /// Decodes the claims. Call it only after a key has verified the signature.
    pub(super) fn payload(&self) -> Result<Vec<u8>, TokenError> {
        decode(self.payload)
    }
}

impl TokenError {
    /// A stable word for logs, metrics and the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::MissingExp => "missing_exp",
            Self::Claim(_) => "claim",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// The token was good once: a client that refreshes it will be let in.
    pub fn is_expired(self) -> bool {
        matches!(self, Self::Expired)
    }

    /// The fault lies with the key source, not with the token: worth another try later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    // What exactly is wrong with the encoding helps nobody but an attacker.
    URL_SAFE_NO_PAD.decode(part).or(Err(TokenError::Malformed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_header(header: &str) -> String {
        format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header))
    }

    fn refusal(token: &str) -> TokenError {
        Compact::parse(token).expect_err("a bad token")
    }

    #[test]
    fn a_token_is_three_parts_with_a_json_header() {
        for text in ["", ".", "..", "a", "a.b", "a.b.c.d", "e30.e30.", "!.e30.AA", "bm8.e30.AA"] {
            assert_eq!(refusal(text), TokenError::Malformed, "{text:?}");
        }
    }

    #[test]
    fn length_is_checked_before_anything_is_decoded() {
        let token = with_header(r#"{"alg":"HS256"}"#);
        let padding = "A".repeat(TOKEN_BYTES_MAX - token.len());
        assert!(Compact::parse(&format!("{token}{padding}")).is_ok());
        assert_eq!(refusal(&format!("{token}{padding}A")), TokenError::Malformed);
    }

    #[test]
    fn algorithms_outside_the_four_are_refused() {
        for alg in ["none", "None", "", "hs256", "HS384", "HS512", "RS512", "PS256", "ES384"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            assert_eq!(refusal(&with_header(&header)), TokenError::Algorithm, "{alg}");
        }
        assert_eq!(refusal(&with_header("{}")), TokenError::Malformed);
    }

    #[test]
    fn critical_extensions_and_endless_key_ids_are_refused() {
        let crit = with_header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#);
        assert_eq!(refusal(&crit), TokenError::Claim("crit"));
        let kid = with_header(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257)));
        assert_eq!(refusal(&kid), TokenError::Claim("kid"));
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_is_the_whole_text(rest in "[.A-Za-z0-9_-]{0,60}") {
            let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
            if let Ok(parts) = Compact::parse(&token) {
                prop_assert_eq!(format!("{}.{}", parts.message, parts.signature), token);
            }
        }

        #[test]
        fn any_text_gets_an_answer(token in ".{0,200}") {
            prop_assert!(Compact::parse(&token).is_err());
        }
    }
}
