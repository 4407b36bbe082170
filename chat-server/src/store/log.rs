//! Logs: one more event within a transaction.

use std::sync::Arc;

use crate::protocol::Json;
use crate::room::{Kind, LogId, MessageId};

use super::sql::{Tx, args};
use super::{Error, Event, EventKind, Published};

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
