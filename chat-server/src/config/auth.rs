//! How callers prove who they are: secrets, key sets, and what a token must say.
//!
//! Refused here: in production a secret that is missing, short or copied from an example, and
//! anonymous access; everywhere two sources of keys at once. Verifying a token is not done here.

use std::path::Path;

use chassis::config::kind::{self, Kind, PathIs};
use chassis::config::{ConfigError, Fallback, Problem, Reader, Section, Var, secret};
use secrecy::{ExposeSecret, SecretString};

use super::DATA_DIR;

pub use chassis::auth::JwksSource;

/// The name of the generated secret in `DATA_DIR`.
const SECRET_FILE: &str = "jwt_secret";

/// The secret tokens are signed with.
pub static JWT_SECRET: Var = Var::new(
    "JWT_SECRET",
    kind::KEY_MATERIAL,
    Fallback::Required { development: "generated into `DATA_DIR/jwt_secret`, mode 0600" },
    "Signs and verifies tokens with HS256; the gateway and the stream server have the same.",
)
.secret();

/// The secret before the last rotation.
pub static JWT_SECRET_PREVIOUS: Var = Var::new(
    "JWT_SECRET_PREVIOUS",
    kind::KEY_MATERIAL,
    Fallback::Unset,
    "Still verifies tokens while JWT_SECRET is being rotated; never signs.",
)
.secret();

/// A file of public keys.
pub static JWKS_FILE: Var = Var::new(
    "JWKS_FILE",
    Kind::Path(PathIs::File),
    Fallback::Unset,
    "JSON Web Key Set with the public keys (EdDSA, ES256, RS256) that verify tokens; not \
     together with JWKS_URL.",
);

/// A URL of public keys.
pub static JWKS_URL: Var = Var::new(
    "JWKS_URL",
    Kind::Url(&["https", "http"]),
    Fallback::Unset,
    "Where the same set is fetched, kept and fetched again for a key id it does not hold.",
);

/// Who issues tokens.
pub static JWT_ISSUER: Var =
    Var::new("JWT_ISSUER", kind::TEXT, Fallback::Unset, "When set, a token's `iss` must be this.");

/// Whom tokens are for.
pub static JWT_AUDIENCE: Var = Var::new(
    "JWT_AUDIENCE",
    kind::TEXT,
    Fallback::Unset,
    "When set, a token's `aud` must hold this.",
);

/// Whether one may connect without a token.
pub static ALLOW_ANONYMOUS: Var = Var::new(
    "ALLOW_ANONYMOUS",
    Kind::Flag,
    Fallback::Each { development: "true", production: "false" },
    "Whether one may connect without a token; production refuses to start with true.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Identity",
    variables: &[
        &JWT_SECRET,
        &JWT_SECRET_PREVIOUS,
        &JWKS_FILE,
        &JWKS_URL,
        &JWT_ISSUER,
        &JWT_AUDIENCE,
        &ALLOW_ANONYMOUS,
    ],
};

/// How callers prove who they are.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Signs and verifies HS256 tokens, `JWT_SECRET`.
    pub secret: SecretString,
    /// Where it came from.
    pub secret_origin: SecretOrigin,
    /// Still verifies during a rotation, `JWT_SECRET_PREVIOUS`.
    pub secret_previous: Option<SecretString>,
    /// Public keys, `JWKS_FILE` or `JWKS_URL`.
    pub jwks: Option<JwksSource>,
    /// What `iss` must be, `JWT_ISSUER`.
    pub issuer: Option<String>,
    /// What `aud` must hold, `JWT_AUDIENCE`.
    pub audience: Option<String>,
    /// Whether one may connect without a token, `ALLOW_ANONYMOUS`.
    pub anonymous: bool,
    /// Whether a token must expire; so in production.
    pub exp_required: bool,
}

/// Where the secret came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOrigin {
    /// An operator gave it.
    Given,
    /// Nobody did: made up for this process until [`AuthConfig::resolve`] finds the shared one.
    MadeUp,
    /// From `DATA_DIR`, shared by what runs on this machine.
    Shared,
}

impl AuthConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let production = reader.environment().is_production();
        let given = read_secret(reader, &JWT_SECRET);
        if production && !reader.is_set(&JWT_SECRET) {
            let takes = format!("at least {} random bytes", secret::KEY_BYTES_MIN);
            reader.refuse(&JWT_SECRET, Problem::Missing { takes });
        }
        let anonymous = reader.get(&ALLOW_ANONYMOUS);
        if production && anonymous {
            let takes = "false in production".to_owned();
            reader.refuse(&ALLOW_ANONYMOUS, Problem::Invalid { got: "\"true\"".into(), takes });
        }
        let secret_origin =
            if given.is_some() { SecretOrigin::Given } else { SecretOrigin::MadeUp };
        Self {
            secret: given.unwrap_or_else(secret::generate),
            secret_origin,
            secret_previous: read_secret(reader, &JWT_SECRET_PREVIOUS),
            jwks: read_jwks(reader),
            issuer: reader.find(&JWT_ISSUER),
            audience: reader.find(&JWT_AUDIENCE),
            anonymous,
            exp_required: production,
        }
    }

    pub(super) fn resolve(&mut self, data_dir: &Path) -> Result<(), ConfigError> {
        if self.secret_origin == SecretOrigin::Given {
            return Ok(());
        }
        let path = data_dir.join(SECRET_FILE);
        self.secret = secret::shared(&path).map_err(|error| ConfigError {
            variable: DATA_DIR.name.to_owned(),
            problem: Problem::Unreadable {
                path: path.display().to_string(),
                reason: error.to_string(),
            },
        })?;
        self.secret_origin = SecretOrigin::Shared;
        Ok(())
    }
}

impl From<&AuthConfig> for chassis::auth::Config {
    fn from(config: &AuthConfig) -> Self {
        Self {
            secrets: [&config.secret].into_iter().chain(&config.secret_previous).cloned().collect(),
            jwks: config.jwks.clone(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            exp_required: config.exp_required,
        }
    }
}

/// Reads a secret and judges it: refused in production, warned about elsewhere.
pub(super) fn read_secret(reader: &mut Reader<'_>, var: &'static Var) -> Option<SecretString> {
    let given = reader.secret(var)?;
    let weakness = secret::weakness(given.expose_secret());
    match weakness {
        Some(weakness) if reader.environment().is_production() => {
            let takes = format!("at least {} random bytes in production", secret::KEY_BYTES_MIN);
            reader.refuse(var, Problem::Invalid { got: weakness.to_string(), takes });
        }
        Some(weakness) => {
            let name = var.name;
            reader.warn(format!("{name} is {weakness}: production would refuse it"));
        }
        None => {}
    }
    Some(given)
}

fn read_jwks(reader: &mut Reader<'_>) -> Option<JwksSource> {
    let file = reader.find(&JWKS_FILE).map(JwksSource::File);
    let url = reader.find(&JWKS_URL).map(JwksSource::Url);
    if reader.is_set(&JWKS_FILE) && reader.is_set(&JWKS_URL) {
        let other = JWKS_URL.name.to_owned();
        reader.refuse(&JWKS_FILE, Problem::Conflict { other });
    }
    file.or(url)
}
