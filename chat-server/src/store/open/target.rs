//! Which database, as `DATABASE_URL` names it.

use std::fmt;
use std::path::PathBuf;

use chassis::postgres::{Location, Malformed};
use secrecy::{ExposeSecret, SecretString};

use super::{OpenError, Problem};

/// Which database; shown without user and password.
#[derive(Debug, Clone)]
pub enum Target {
    /// The URL of a PostgreSQL database.
    Postgres(SecretString),
    /// The file of a SQLite database; made when it is not there.
    Sqlite(PathBuf),
}

/// A text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// It is no URL of a PostgreSQL database.
    #[error(transparent)]
    Postgres(#[from] Malformed),
    /// It is no path to a file.
    #[error("`sqlite:` is followed by the path of a file, and by nothing else")]
    Sqlite,
}

impl Target {
    /// Takes a `DATABASE_URL` apart: `postgres://..`, `sqlite:/path` or `sqlite://path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &SecretString) -> Result<Self, Unnamed> {
        let Some(path) = url.expose_secret().strip_prefix("sqlite:") else {
            Location::parse(url)?;
            return Ok(Self::Postgres(url.clone()));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        // A database in memory (`:memory:`) would not keep what was acknowledged.
        if path.is_empty() || path.ends_with('/') || path.starts_with(':') || path.contains('?') {
            return Err(Unnamed::Sqlite);
        }
        Ok(Self::Sqlite(path.into()))
    }

    /// What is wrong with this one.
    pub(in crate::store) fn problem(&self, problem: Problem) -> OpenError {
        let place = match self {
            Self::Postgres(_) => format!("DATABASE_URL: {self}"),
            Self::Sqlite(_) => self.to_string(),
        };
        OpenError { place, problem }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => match Location::parse(url) {
                Ok(location) => write!(f, "PostgreSQL {location}"),
                Err(_malformed) => f.write_str("PostgreSQL"),
            },
            Self::Sqlite(path) => write!(f, "SQLite {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, Unnamed> {
        Target::parse(&url.into())
    }

    #[test]
    fn a_target_says_where_it_is_and_never_the_password() {
        for (url, shown) in [
            ("postgres://veza:hunter2@db/veza_prod", "PostgreSQL db:5432/veza_prod"),
            ("sqlite:/var/lib/veza/veza.db", "SQLite /var/lib/veza/veza.db"),
            ("sqlite:///var/lib/veza/veza.db", "SQLite /var/lib/veza/veza.db"),
            ("sqlite:data/veza.db", "SQLite data/veza.db"),
            ("sqlite://./veza.db", "SQLite ./veza.db"),
        ] {
            let target = target(url).unwrap();
            assert_eq!(target.to_string(), shown);
            assert!(!format!("{target:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for bad in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:/x/",
            "sqlite:/x?mode=ro",
            "mysql://db/veza",
            "postgres:///veza",
            "veza.db",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
