//! Where rooms and messages are stored.

use std::path::Path;
use std::time::Duration;

use chassis::config::kind::Unit;
use chassis::config::{Fallback, Kind, Reader, Section, Var};

use crate::store::{Settings, Target};

/// The SQLite file in `DATA_DIR`.
const SQLITE_FILE: &str = "veza.db";

/// Where rooms and messages are stored.
pub static DATABASE_URL: Var = Var::new(
    "DATABASE_URL",
    Kind::Url(&["postgres", "postgresql"]),
    Fallback::Unset,
    "The PostgreSQL database of rooms and messages. Without it they are in SQLite, in `veza.db` in \
     `DATA_DIR`.",
)
.secret();

/// Database connections.
pub static DATABASE_POOL_SIZE: Var = Var::new(
    "DATABASE_POOL_SIZE",
    Kind::Count { min: 1, max: 10_000 },
    Fallback::Value("100"),
    "Database connections of this process.",
);

/// How long a query may take.
pub static DATABASE_TIMEOUT_MS: Var = Var::new(
    "DATABASE_TIMEOUT_MS",
    Kind::Amount { unit: Unit::Millis, min: 1, max: 600_000 },
    Fallback::Value("5000"),
    "How long a database call may take.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "The database",
    variables: &[&DATABASE_URL, &DATABASE_POOL_SIZE, &DATABASE_TIMEOUT_MS],
};

/// Which database, and how it is used.
pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Settings {
    let target = match reader.secret(&DATABASE_URL) {
        Some(url) => Target::Postgres(url),
        None => Target::Sqlite(data_dir.join(SQLITE_FILE)),
    };
    let pool_size = reader.get(&DATABASE_POOL_SIZE);
    let timeout: Duration = reader.get(&DATABASE_TIMEOUT_MS);
    Settings { target, pool_size, timeout }
}
