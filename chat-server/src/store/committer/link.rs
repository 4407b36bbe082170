//! What the committer writes through: a connection of its own, which no reader can hold.
//!
//! It is made when the task starts and again when it was lost, at once the first time and then
//! with growing pauses. While there is none, everything is refused at once.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqlitePool;
use tokio::time::{sleep, timeout};

use super::queue::Queue;
use crate::store::Store;
use crate::store::append::Writer;
use crate::store::sql::Database;

/// Longest that one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses between attempts: they double from the first to the last, each shortened at random by
/// up to a half so that nodes do not come back together.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The call is planned once for all sizes of its arrays, and never compiled: both cost more than
/// the call.
const OPTIONS: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("jit", "off")];

/// Where the batches of one committer go.
#[derive(Debug)]
pub(super) enum Link {
    Postgres { options: Box<PgConnectOptions>, connection: Option<PgConnection> },
    Sqlite(SqlitePool),
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(store: &Arc<Store>) -> Self {
        match &store.database {
            Database::Postgres(pool) => Self::Postgres {
                options: {
                    let options = PgConnectOptions::clone(&pool.get().connect_options());
                    Box::new(options.options(OPTIONS))
                },
                connection: None,
            },
            Database::Sqlite { writer, .. } => Self::Sqlite(writer.clone()),
        }
    }

    /// Returns connected, or when the queue is closed.
    pub(super) async fn connect(&mut self, store: &Store, queue: &Queue) {
        let Self::Postgres { options, connection } = self else { return };
        let mut pause = PAUSE_MIN;
        while connection.is_none() {
            match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await {
                Ok(Ok(connected)) => *connection = Some(connected),
                Ok(Err(error)) => queue.away(store.monitor.judge(error)),
                Err(_elapsed) => queue.away(store.monitor.failed("store_down")),
            }
            if connection.is_none() {
                tokio::select! {
                    biased;
                    // There is nothing to come back for.
                    () = queue.closed() => return,
                    () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                }
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
        queue.back();
    }

    /// What to write with, if anything.
    pub(super) fn writer(&mut self) -> Option<Writer<'_>> {
        match self {
            Self::Postgres { connection, .. } => connection.as_mut().map(Writer::Postgres),
            Self::Sqlite(pool) => Some(Writer::Sqlite(pool)),
        }
    }

    /// What it was may still be used by a statement of before: it is not used again.
    pub(super) fn lost(&mut self) {
        if let Self::Postgres { connection, .. } = self {
            *connection = None;
        }
    }
}
