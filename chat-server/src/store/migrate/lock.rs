//! One process at a time: an advisory lock in PostgreSQL, a locked file beside a SQLite database.
//!
//! Both are tried again and again instead of being waited for: a connection that waits for a lock
//! has an open transaction, and the one that holds it may be waiting for exactly that to end
//! (`CREATE INDEX CONCURRENTLY` does). Both go with the process that holds them.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep};

use crate::store::open::Problem;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// How long another process may be at it: building an index over a large table takes minutes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// For each schema its own: schemas are migrated independently of each other.
const TRY: &str = "SELECT pg_try_advisory_lock(hashtextextended(\
    'migrations of ' || current_database() || '.' || coalesce(current_schema(), ''), 0))";

/// Held until it is dropped.
#[derive(Debug)]
pub(in crate::store) struct FileLock {
    _file: File,
}

/// Held until the connection is closed.
pub(in crate::store) async fn postgres_lock(connection: &mut PgConnection) -> Result<(), Problem> {
    let mut wait = Wait::new();
    while !sqlx::query_scalar::<_, bool>(TRY).fetch_one(&mut *connection).await? {
        wait.again().await?;
    }
    Ok(())
}

impl FileLock {
    /// Locks `file` with `.lock` behind its name.
    pub(in crate::store) async fn of(file: &Path) -> Result<Self, Problem> {
        let mut path = file.as_os_str().to_owned();
        path.push(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| Problem::Refused(error.to_string()))?;
        let mut wait = Wait::new();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => wait.again().await?,
                Err(TryLockError::Error(error)) => return Err(Problem::Refused(error.to_string())),
            }
        }
    }
}

/// A wait that is told of once and ends.
struct Wait {
    since: Instant,
    told: bool,
}

impl Wait {
    fn new() -> Self {
        Self { since: Instant::now(), told: false }
    }

    async fn again(&mut self) -> Result<(), Problem> {
        if !std::mem::replace(&mut self.told, true) {
            tracing::info!("waiting for another process that migrates the database");
        }
        if self.since.elapsed() > PATIENCE {
            return Err(Problem::Locked { patience: PATIENCE });
        }
        sleep(PAUSE).await;
        Ok(())
    }
}
