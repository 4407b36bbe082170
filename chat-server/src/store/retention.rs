//! Retention: the oldest events of a log are removed once they are old enough.
//!
//! A batch is one short transaction under the lock of its log, so that whoever publishes waits for
//! one batch at most. Only a beginning of the log is ever removed: up to the first event that is
//! young enough, even when one behind it has an earlier time (clocks go back).
//!
//! Invariant: what is left of a log is `trimmed + 1 ..= head` without a hole, and a repeat of what
//! was removed still finds its key.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::sql::{Row, Tx, args};
use super::{Error, Store};
use crate::command::unix_millis;
use crate::room::{Kind, LogId};

/// Events that one transaction removes: some ten milliseconds, when each is by somebody else.
const BATCH: u64 = 100;

/// Reactions that one statement removes.
const REACTIONS_BATCH: u64 = 2000;

/// Logs that are looked at by one statement.
const PAGE: u64 = 500;

/// A page of logs, each with the time of its oldest event: one step into an index for each log.
const OLDEST: &str = "SELECT r.id, r.kind, r.retention_seconds, \
        (SELECT m.created_at FROM messages m WHERE m.room_id = r.id ORDER BY m.off LIMIT 1) \
    FROM (SELECT id, kind, retention_seconds FROM rooms WHERE id > $1 ORDER BY id LIMIT $2) r \
    ORDER BY r.id";

/// How long events are kept where a room does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// In rooms; `None` is for ever.
    pub rooms: Option<Duration>,
    /// In people's own feeds.
    pub feeds: Duration,
}

/// The logs of a page that have something to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Which ones.
    pub logs: Vec<LogId>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<LogId>,
}

/// What one batch removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// From which log.
    pub log: LogId,
    /// How many events.
    pub removed: u64,
    /// Everything up to this offset is gone.
    pub trimmed: u64,
    /// The log's new revision.
    pub revision: u64,
    /// There may be more to remove.
    pub more: bool,
}

/// One of the first rows of a log.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) offset: u64,
    created_at: i64,
    /// Its sender, if it has a key that is to be kept.
    keyed: Option<String>,
}

impl Store {
    /// The logs behind `after` that have something to remove; a page of them, by id.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn overdue(&self, keep: &Keep, after: Option<LogId>) -> Result<Overdue, Error> {
        let now = unix_millis();
        let after = after.map_or(Uuid::nil(), LogId::uuid);
        let rows = self.read(OLDEST, args![after, PAGE]).await?;
        let mut logs = Vec::new();
        let mut last = None;
        for row in &rows {
            let log = LogId::from_uuid(row.get(0)?);
            let oldest: Option<i64> = row.get(3)?;
            let since = keep.since(row, now)?;
            if oldest.zip(since).is_some_and(|(oldest, since)| oldest < since) {
                logs.push(log);
            }
            last = Some(log);
        }
        Ok(Overdue { logs, next: last.filter(|_| rows.len() as u64 == PAGE) })
    }

    /// Removes one batch of the oldest events of a log, if they are old enough.
    ///
    /// # Errors
    /// When the store cannot be written; then nothing was removed.
    pub async fn trim(&self, log: LogId, keep: &Keep) -> Result<Option<Trimmed>, Error> {
        if !self.remove_reactions(log, keep).await? {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let now = tx.lock(&[log]).await?;
        let sql = "SELECT id, kind, retention_seconds FROM rooms WHERE id = $1";
        let Some(row) = tx.row(sql, args![log.uuid()]).await? else { return Ok(None) };
        let Some(since) = keep.since(&row, now)? else { return Ok(None) };
        let mut rows = tx.oldest(log).await?;
        let old = rows.iter().take_while(|row| row.created_at < since).count();
        rows.truncate(old);
        let Some(trimmed) = rows.last().map(|row| row.offset) else { return Ok(None) };
        let revision = tx.remove(self, log, &rows).await?;
        tx.commit().await?;
        let removed = old as u64;
        Ok(Some(Trimmed { log, removed, trimmed, revision, more: removed == BATCH }))
    }
}

impl Store {
    /// Removes the reactions to what the next batch removes, without the lock of the log: there may
    /// be thousands to one message. False when there is nothing to remove.
    async fn remove_reactions(&self, log: LogId, keep: &Keep) -> Result<bool, Error> {
        let sql = "SELECT id, kind, retention_seconds FROM rooms WHERE id = $1";
        let Some(row) = self.read_one(sql, args![log.uuid()]).await? else { return Ok(false) };
        let Some(since) = keep.since(&row, unix_millis())? else { return Ok(false) };
        let sql = "SELECT off, created_at FROM messages WHERE room_id = $1 ORDER BY off LIMIT $2";
        let rows = self.read(sql, args![log.uuid(), BATCH]).await?;
        let mut last = 0;
        for row in &rows {
            if row.get::<i64>(1)? >= since {
                break;
            }
            last = row.unsigned(0)?;
        }
        loop {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM reactions WHERE (room_id, target, user_id, emoji) IN \
                (SELECT room_id, target, user_id, emoji FROM reactions \
                WHERE room_id = $1 AND target <= $2 ORDER BY target, user_id, emoji LIMIT $3)";
            let removed = tx.execute(sql, args![log.uuid(), last, REACTIONS_BATCH]).await?;
            tx.commit().await?;
            if removed < REACTIONS_BATCH {
                return Ok(last > 0);
            }
        }
    }
}

impl Tx {
    /// The first rows of a log, as many as one transaction removes.
    pub(super) async fn oldest(&mut self, log: LogId) -> Result<Vec<Old>, Error> {
        let sql = "SELECT off, created_at, CASE WHEN idem IS NULL THEN NULL ELSE sender END \
            FROM messages WHERE room_id = $1 ORDER BY off LIMIT $2";
        let old = |row: &Row| {
            Ok(Old { offset: row.unsigned(0)?, created_at: row.get(1)?, keyed: row.get(2)? })
        };
        self.rows(sql, args![log.uuid(), BATCH]).await?.iter().map(old).collect()
    }

    /// Removes the first rows of a locked log and gives the log's new revision.
    pub(super) async fn remove(
        &mut self,
        store: &Store,
        log: LogId,
        rows: &[Old],
    ) -> Result<u64, Error> {
        let (first, last) = match rows {
            [] => return Err(Error::Broken("nothing to remove".to_owned())),
            [first, .., last] => (first.offset, last.offset),
            [only] => (only.offset, only.offset),
        };
        let senders: BTreeSet<_> = rows.iter().filter_map(|row| row.keyed.as_deref()).collect();
        for sender in senders {
            self.keep_keys(log, (first, last), sender, store.sender_hash(sender)).await?;
        }
        // Both ends are named: planners take half a range for a large part of the table.
        let sql = "DELETE FROM messages WHERE room_id = $1 AND off >= $2 AND off <= $3";
        self.execute(sql, args![log.uuid(), first, last]).await?;
        let sql = "DELETE FROM reactions WHERE room_id = $1 AND target >= $2 AND target <= $3";
        self.execute(sql, args![log.uuid(), first, last]).await?;
        let sql = "UPDATE rooms SET trimmed = $2, revision = revision + 1 \
            WHERE id = $1 RETURNING revision";
        let row = self.row(sql, args![log.uuid(), last]).await?;
        row.ok_or_else(|| Error::Broken("a locked log is gone".to_owned()))?.unsigned(0)
    }
}

impl Keep {
    /// Events before this time (Unix milliseconds) are too old, for a row that begins with id, kind
    /// and retention; `None` when none ever is.
    fn since(&self, room: &Row, now: u64) -> Result<Option<i64>, Error> {
        let kind: i16 = room.get(1)?;
        let own: Option<i64> = room.get(2)?;
        let keep = match (Kind::of(kind), own) {
            (Some(Kind::Feed), _) => Some(self.feeds),
            (_, None) => self.rooms,
            // 0 is for ever, whatever the others do.
            (_, Some(own)) => {
                u64::try_from(own).ok().filter(|&own| own > 0).map(Duration::from_secs)
            }
        };
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let millis = |keep: Duration| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        Ok(keep.map(|keep| now.saturating_sub(millis(keep))))
    }
}
