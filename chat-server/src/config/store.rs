//! Where rooms and messages are stored.

use std::path::Path;

use chassis::config::kind::{Rule, Unit};
use chassis::config::{Fallback, Kind, Reader, Section, Var};
use chassis::postgres::Location;
use secrecy::SecretString;

use crate::store::{Settings, Target};

/// The SQLite file in `DATA_DIR`.
const SQLITE_FILE: &str = "veza.db";

/// Where rooms and messages are stored.
pub static DATABASE_URL: Var = Var::new(
    "DATABASE_URL",
    Kind::Text(Rule {
        takes: "postgres://user:password@host:port/database or sqlite:/path/of/a/file",
        accepts: |url| Target::parse(&url.into()).is_ok(),
        bad: "mysql://veza:hunter2@db/veza",
    }),
    Fallback::Unset,
    "The database of rooms and messages: PostgreSQL 14 or later, or one SQLite file, which serves \
     one node only. Without it they are in SQLite, in `veza.db` in `DATA_DIR`. Connections to \
     PostgreSQL are set through `options` in their startup, which the URL may extend \
     (`?options=-csearch_path%3Dveza`).",
)
.secret();

/// Database connections.
pub static DATABASE_POOL_SIZE: Var = Var::new(
    "DATABASE_POOL_SIZE",
    Kind::Count { min: 1, max: 10_000 },
    Fallback::Value("100"),
    "PostgreSQL connections of this process, at most; all processes together stay below the \
     server's `max_connections`. One more looks after the server.",
);

/// How long a query may take.
pub static DATABASE_TIMEOUT_MS: Var = Var::new(
    "DATABASE_TIMEOUT_MS",
    Kind::Amount { unit: Unit::Millis, min: 1, max: 600_000 },
    Fallback::Value("5000"),
    "How long a database call may take: PostgreSQL ends it then (`statement_timeout`). Whoever \
     asked is told after 3 s at most, and waits 2 s at most for a connection or a lock.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "The database",
    variables: &[&DATABASE_URL, &DATABASE_POOL_SIZE, &DATABASE_TIMEOUT_MS],
};

/// Which database, and how it is used.
pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Settings {
    let given = reader.secret(&DATABASE_URL);
    let target = match given.as_ref().map(Target::parse) {
        Some(Ok(target)) => target,
        // One that is refused never opens: the default stands in while the rest is read.
        Some(Err(_)) | None => Target::Sqlite(data_dir.join(SQLITE_FILE)),
    };
    if let Some(url) = &given {
        warn_of_ignored(reader, url);
    }
    if let (Target::Sqlite(path), true) = (&target, reader.environment().is_production()) {
        let path = path.display();
        let name = DATABASE_URL.name;
        reader.warn(format!(
            "rooms are in SQLite ({path}), on one node: {name} names a PostgreSQL for several"
        ));
    }
    let pool_size = reader.get(&DATABASE_POOL_SIZE);
    let timeout = reader.get(&DATABASE_TIMEOUT_MS);
    Settings { pool_size, timeout, ..Settings::new(target) }
}

fn warn_of_ignored(reader: &mut Reader<'_>, url: &SecretString) {
    let Ok(location) = Location::parse(url) else { return };
    for parameter in location.ignored() {
        let name = DATABASE_URL.name;
        reader.warn(format!("{name}: its parameter {parameter} is not known and not used"));
    }
}
