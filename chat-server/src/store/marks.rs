//! Read marks: up to where a person has read a room, and what is unread behind it.
//!
//! Unread are messages of others that are not deleted. Who joins starts at the head of that
//! moment, also who was there before: a mark from before the joining does not count. A mark is its
//! person's own and the head only grows, so the room is not locked for it; people who read do not
//! hold up those who write.

use std::sync::Arc;

use serde_json::json;

use crate::channel::ChannelName;
use crate::protocol::Json;
use crate::room::{Act, LogId, RoomId};

use super::log::Entry;
use super::messages::broken;
use super::sql::{Row, Tx, args};
use super::{Change, Error, EventKind, Missing, Standing, Store};

/// Up to where somebody has read a room.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub user: Arc<str>,
    /// The last offset that is read.
    pub offset: u64,
}

/// Whether a moved mark goes into the person's feed with the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// It does.
    Now,
    /// Somebody calls [`Store::tell_mark`] later.
    Later,
}

/// A room as its reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// Which room.
    pub room: RoomId,
    /// Messages that are not read; 1000 means that many or more.
    pub unread: u64,
    /// Up to where it is read.
    pub offset: u64,
    /// The newest offset.
    pub head: u64,
}

/// Where a reader stands in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// Up to where it is read.
    pub offset: u64,
    /// The newest offset.
    pub head: u64,
}

/// More is not counted: nobody reads the number any more, and counting has to end.
const UNREAD_MAX: u64 = 1000;

/// Up to where people have read: the mark they made since they joined, or else their own coming in;
/// when retention has removed that, the last event before. The reader is `$1`.
macro_rules! since {
    () => {
        "COALESCE( \
            (SELECT k.off FROM read_marks k WHERE k.user_id = m.user_id \
                AND k.room_id = m.room_id AND k.updated_at >= m.joined_at), \
            (SELECT x.off FROM messages x WHERE x.room_id = m.room_id \
                AND x.created_at <= m.joined_at AND x.deleted_at IS NULL \
                ORDER BY x.created_at DESC, \
                    CASE WHEN x.kind = 6 AND x.subject = $1 THEN 0 ELSE 1 END, \
                    x.off DESC LIMIT 1), \
            0)"
    };
}

/// At most so many messages of others behind `s.since`, for the reader `$1`, among the first 5000
/// events there: one's own, and edits and reactions, are passed over, and passing over has to end
/// too. The order keeps PostgreSQL from reading the whole room through another index.
macro_rules! unread {
    ($limit:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM \
            (SELECT u.off, u.kind, u.deleted_at, u.sender FROM messages u \
                WHERE u.room_id = s.room_id AND u.off > s.since ORDER BY u.off LIMIT 5000) u \
            WHERE u.kind = 1 AND u.deleted_at IS NULL AND u.sender <> $1 \
            ORDER BY u.off LIMIT ",
            $limit,
            ") c)"
        )
    };
}

/// A room of the reader `$1`, the room being `$2`.
macro_rules! one {
    () => {
        concat!(
            "(SELECT m.room_id, r.head, ",
            since!(),
            " AS since FROM members m JOIN rooms r ON r.id = m.room_id \
                WHERE m.user_id = $1 AND m.room_id = $2 AND m.role IS NOT NULL) s"
        )
    };
}

const READER: &str = concat!("SELECT s.since, s.head FROM ", one!());

const ONE: &str = concat!("SELECT s.room_id, s.head, s.since, ", unread!("$3"), " FROM ", one!());

const LIST: &str = concat!(
    "SELECT s.room_id, s.head, s.since, ",
    unread!("$4"),
    " FROM (SELECT m.room_id, r.head, ",
    since!(),
    " AS since FROM members m JOIN rooms r ON r.id = m.room_id \
        WHERE m.user_id = $1 AND m.role IS NOT NULL AND m.room_id > $2 \
        ORDER BY m.room_id LIMIT $3) s ORDER BY s.room_id"
);

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// The room as it is now for the reader.
    pub unread: Unread,
    /// False when the mark stood there, or behind, already.
    pub has_moved: bool,
}

impl Store {
    /// Up to where a member has read a room.
    ///
    /// # Errors
    /// [`Missing::Member`], or when the store cannot be asked.
    pub async fn reader(&self, room: RoomId, user: &str) -> Result<Reader, Error> {
        let row = self.read_one(READER, args![user, room.uuid()]).await?;
        reader(&row.ok_or(Error::Missing(Missing::Member))?)
    }

    /// What a member has read of a room, and not.
    ///
    /// # Errors
    /// [`Missing::Member`], or when the store cannot be asked.
    pub async fn unread(&self, room: RoomId, user: &str) -> Result<Unread, Error> {
        let row = self.read_one(ONE, args![user, room.uuid(), UNREAD_MAX]).await?;
        unread(&row.ok_or(Error::Missing(Missing::Member))?)
    }

    /// At most `limit` of the rooms somebody is in, in the order of their ids, behind `after`.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn unread_list(
        &self,
        user: &str,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<Vec<Unread>, Error> {
        let after = after.map_or(uuid::Uuid::nil(), RoomId::uuid);
        let rows = self.read(LIST, args![user, after, limit as u64, UNREAD_MAX]).await?;
        rows.iter().map(unread).collect()
    }

    /// Moves a mark forward.
    ///
    /// # Errors
    /// An offset behind the head, and what the room says.
    pub async fn mark(&self, mark: &Mark, tell: Tell) -> Result<Change<Marked>, Error> {
        let Mark { room, user, offset } = mark;
        let mut tx = self.begin().await?;
        let now = tx.lock_feed(user, tell).await?;
        let Standing { room: state, membership } = tx.standing(*room, user).await?;
        state.authorize(&membership, Act::Mark, now)?;
        let row = tx.row(READER, args![user, room.uuid()]).await?;
        let before = reader(&row.ok_or(Error::Missing(Missing::Member))?)?;
        before.check(*offset)?;
        if *offset <= before.offset {
            let unread = tx.unread(*room, user).await?;
            return Ok(Change::nothing(Marked { unread, has_moved: false }));
        }
        // Another device may have been faster; a mark from an earlier membership is none.
        let sql = "INSERT INTO read_marks (user_id, room_id, off, updated_at) \
            VALUES ($1, $2, $3, $4) \
            ON CONFLICT (user_id, room_id) DO UPDATE \
            SET off = excluded.off, updated_at = excluded.updated_at \
            WHERE read_marks.off < excluded.off OR read_marks.updated_at < \
                (SELECT joined_at FROM members WHERE room_id = $2 AND user_id = $1)";
        let has_moved = tx.execute(sql, args![user, room.uuid(), *offset, now]).await? > 0;
        let unread = tx.unread(*room, user).await?;
        let mut published = Vec::new();
        if has_moved && tell == Tell::Now {
            published.push(tx.record(in_feed(user, unread)?, now).await?);
        }
        tx.commit().await?;
        Ok(Change { value: Marked { unread, has_moved }, published })
    }

    /// Writes where a mark stands now into its person's feed, and answers it; nothing when the
    /// person is no longer in the room.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn tell_mark(
        &self,
        room: RoomId,
        user: &str,
    ) -> Result<Change<Option<Unread>>, Error> {
        let mut tx = self.begin().await?;
        let now = tx.lock_feed(user, Tell::Now).await?;
        let unread = match tx.unread(room, user).await {
            Err(Error::Missing(_)) => return Ok(Change::nothing(None)),
            unread => unread?,
        };
        let published = tx.record(in_feed(user, unread)?, now).await?;
        tx.commit().await?;
        Ok(Change { value: Some(unread), published: vec![published] })
    }
}

impl Reader {
    /// Nobody has read what is not written yet.
    ///
    /// # Errors
    /// [`Error::BeyondHead`].
    pub const fn check(self, offset: u64) -> Result<(), Error> {
        match offset > self.head {
            true => Err(Error::BeyondHead { head: self.head, got: offset }),
            false => Ok(()),
        }
    }
}

impl Tx {
    /// Makes and locks a person's feed where it is written to, and tells the time.
    async fn lock_feed(&mut self, user: &str, tell: Tell) -> Result<u64, Error> {
        match tell {
            Tell::Later => self.lock(&[]).await,
            Tell::Now => {
                let feed = [LogId::of_feed(user)];
                self.ensure_feeds(&feed).await?;
                self.lock(&feed).await
            }
        }
    }

    async fn unread(&mut self, room: RoomId, user: &str) -> Result<Unread, Error> {
        let row = self.row(ONE, args![user, room.uuid(), UNREAD_MAX]).await?;
        unread(&row.ok_or(Error::Missing(Missing::Member))?)
    }
}

fn reader(row: &Row) -> Result<Reader, Error> {
    Ok(Reader { offset: row.unsigned(0)?, head: row.unsigned(1)? })
}

fn unread(row: &Row) -> Result<Unread, Error> {
    let (room, head) = (RoomId::from_uuid(row.get(0)?), row.unsigned(1)?);
    Ok(Unread { room, head, offset: row.unsigned(2)?, unread: row.unsigned(3)? })
}

fn in_feed(user: &str, unread: Unread) -> Result<Entry<'_>, Error> {
    let Unread { room, offset, unread, .. } = unread;
    let event = json!({ "type": "read", "room": room, "offset": offset, "unread": unread });
    Ok(Entry {
        log: LogId::of_feed(user),
        channel: ChannelName::of_user(user).shared().clone(),
        kind: EventKind::Read,
        sender: user,
        target: None,
        subject: None,
        data: Json::from_value(&event).map_err(broken)?,
    })
}
