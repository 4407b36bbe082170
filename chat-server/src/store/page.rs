//! Pages of a log: rows by their offsets, in either direction, and no more of them than is sent.
//!
//! Goes around `sql`: this is what everyone reads who comes back.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use super::monitor::Need;
use super::sql::{Database, args};
use super::{Error, Event, Query, Store};
use crate::protocol::Json;
use crate::room::LogId;

/// Bytes of payload after which a page ends; its first event is always part of it.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// The bytes are summed in the database: what does not fit is neither read nor sent. (A long
/// payload lies outside of its row, and its length inside.)
pub(super) const POSTGRES_AFTER: &str = "SELECT off, created_at, payload FROM (\
        SELECT off, created_at, payload, \
            sum(octet_length(payload)) OVER (ORDER BY off ROWS UNBOUNDED PRECEDING) AS bytes \
        FROM (SELECT off, created_at, payload FROM messages \
            WHERE room_id = $1 AND off > $2 ORDER BY off LIMIT $3) AS rows\
    ) AS summed WHERE bytes <= $4 OR bytes = octet_length(payload) ORDER BY off";

pub(super) const POSTGRES_BEFORE: &str = "SELECT off, created_at, payload FROM (\
        SELECT off, created_at, payload, \
            sum(octet_length(payload)) OVER (ORDER BY off DESC ROWS UNBOUNDED PRECEDING) AS bytes \
        FROM (SELECT off, created_at, payload FROM messages \
            WHERE room_id = $1 AND off < $2 ORDER BY off DESC LIMIT $3) AS rows\
    ) AS summed WHERE bytes <= $4 OR bytes = octet_length(payload) ORDER BY off DESC";

/// Rows come one by one, so reading simply ends.
pub(super) const SQLITE_AFTER: &str = "SELECT off, created_at, payload FROM messages \
    WHERE room_id = $1 AND off > $2 ORDER BY off LIMIT $3";

pub(super) const SQLITE_BEFORE: &str = "SELECT off, created_at, payload FROM messages \
    WHERE room_id = $1 AND off < $2 ORDER BY off DESC LIMIT $3";

/// Which part of a log; the offsets named are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From the first one behind this offset, forward.
    After(u64),
    /// From the last one before this offset, backward.
    Before(u64),
}

/// A query and its numbers.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    sql: &'static str,
    offset: i64,
    limit: i64,
}

impl Store {
    /// At most `limit` events of a log; a page also ends at 512 KiB.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn page(&self, log: LogId, range: Range, limit: usize) -> Result<Vec<Event>, Error> {
        self.count(Query::Page);
        let events = async {
            match &self.database {
                Database::Postgres(pool) => postgres(&pool.get(), log, range, limit).await,
                Database::Sqlite { readers, .. } => sqlite(readers, log, range, limit).await,
            }
        };
        self.monitor.guard(Need::Read, events).await
    }

    /// The life of all offsets: another one means that they were given out anew.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn epoch(&self) -> Result<String, Error> {
        let row = self.read_one("SELECT value FROM meta WHERE key = 'epoch'", args![]).await?;
        let epoch: Vec<u8> = row.ok_or_else(|| Error::Broken("no epoch".to_owned()))?.get(0)?;
        String::from_utf8(epoch).map_err(|error| Error::Broken(error.to_string()))
    }
}

impl Bounds {
    /// `after` is the query for one direction, `before` for the other.
    fn new(range: Range, limit: usize, after: &'static str, before: &'static str) -> Self {
        let (sql, offset) = match range {
            Range::After(offset) => (after, offset),
            Range::Before(offset) => (before, offset),
        };
        Self {
            sql,
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        }
    }
}

async fn postgres(
    pool: &PgPool,
    log: LogId,
    range: Range,
    limit: usize,
) -> Result<Vec<Event>, sqlx::Error> {
    let bounds = Bounds::new(range, limit, POSTGRES_AFTER, POSTGRES_BEFORE);
    let Bounds { sql, offset, limit } = bounds;
    let query = sqlx::query(sql).bind(log.uuid()).bind(offset).bind(limit);
    let rows = query.bind(PAGE_BYTES_MAX as i64).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(event(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

async fn sqlite(
    pool: &SqlitePool,
    log: LogId,
    range: Range,
    limit: usize,
) -> Result<Vec<Event>, sqlx::Error> {
    let bounds = Bounds::new(range, limit, SQLITE_AFTER, SQLITE_BEFORE);
    let Bounds { sql, offset, limit } = bounds;
    let mut rows = sqlx::query(sql).bind(log.uuid()).bind(offset).bind(limit).fetch(pool);
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let event = event(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        bytes += event.data.len();
        if bytes > PAGE_BYTES_MAX && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    Ok(events)
}

fn event(offset: i64, time_ms: i64, payload: &[u8]) -> Event {
    let data = Json::trusted(Bytes::copy_from_slice(payload));
    Event { offset: offset.cast_unsigned(), time_ms, data }
}
