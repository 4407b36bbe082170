//! What the committer writes through: a connection of its own, which no reader can hold.
//!
//! It is made when the task starts and again when it was lost, at once the first time and then
//! with growing pauses. While there is none, everything is refused at once.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqlitePool;
use tokio::time::{Instant, sleep, timeout};

use super::queue::Queue;
use crate::store::append::Writer;
use crate::store::sql::Database;
use crate::store::{Error, Store};

/// Longest that one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses between attempts: they double from the first to the last, each shortened at random by
/// up to a half so that nodes do not come back together.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that was idle this long is asked whether it still is one, for a database that
/// went away and came back meanwhile has forgotten it.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Longest that it may take to answer that.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the batches of one committer go.
#[derive(Debug)]
pub(super) enum Link {
    Postgres(Box<Connection>),
    Sqlite(SqlitePool),
}

/// A connection to PostgreSQL, made again when it is lost.
#[derive(Debug)]
pub(super) struct Connection {
    options: PgConnectOptions,
    current: Option<PgConnection>,
    used: Instant,
}

impl Link {
    /// Not connected yet; no statement takes longer than `limit`.
    pub(super) fn new(store: &Store, limit: Duration) -> Self {
        match &store.database {
            Database::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.get().connect_options());
                let limit = [("statement_timeout", limit.as_millis().max(1))];
                let options = options.options(limit);
                let connection = Connection { options, current: None, used: Instant::now() };
                Self::Postgres(Box::new(connection))
            }
            Database::Sqlite { writer, .. } => Self::Sqlite(writer.clone()),
        }
    }

    /// Returns connected, or when the queue is closed. Whatever comes is refused meanwhile.
    pub(super) async fn connect(&mut self, store: &Store, queue: &Queue) {
        let Self::Postgres(connection) = self else { return };
        let (mut pause, mut state) = (PAUSE_MIN, store.monitor.subscribe());
        while let Err(error) = connection.connect(store).await {
            queue.away(error);
            tokio::select! {
                biased;
                // There is nothing to come back for.
                () = queue.closed() => return,
                // Perhaps it is back: whoever found out has tried.
                Ok(()) = state.changed() => {}
                () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
            pause = PAUSE_MAX.min(pause * 2);
        }
        queue.back();
    }

    /// Before a batch: what was idle for long is made sure of, and if need be made again.
    pub(super) async fn check(&mut self, store: &Store) {
        let Self::Postgres(connection) = self else { return };
        let Some(current) = &mut connection.current else { return };
        let idle = connection.used.elapsed() > IDLE_MAX;
        if idle && !matches!(timeout(PING_TIMEOUT, current.ping()).await, Ok(Ok(()))) {
            connection.current = None;
            if let Err(error) = connection.connect(store).await {
                tracing::debug!(%error, "the database has forgotten the committer");
            }
        }
        connection.used = Instant::now();
    }

    /// What to write with, if anything.
    pub(super) fn writer(&mut self) -> Option<Writer<'_>> {
        match self {
            Self::Postgres(connection) => connection.current.as_mut().map(Writer::Postgres),
            Self::Sqlite(pool) => Some(Writer::Sqlite(pool)),
        }
    }

    /// A statement of before may still use it: it is not used again.
    pub(super) fn drop_connection(&mut self) {
        if let Self::Postgres(connection) = self {
            connection.current = None;
        }
    }
}

impl Connection {
    /// One attempt, unless there is one.
    async fn connect(&mut self, store: &Store) -> Result<(), Error> {
        if self.current.is_some() {
            return Ok(());
        }
        let made = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&self.options)).await;
        let made = made.map_err(|_elapsed| store.monitor.suspect("store_down"))?;
        self.current = Some(made.map_err(|error| store.monitor.judge(error))?);
        self.used = Instant::now();
        Ok(())
    }
}
