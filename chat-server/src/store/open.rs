//! Opening: which database, with which limits, migrated to this version.

mod problem;
mod target;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chassis::postgres::Pool;
use secrecy::SecretString;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _};

pub(super) use problem::words;
pub use problem::{OpenError, Problem};
pub use target::Target;

use super::asked::Asked;
use super::migrate::{self, FileLock};
use super::monitor::probe::try_to_write;
use super::queries::Counted;
use super::sql::Database;
use super::{Monitor, Store};

/// Connections of this process unless `DATABASE_POOL_SIZE` says otherwise.
const POOL_SIZE: u32 = 100;

/// How long a call may take unless `DATABASE_TIMEOUT_MS` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the database may be away before new connections are not welcome any more: a blip of a
/// shared database does not take the whole fleet out.
const AWAY_MAX: Duration = Duration::from_secs(10);

/// How long a SQLite file may be locked by somebody else: a command is answered within four
/// seconds, and may have waited for its turn before.
const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Connections that read a SQLite file: more only wait for the same disk.
const READERS: u32 = 4;

/// How long saying goodbye to the database may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

const SECRET: &str = "SELECT value FROM meta WHERE key = 'secret'";

/// What the connections are called in `pg_stat_activity`.
const APPLICATION: &str = "veza-chat-server";

/// How to use a database.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which one.
    pub target: Target,
    /// Connections of this process, `DATABASE_POOL_SIZE`.
    pub pool_size: u32,
    /// How long a call may take, `DATABASE_TIMEOUT_MS`.
    pub timeout: Duration,
    /// How long it may be away before the server says that it is not ready.
    pub away_max: Duration,
    /// What a test makes a SQLite file run into; no variable sets it.
    pub hazards: Hazards,
}

/// Troubles of a SQLite file that are hard to come by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hazards {
    /// It cannot be written to.
    pub read_only: bool,
    /// The disk is full when it has this many pages.
    pub pages_max: Option<u32>,
}

impl Settings {
    /// The usual ones.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self {
            target,
            pool_size: POOL_SIZE,
            timeout: TIMEOUT,
            away_max: AWAY_MAX,
            hazards: Hazards { read_only: false, pages_max: None },
        }
    }

    /// The connections of a PostgreSQL.
    pub(super) fn pool(&self, url: &SecretString) -> Result<Pool, Problem> {
        let config = chassis::postgres::Config {
            url: url.clone(),
            size: self.pool_size,
            timeout: self.timeout,
            application: APPLICATION.to_owned(),
        };
        Pool::new(&config).map_err(|malformed| Problem::Refused(malformed.to_string()))
    }

    /// How a SQLite file is opened that exists.
    pub(super) fn sqlite(&self, path: &Path) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(self.hazards.read_only)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.timeout.min(BUSY_TIMEOUT_MAX));
        match self.hazards.pages_max {
            None => options,
            Some(pages) => options.pragma("max_page_count", pages.to_string()),
        }
    }
}

impl Store {
    /// Connects and brings the database to this version.
    ///
    /// # Errors
    /// When it does not answer, cannot be written to or migrated, or was made by a later version.
    pub async fn open(settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let files = match settings.target {
            Target::Postgres(_) => migrate::POSTGRES,
            Target::Sqlite(_) => migrate::SQLITE,
        };
        Self::open_with(settings, files).await
    }

    /// The same with other migrations.
    pub(super) async fn open_with(
        settings: &Settings,
        files: &'static [migrate::File],
    ) -> Result<Arc<Self>, OpenError> {
        // Many futures inside of each other: on the heap they weigh on nobody's.
        let opened = match &settings.target {
            Target::Postgres(url) => Box::pin(open_postgres(url, settings, files)).await,
            Target::Sqlite(path) => Box::pin(open_sqlite(path, settings, files)).await,
        };
        let (database, secret, migrated) =
            opened.map_err(|problem| settings.target.problem(problem))?;
        tracing::info!(store = %settings.target, migrated, "the store is open");
        let monitor = Arc::new(Monitor::new(settings.timeout));
        Ok(Arc::new(Self {
            database,
            monitor,
            secret,
            timeout: settings.timeout,
            heads_asked: Asked::default(),
            standings_asked: Asked::default(),
            counted: Counted::default(),
        }))
    }
}

impl Store {
    /// Says goodbye to the database, so that a file is whole without what lies beside it. Whoever
    /// calls the store afterwards is refused.
    pub async fn close(&self) {
        match &self.database {
            Database::Postgres(pool) => pool.close().await,
            Database::Sqlite { writer, readers } => {
                // The last connection to be closed brings everything into the file.
                let closed = async {
                    readers.close().await;
                    writer.close().await;
                };
                if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                    tracing::debug!("the file of the store was left as it is, which loses nothing");
                }
            }
        }
    }
}

/// The database, the key of its hashes, and how many migrations were applied.
type Opened = (Database, [u8; 32], usize);

async fn open_postgres(
    url: &SecretString,
    settings: &Settings,
    files: &'static [migrate::File],
) -> Result<Opened, Problem> {
    let pool = settings.pool(url)?;
    // A connection that no one else gets: it waits longer than others may, and the lock goes
    // with it.
    let mut connection = pool.connect().await?;
    if !is_writable(&mut connection).await? {
        return Err(Problem::ReadOnly);
    }
    connection.execute("SET statement_timeout = 0").await?;
    migrate::postgres_lock(&mut connection).await?;
    let migrated = migrate::apply(&mut connection, files).await?;
    let secret = sqlx::query_scalar(SECRET).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok((Database::Postgres(pool), key(secret)?, migrated))
}

/// Whether a server takes writes from this connection.
pub(super) async fn is_writable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // A standby says the same of itself.
    let sql = "SELECT current_setting('transaction_read_only') = 'off'";
    sqlx::query_scalar(sql).fetch_one(connection).await
}

async fn open_sqlite(
    path: &Path,
    settings: &Settings,
    files: &'static [migrate::File],
) -> Result<Opened, Problem> {
    make_file(path).map_err(|error| Problem::Refused(error.to_string()))?;
    let lock = FileLock::of(path).await?;
    let options = settings.sqlite(path).journal_mode(SqliteJournalMode::Wal);
    let pool = |connections| {
        let timeout = settings.timeout.min(BUSY_TIMEOUT_MAX);
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(timeout)
    };
    // SQLite ends a transaction by itself when the disk is full; the driver then believes that it
    // goes on, and every other one would fail. Such a connection is not used again. Asked behind a
    // ping, for a rollback may be on its way.
    let writer = pool(1).after_release(|connection, _| {
        Box::pin(async move {
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    });
    let writer = writer.connect_with(options.clone()).await?;
    let migrated = migrate::apply(&mut *writer.acquire().await?, files).await?;
    drop(lock);
    // With nothing to migrate nothing was written yet.
    try_to_write(&writer).await?;
    let secret = sqlx::query_scalar(SECRET).fetch_one(&writer).await?;
    let readers = pool(READERS).connect_lazy_with(options);
    Ok((Database::Sqlite { writer, readers }, key(secret)?, migrated))
}

/// Makes the file, so that nobody else on the machine can read what people write to each other;
/// SQLite makes those beside it alike.
fn make_file(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

fn key(value: Vec<u8>) -> Result<[u8; 32], Problem> {
    let length = value.len();
    let broken = |_| Problem::Refused(format!("its secret has {length} bytes instead of 32"));
    value.try_into().map_err(broken)
}
