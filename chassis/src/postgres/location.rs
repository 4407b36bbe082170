//! Where a PostgreSQL database is, out of its URL.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

/// What a URL may say behind its `?`. Anything else is left out here, for below it would be
/// logged together with its value.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A URL that names no PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the URL of a PostgreSQL database: {0}")]
pub struct Malformed(String);

/// A database on a server; shown without user and password.
#[derive(Clone)]
pub struct Location {
    options: PgConnectOptions,
    ignored: Vec<String>,
}

impl Location {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &SecretString) -> Result<Self, Malformed> {
        let url = url.expose_secret();
        let malformed = |what: &str| Err(Malformed(what.to_owned()));
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let Some(("postgres" | "postgresql", rest)) = address.split_once("://") else {
            return malformed("it begins with neither postgres:// nor postgresql://");
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let (known, unknown): (Vec<&str>, Vec<&str>) =
            pairs.partition(|pair| is_known(parameter(pair)));
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let named = known.iter().any(|pair| matches!(parameter(pair), "host" | "hostaddr"));
        if !named && (host.is_empty() || host.starts_with(':')) {
            return malformed("it names no host");
        }
        let options = format!("{address}?{}", known.join("&")).parse::<PgConnectOptions>();
        // The reasons are about the form of the URL and repeat none of it but a parameter's value.
        let options = options.map_err(|error| Malformed(error.to_string()))?;
        let ignored = unknown.into_iter().map(|pair| parameter(pair).to_owned()).collect();
        Ok(Self { options, ignored })
    }

    /// How to connect.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The parameters of the URL that mean nothing here.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

fn parameter(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn is_known(name: &str) -> bool {
    PARAMETERS.contains(&name) || name.starts_with("options[")
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
        }
        write!(f, "/{}", options.get_database().unwrap_or(options.get_username()))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}
