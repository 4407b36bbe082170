//! Who is calling: tokens, keys and claims.
//!
//! Responsible for: turning the text of a JWT into [`Claims`], or into exactly one reason why
//! not. HS256 under one or more shared secrets; `EdDSA`, ES256 and RS256 under the keys of a JWKS
//! file or URL. Not for: what a user may do, sessions, revocation. Reading order: `token` (the
//! parts and the refusals), `key` (an algorithm belongs to a key), `jwks` (fetching), `claims`.
//! Invariants: the algorithm is the key's, never the token's; nothing of a token is believed
//! before its signature is verified; an HS256 token is answered without a single await.

mod claims;
mod jwks;
mod key;
mod mint;
mod text;
mod token;
mod user;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret as _, SecretString};

use self::claims::Rules;
pub use self::claims::{Claims, NAME_CHARS_MAX, SKEW_SECS};
use self::jwks::Jwks;
pub use self::jwks::SourceError;
use self::key::Key;
pub use self::key::KeySetError;
pub use self::mint::{NewToken, mint};
pub use self::text::{is_formatting, is_visible};
use self::token::{Algorithm, Compact};
pub use self::token::{TOKEN_BYTES_MAX, TokenError};
pub use self::user::{InvalidUserId, USER_ID_CHARS_MAX, UserId};

/// Which tokens are good.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// HS256 secrets, the current one first, then those still accepted while clients move over.
    pub secrets: Vec<SecretString>,
    /// Public keys for `EdDSA`, ES256 and RS256.
    pub jwks: Option<JwksSource>,
    /// What `iss` must be; anything when `None`.
    pub issuer: Option<String>,
    /// What `aud` must name; anything when `None`.
    pub audience: Option<String>,
    /// Whether a token without `exp` is refused, as production wants it.
    pub exp_required: bool,
}

/// Where the issuer publishes its keys as a JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file, read at start and again whenever it changes.
    File(PathBuf),
    /// An `https` URL (or `http` on this machine), fetched when first needed and every five
    /// minutes in use.
    Url(String),
}

/// Why a [`Verifier`] cannot be built. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a secret nor a key set is configured: no token could ever be good.
    #[error("neither a secret nor a key set is configured")]
    NoKeys,
    /// A secret is empty.
    #[error("a token secret is empty")]
    EmptySecret,
    /// A secret is PEM text. Whoever has a public key could sign with it.
    #[error("a token secret is a PEM key or certificate: give public keys as a key set")]
    PemSecret,
    /// The key set cannot be used.
    #[error("the key set {place} cannot be used")]
    Jwks {
        /// The configured file or URL.
        place: String,
        /// What is wrong with it.
        source: SourceError,
    },
}

/// Verifies tokens. One per process, shared; cheap to call from any task.
#[derive(Debug)]
pub struct Verifier {
    secrets: Vec<Key>,
    jwks: Option<Jwks>,
    rules: Rules,
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => match url.rsplit_once('@') {
                // Credentials are refused; the refusal must not print them.
                Some((_, host)) => write!(f, "***@{host}"),
                None => url.fmt(f),
            },
        }
    }
}

impl Verifier {
    /// Checks `config` and reads a key set file. Fetches nothing over the network.
    pub fn new(config: Config) -> Result<Arc<Self>, Error> {
        if config.secrets.is_empty() && config.jwks.is_none() {
            return Err(Error::NoKeys);
        }
        config.secrets.iter().try_for_each(check_secret)?;
        let Config { secrets, jwks, issuer, audience, exp_required } = config;
        Ok(Arc::new(Self {
            secrets: secrets.iter().map(Key::from_secret).collect(),
            jwks: jwks.map(open_key_set).transpose()?,
            rules: Rules { issuer, audience, exp_required },
        }))
    }

    /// Verifies `token` now.
    ///
    /// An HS256 token is answered at the first poll. Another may wait up to five seconds for the
    /// issuer's keys, and then only if they are not at hand.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(token, unix_now()).await
    }

    /// Verifies `token` as if it were `now`, in Unix seconds.
    pub async fn verify_at(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let token = Compact::parse(token)?;
        match (token.algorithm, &self.jwks) {
            (Algorithm::Hs256, _) => self.verify_secret(&token)?,
            (_, Some(jwks)) => jwks.verify(&token).await?,
            (_, None) => return Err(TokenError::Algorithm),
        }
        self.rules.read(&token.payload()?, now)
    }

    /// Tries every secret: they have no ids, and there are one or two of them.
    fn verify_secret(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        let mut answer = Err(TokenError::Algorithm);
        for secret in &self.secrets {
            answer = secret.verify(token);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }
}

fn check_secret(secret: &SecretString) -> Result<(), Error> {
    let text = secret.expose_secret();
    if text.is_empty() {
        return Err(Error::EmptySecret);
    }
    if text.trim_start().starts_with("-----BEGIN") {
        return Err(Error::PemSecret);
    }
    Ok(())
}

fn open_key_set(source: JwksSource) -> Result<Jwks, Error> {
    Jwks::new(&source).map_err(|error| Error::Jwks { place: source.to_string(), source: error })
}

fn unix_now() -> u64 {
    // A clock before 1970 makes every dated token "not valid yet", which is the safe answer.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests;
