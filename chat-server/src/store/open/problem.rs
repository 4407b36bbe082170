//! Why a store cannot be opened, in one line that names where it was looked for.

use std::time::Duration;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct OpenError {
    /// Which database, by its variable or file, without user and password.
    pub place: String,
    /// What is the matter.
    pub problem: Problem,
}

/// What is the matter with a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It does not answer, or not to us.
    #[error("{0}")]
    Refused(String),
    /// It answers and takes no writes.
    #[error("it is read-only")]
    ReadOnly,
    /// Somebody else holds its lock.
    #[error("it is locked by another process")]
    Busy,
    /// A later version of this program has changed it.
    #[error(
        "its schema is newer than this program: it has migration {found}, this program knows \
         those up to {known}; start a later version"
    )]
    Newer {
        /// The first migration that is too new.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Something else has changed it.
    #[error("migration {version} was applied to it, which this program does not know")]
    Foreign {
        /// The migration.
        version: i64,
    },
    /// A migration was changed after it was applied.
    #[error("migration {file} was applied to it in another form than this program has")]
    Changed {
        /// The migration.
        file: &'static str,
    },
    /// A migration did not succeed.
    #[error("migration {file} failed: {reason}")]
    Failed {
        /// The migration.
        file: &'static str,
        /// What the database said.
        reason: String,
    },
    /// Another process is migrating it and does not come to an end.
    #[error("another process has been migrating it for {} minutes", .patience.as_secs() / 60)]
    Locked {
        /// How long that was waited for.
        patience: Duration,
    },
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        use crate::store::monitor::verdict::{Verdict, verdict};
        match verdict(&error) {
            Verdict::Down("store_read_only") | Verdict::Suspect("store_read_only") => {
                Self::ReadOnly
            }
            Verdict::Down("store_locked") => Self::Busy,
            _ => Self::Refused(words(&error)),
        }
    }
}

/// What the database said, without what the driver says around it.
pub(in crate::store) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
