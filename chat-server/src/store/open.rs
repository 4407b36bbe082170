//! Opening: which database, with which limits, migrated to this version.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::heads::Asked;
use super::sql::Database;
use super::{Monitor, Store, migrate};

/// Connections that read a SQLite file: more only wait for the same disk.
const READERS: u32 = 4;

const SECRET: &str = "SELECT value FROM meta WHERE key = 'secret'";

/// Which database.
#[derive(Debug, Clone)]
pub enum Target {
    /// The URL of a PostgreSQL database.
    Postgres(SecretString),
    /// The file of a SQLite database; made when it is not there.
    Sqlite(PathBuf),
}

/// How to use it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which one.
    pub target: Target,
    /// Connections of this process, `DATABASE_POOL_SIZE`.
    pub pool_size: u32,
    /// How long a call may take, `DATABASE_TIMEOUT_MS`.
    pub timeout: Duration,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not answer, or not to us.
    #[error("{variable}: the database cannot be used: {reason}")]
    Unusable {
        /// The variable that names it.
        variable: &'static str,
        /// What it says, without secrets.
        reason: String,
    },
}

impl Store {
    /// Connects and brings the database to this version.
    ///
    /// # Errors
    /// When it does not answer, cannot be migrated, or was made by a later version.
    pub async fn open(settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let monitor = Arc::new(Monitor::default());
        let database = match &settings.target {
            Target::Postgres(url) => open_postgres(url, settings).await,
            Target::Sqlite(path) => open_sqlite(path, settings).await,
        };
        let (database, secret) = database.map_err(|error| OpenError::Unusable {
            variable: settings.target.variable(),
            reason: error.to_string(),
        })?;
        let secret = secret.try_into().unwrap_or([0; 32]);
        let asked = Asked::default();
        Ok(Arc::new(Self { database, monitor, secret, timeout: settings.timeout, asked }))
    }
}

impl Target {
    const fn variable(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "DATABASE_URL",
            Self::Sqlite(_) => "DATA_DIR",
        }
    }
}

async fn open_postgres(
    url: &SecretString,
    settings: &Settings,
) -> Result<(Database, Vec<u8>), sqlx::Error> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    let pool = chassis::postgres::Pool::new(settings.pool_size, options);
    migrate::migrator(migrate::POSTGRES).run(&pool.get()).await?;
    let secret = sqlx::query_scalar(SECRET).fetch_one(&pool.get()).await?;
    Ok((Database::Postgres(pool), secret))
}

async fn open_sqlite(path: &Path, settings: &Settings) -> Result<(Database, Vec<u8>), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(settings.timeout);
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    migrate::migrator(migrate::SQLITE).run(&writer).await?;
    let secret = sqlx::query_scalar(SECRET).fetch_one(&writer).await?;
    let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options);
    Ok((Database::Sqlite { writer, readers }, secret))
}
