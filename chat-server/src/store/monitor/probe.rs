//! Looks whether the database can be used, so that nobody else has to find out.
//!
//! Every second while it is up, twice a second while it is down, and at once when a call met
//! something suspicious. One look at a time, each with an end. While it is up PostgreSQL is asked
//! over a connection that is kept: when that one fails and a new one does not, those of the pool
//! are as old as it was, and are renewed. What brings the store back is a real write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::postgres::Pool;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqlitePool;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::verdict::{Verdict, verdict};
use super::{Monitor, State};
use crate::store::Store;
use crate::store::open::is_writable;
use crate::store::sql::Database;

/// Between two looks while it is up.
const INTERVAL_UP: Duration = Duration::from_secs(1);

/// Between two looks while it is down.
const INTERVAL_DOWN: Duration = Duration::from_millis(500);

/// At least between two looks, however many calls meet something.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// How long the connection that is kept may take to answer.
const KEPT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long everything else may take, connecting included. With the interval and the timeout above
/// a silent network is noticed within four seconds.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections are renewed at most this often.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// What must fit on a disk that was full before it is written to again: a batch of messages.
const ROOM_BYTES: i32 = 64 * 1024;

/// What is written to a disk that was not.
const TRACE_BYTES: i32 = 16;

/// Written by the probe: random, for what compresses well fits anywhere.
const PUT_SQLITE: &str = "INSERT INTO meta (key, value) VALUES ('probe', randomblob($1)) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

const PUT_POSTGRES: &str = "INSERT INTO meta (key, value) \
    SELECT 'probe', decode(string_agg(replace(gen_random_uuid()::text, '-', ''), ''), 'hex') \
    FROM generate_series(1, $1 / 16)";

const TAKE_BACK: &str = "DELETE FROM meta WHERE key = 'probe'";

/// What a look found.
#[derive(Debug)]
enum Found {
    /// It takes writes.
    Usable,
    /// It does not.
    Unusable { reason: &'static str, error: String },
    /// It was too busy to say.
    Unclear,
}

/// What is kept between two looks.
#[derive(Debug)]
struct Probe<'a> {
    database: &'a Database,
    monitor: &'a Monitor,
    kept: Option<PgConnection>,
    /// When the pool was renewed last.
    renewed: Option<Instant>,
}

impl Store {
    /// Looks after the database until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let monitor = &self.monitor;
        let mut probe = Probe { database: &self.database, monitor, kept: None, renewed: None };
        loop {
            let interval = if monitor.state() == State::Up { INTERVAL_UP } else { INTERVAL_DOWN };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = monitor.suspicion.notified() => {}
                () = sleep(interval) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = async { probe.look().await; sleep(INTERVAL_MIN).await } => {}
            }
        }
    }
}

impl Probe<'_> {
    async fn look(&mut self) {
        // Before anything is asked: what is met from now on is met after it.
        let suspicious = self.monitor.suspects_connections.swap(false, Ordering::Relaxed);
        let found = match self.database {
            Database::Postgres(pool) => self.look_at_postgres(pool, suspicious).await,
            Database::Sqlite { writer, .. } => self.look_at_sqlite(writer).await,
        };
        match found {
            Found::Usable => self.monitor.recovered(),
            Found::Unusable { reason, error } => drop(self.monitor.failed(reason, &error)),
            Found::Unclear => {}
        }
    }

    async fn look_at_postgres(&mut self, pool: &Pool, suspicious: bool) -> Found {
        let is_up = self.monitor.state() == State::Up;
        let kept = self.kept.take().filter(|_| is_up && !suspicious);
        let had_one = kept.is_some();
        if let Some(mut kept) = kept {
            let answered = timeout(KEPT_TIMEOUT, is_writable(&mut kept)).await;
            if matches!(answered, Ok(Ok(true))) {
                self.kept = Some(kept);
                return Found::Usable;
            }
        }
        let connection = match timeout(LOOK_TIMEOUT, self.connect(pool)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(found)) => return found,
            Err(_elapsed) => return Found::down("no answer"),
        };
        // Those of the pool are renewed before anybody is let in again.
        if !is_up || had_one || suspicious {
            self.renew(pool, is_up);
        }
        self.kept = Some(connection);
        Found::Usable
    }

    /// A new connection that takes writes.
    async fn connect(&self, pool: &Pool) -> Result<PgConnection, Found> {
        let mut connection = pool.connect().await.map_err(|error| Found::of(&error))?;
        match is_writable(&mut connection).await {
            Ok(true) => {}
            Ok(false) => return Err(Found::unusable("store_read_only", "it is read-only")),
            Err(error) => return Err(Found::of(&error)),
        }
        if self.is_full() {
            fill(&mut connection).await.map_err(|error| Found::of(&error))?;
        }
        Ok(connection)
    }

    fn renew(&mut self, pool: &Pool, is_up: bool) {
        if is_up && self.renewed.is_some_and(|last| last.elapsed() < RENEWAL_INTERVAL) {
            // Not again so soon, yet not forgotten.
            self.monitor.suspects_connections.store(true, Ordering::Relaxed);
            return;
        }
        self.renewed = Some(Instant::now());
        tracing::info!("the connections to the database are renewed");
        pool.renew();
    }

    async fn look_at_sqlite(&self, writer: &SqlitePool) -> Found {
        // No timeout here: the pool and SQLite have their own, and both are short.
        let looked = match self.monitor.state() {
            State::Up => try_to_write(writer).await,
            State::Down { .. } => {
                let bytes = if self.is_full() { ROOM_BYTES } else { TRACE_BYTES };
                write(writer, bytes).await
            }
        };
        match looked {
            Ok(()) => Found::Usable,
            Err(error) => Found::of(&error),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.monitor.state(), State::Down { reason: "store_full", .. })
    }
}

impl Found {
    fn of(error: &sqlx::Error) -> Self {
        match verdict(error) {
            // Writers take turns, and it is not ours: they are at it.
            Verdict::Busy(_) | Verdict::Suspect("store_busy") => Self::Unclear,
            Verdict::Down(reason) | Verdict::Suspect(reason) => Self::unusable(reason, error),
            Verdict::Statement => Self::down(error),
        }
    }

    fn down(error: impl ToString) -> Self {
        Self::unusable("store_down", error)
    }

    fn unusable(reason: &'static str, error: impl ToString) -> Self {
        Self::Unusable { reason, error: error.to_string() }
    }
}

/// Takes the lock that every writer takes, and writes as far as that goes without being durable.
pub(in crate::store) async fn try_to_write(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    // The lock alone says nothing: of a file that is read-only SQLite takes another one.
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(PUT_SQLITE).bind(TRACE_BYTES).execute(&mut *tx).await?;
    tx.rollback().await
}

/// Writes to the file and takes it back; both are durable.
async fn write(writer: &SqlitePool, bytes: i32) -> Result<(), sqlx::Error> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(PUT_SQLITE).bind(bytes).execute(&mut *tx).await?;
    tx.commit().await?;
    sqlx::query(TAKE_BACK).execute(writer).await?;
    Ok(())
}

/// Makes the server take room on its disk; given back without a trace.
async fn fill(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query(PUT_POSTGRES).bind(ROOM_BYTES).execute(&mut *tx).await?;
    tx.rollback().await
}
