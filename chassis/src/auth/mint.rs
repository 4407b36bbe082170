//! Making HS256 tokens: what the `token` command prints for development and scripts.
//!
//! Responsible for: a token this crate's own verifier accepts. Not for: being an identity
//! provider; in production the gateway signs. The secret never appears in errors or logs.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::UserId;

/// What a new token shall say. Start from `NewToken::default()` and fill in what is wanted.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// `sub`; `None` makes an anonymous token.
    pub user: Option<UserId>,
    /// `name`, as shown to others.
    pub name: Option<String>,
    /// `roles`, written as an array.
    pub roles: Vec<String>,
    /// `scope`, written as words separated by spaces.
    pub scope: Vec<String>,
    /// `channel`, which makes it a subscription token for that channel.
    pub channel: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// `iat` in Unix seconds; also what `ttl` counts from.
    pub issued_at: u64,
    /// How long the token lives; `None` writes no `exp`.
    pub ttl: Option<Duration>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

/// Signs `token` with HMAC-SHA256 under `secret`.
pub fn mint(secret: &SecretString, token: &NewToken) -> String {
    let payload = Payload {
        sub: token.user.as_ref(),
        name: token.name.as_deref(),
        roles: &token.roles,
        scope: token.scope.join(" "),
        channel: token.channel.as_deref(),
        iss: token.issuer.as_deref(),
        aud: token.audience.as_deref(),
        iat: token.issued_at,
        exp: token.ttl.map(|ttl| token.issued_at.saturating_add(ttl.as_secs())),
    };
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    jsonwebtoken::encode(&Header::default(), &payload, &key)
        .expect("HMAC takes any key and the payload is plain JSON")
}
