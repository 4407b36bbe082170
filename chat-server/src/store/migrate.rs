//! The migrations of both databases, built into the program, and how they are applied.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The files of one database by version, in order.
type Files = [(i64, &'static str, &'static str)];

macro_rules! files {
    ($folder:literal, $($version:literal $name:literal),+ $(,)?) => {
        &[$((
            $version,
            $name,
            include_str!(concat!("../../../migrations/", $folder, "/000", $version, "_", $name, ".sql")),
        )),+]
    };
}

/// What PostgreSQL needs.
pub(super) const POSTGRES: &Files =
    files!("postgres", 1 "rooms", 2 "messages", 3 "audit", 4 "append");

/// What SQLite needs.
pub(super) const SQLITE: &Files = files!("sqlite", 1 "rooms", 2 "messages", 3 "audit");

/// Applies what a database does not have yet.
pub(super) fn migrator(files: &Files) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}
