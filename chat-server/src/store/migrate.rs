//! The migrations of both databases, built into the program, and how they are applied.
//!
//! One process at a time applies them, under a lock of its own; the others wait for it and find
//! nothing left to do. Each is one transaction together with the note that it was applied, so one
//! that fails leaves nothing behind. What a database has that this program does not know, or knows
//! otherwise, ends it: a later version has changed what the statements here rely on.
//! `migrations/README.md` says how they are written.

mod lock;

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType};

pub(super) use lock::{FileLock, postgres_lock};

use super::open::{Problem, words};

/// Where a database notes what was applied.
pub(super) const TABLE: &str = "_sqlx_migrations";

/// A file that begins with this line is no transaction: for `CREATE INDEX CONCURRENTLY`.
const NO_TRANSACTION: &str = "-- no-transaction";

/// One file.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its name without `.sql`: four digits, `_`, and the idea.
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(File {
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")),
        }),+]
    };
}

/// What PostgreSQL needs, in order.
pub(super) const POSTGRES: &[File] =
    files!("postgres": "0001_rooms", "0002_messages", "0003_audit", "0004_append");

/// What SQLite needs, in order.
pub(super) const SQLITE: &[File] = files!("sqlite": "0001_rooms", "0002_messages", "0003_audit");

/// Applies what a database does not have yet, and says how many that were.
pub(super) async fn apply<C: Migrate>(
    connection: &mut C,
    files: &'static [File],
) -> Result<usize, Problem> {
    connection.ensure_migrations_table(TABLE).await.map_err(unexpected)?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(unexpected)?;
    let missing = missing(&applied, files)?;
    for file in missing {
        let taken = connection.apply(TABLE, &file.migration()).await;
        let taken = taken.map_err(|error| file.failed(error))?;
        tracing::info!(migration = file.name, ?taken, "the database was migrated");
    }
    Ok(missing.len())
}

/// What a database that has these does not have yet.
pub(super) fn missing<'a>(
    applied: &[AppliedMigration],
    files: &'a [File],
) -> Result<&'a [File], Problem> {
    let newest = files.last().map_or(0, File::version);
    for (place, known) in applied.iter().enumerate() {
        if known.version > newest {
            return Err(Problem::Newer { found: known.version, known: newest });
        }
        match files.get(place).filter(|file| file.version() == known.version) {
            None => return Err(Problem::Foreign { version: known.version }),
            Some(file) if file.migration().checksum != known.checksum => {
                return Err(Problem::Changed { file: file.name });
            }
            Some(_) => {}
        }
    }
    Ok(&files[applied.len()..])
}

impl File {
    pub(super) fn version(&self) -> i64 {
        let digits = self.name.split('_').next();
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("the name of a file begins with digits")
    }

    fn migration(&self) -> Migration {
        let idea = self.name.split_once('_').map_or(self.name, |(_, idea)| idea);
        let no_transaction = self.sql.starts_with(NO_TRANSACTION);
        let (idea, sql) = (Cow::Borrowed(idea), self.sql.into_sql_str());
        Migration::new(self.version(), idea, MigrationType::Simple, sql, no_transaction)
    }

    fn failed(&self, error: MigrateError) -> Problem {
        let reason = match error {
            MigrateError::ExecuteMigration(error, _) | MigrateError::Execute(error) => {
                words(&error)
            }
            other => other.to_string(),
        };
        Problem::Failed { file: self.name, reason }
    }
}

pub(super) fn unexpected(error: MigrateError) -> Problem {
    match error {
        MigrateError::Execute(error) => error.into(),
        other => Problem::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
