//! Logs: where they stand, what is in them, and one more event within a transaction.

use std::collections::HashMap;
use std::sync::Arc;

use crate::protocol::Json;
use crate::room::{Kind, LogId, MessageId};

use super::sql::{Tx, args};
use super::{Error, Event, EventKind, Published, Store};

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The newest offset; 0 for a log in which nothing was ever written.
    pub offset: u64,
    /// Retention removed the offsets up to this one.
    pub trimmed: u64,
    /// Another number means that kept events changed without a new one: what is kept in memory
    /// is to be forgotten.
    pub revision: u64,
}

/// Which part of a log; the offsets named are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From the first one behind this offset, forward.
    After(u64),
    /// From the last one before this offset, backward.
    Before(u64),
}

/// An event that a transaction writes.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) log: LogId,
    pub(super) channel: Arc<str>,
    pub(super) kind: EventKind,
    /// Who did it; empty is the server.
    pub(super) sender: &'a str,
    /// The message it concerns.
    pub(super) target: Option<u64>,
    /// The person it concerns.
    pub(super) subject: Option<&'a str>,
    pub(super) data: Json,
}

impl Store {
    /// Where these logs stand, in their order; one that does not exist stands at 0.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn heads(&self, logs: &[LogId]) -> Result<Vec<Head>, Error> {
        let mut heads = HashMap::with_capacity(logs.len());
        for log in logs {
            let sql = "SELECT head, trimmed, revision FROM rooms WHERE id = $1";
            if let Some(row) = self.read_one(sql, args![log.uuid()]).await? {
                let (offset, trimmed) = (row.unsigned(0)?, row.unsigned(1)?);
                heads.insert(*log, Head { offset, trimmed, revision: row.unsigned(2)? });
            }
        }
        Ok(logs.iter().map(|log| heads.get(log).copied().unwrap_or_default()).collect())
    }

    /// The life of all offsets.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn epoch(&self) -> Result<Arc<str>, Error> {
        let row = self.read_one("SELECT value FROM meta WHERE key = 'epoch'", args![]).await?;
        let value: Vec<u8> = row.ok_or_else(|| Error::Broken("no epoch".to_owned()))?.get(0)?;
        Ok(String::from_utf8_lossy(&value).into())
    }

    /// Gives all offsets a new life: what clients know of their positions no longer counts.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn begin_epoch(&self) -> Result<(), Error> {
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        let epoch = epoch.as_bytes().get(..8).unwrap_or_default();
        let mut tx = self.begin().await?;
        tx.execute("UPDATE meta SET value = $1 WHERE key = 'epoch'", args![epoch]).await?;
        tx.commit().await
    }

    /// Where a log stands.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn head(&self, log: LogId) -> Result<Head, Error> {
        Ok(self.heads(&[log]).await?.first().copied().unwrap_or_default())
    }

    /// At most `limit` events of a log; a page also ends at 512 KiB.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn page(&self, log: LogId, range: Range, limit: usize) -> Result<Vec<Event>, Error> {
        let limit = limit as u64;
        let rows = match range {
            Range::After(offset) => {
                let sql = "SELECT off, created_at, payload FROM messages \
                    WHERE room_id = $1 AND off > $2 ORDER BY off LIMIT $3";
                self.read(sql, args![log.uuid(), offset, limit]).await?
            }
            Range::Before(offset) => {
                let sql = "SELECT off, created_at, payload FROM messages \
                    WHERE room_id = $1 AND off < $2 ORDER BY off DESC LIMIT $3";
                self.read(sql, args![log.uuid(), offset, limit]).await?
            }
        };
        let event = |row: &super::sql::Row| {
            let payload: Vec<u8> = row.get(2)?;
            let data = Json::parse(&payload).map_err(|error| Error::Broken(error.to_string()))?;
            Ok(Event { offset: row.unsigned(0)?, time_ms: row.get(1)?, data })
        };
        rows.iter().map(event).collect()
    }
}

impl Tx {
    /// Makes the logs of feeds that do not exist yet; before [`Tx::lock`].
    pub(super) async fn ensure_feeds(&mut self, feeds: &[LogId]) -> Result<(), Error> {
        let now = crate::command::unix_millis();
        let mut feeds = feeds.to_vec();
        // Rows are locked when they are made: one order for everyone, here as well.
        feeds.sort_unstable();
        for feed in feeds {
            let sql = "INSERT INTO rooms (id, kind, created_at) VALUES ($1, $2, $3) \
                ON CONFLICT (id) DO NOTHING";
            self.execute(sql, args![feed.uuid(), Kind::Feed.number(), now]).await?;
        }
        Ok(())
    }

    /// Writes one more event at the head of a locked log.
    pub(super) async fn record(&mut self, entry: Entry<'_>, now: u64) -> Result<Published, Error> {
        let sql = "UPDATE rooms SET head = head + 1 WHERE id = $1 RETURNING head";
        let head = self.row(sql, args![entry.log.uuid()]).await?;
        let offset = head.ok_or(Error::Missing(super::Missing::Room))?.unsigned(0)?;
        let sql = "INSERT INTO messages \
            (room_id, off, id, kind, sender, target, subject, created_at, payload) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let (target, subject) = (entry.target.map(u64::cast_signed), entry.subject);
        let subject = subject.map(str::to_owned);
        let (log, id) = (entry.log.uuid(), MessageId::new().uuid());
        let (kind, data) = (entry.kind.number(), entry.data);
        let bytes = data.as_bytes();
        let args = args![log, offset, id, kind, entry.sender, target, subject, now, bytes];
        self.execute(sql, args).await?;
        let event = Event { offset, time_ms: now.cast_signed(), data };
        let (log, channel, amends) = (entry.log, entry.channel, Vec::new());
        Ok(Published { log, channel, event, amends, accepted: None })
    }
}
