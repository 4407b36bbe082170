//! A room as it is at one moment, to be written elsewhere: the room, its people, its log.
//!
//! Read a page at a time from one transaction, so that memory stays bounded and what is written
//! belongs together, however long it takes and whatever is said meanwhile.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::sql::{Row, Tx, args};
use super::{Error, EventKind, Missing, Store};
use crate::protocol::Json;
use crate::room::happening::told_until;
use crate::room::{Kind, Role, RoomId};

/// Rows of a page; those of a log have at most 64 KiB each.
const PAGE: u64 = 500;

/// One room at one moment.
#[derive(Debug)]
pub struct Snapshot {
    tx: Tx,
    room: RoomId,
}

/// The row of a room. Times are Unix milliseconds; what is `None` is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomRow {
    /// Which one.
    pub id: RoomId,
    /// Public, private or direct.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The newest offset.
    pub head: u64,
    /// Retention removed the offsets up to this one.
    pub trimmed: u64,
    /// How many people are in it.
    pub members: u64,
    /// Seconds between two messages of a member.
    pub slow_mode: u64,
    /// How many seconds events are kept; as long as the server keeps any when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<u64>,
    /// Since when nothing can be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<u64>,
    /// When it was made, and
    pub created_at: u64,
    /// by whom.
    pub created_by: String,
}

/// The row of a person in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberRow {
    /// Who.
    pub user: String,
    /// What they are; not in it when there is none, yet muted or banned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Since when.
    pub joined_at: u64,
    /// They are, or were, muted, and
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// until when; for ever when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<u64>,
    /// They are, or were, banned, and
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub banned: bool,
    /// until when, as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banned_until: Option<u64>,
}

/// The row of an event as it stands now.
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    /// Its place in the log.
    pub offset: u64,
    /// When it was written.
    pub time: u64,
    /// Its id.
    pub id: Uuid,
    /// What kind of change it is.
    pub kind: &'static str,
    /// What clients get.
    pub data: Box<RawValue>,
}

impl Store {
    /// Looks at a room as it is now.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn snapshot(&self, room: RoomId) -> Result<Snapshot, Error> {
        Ok(Snapshot { tx: self.begin_snapshot().await?, room })
    }
}

impl Snapshot {
    /// The room itself.
    ///
    /// # Errors
    /// [`Missing::Room`], or when the store cannot be asked.
    pub async fn room(&mut self) -> Result<RoomRow, Error> {
        let sql = "SELECT kind, name, topic, head, trimmed, member_count, slow_mode_seconds, \
            retention_seconds, archived_at, created_at, created_by \
            FROM rooms WHERE id = $1 AND kind < 4";
        let row = self.tx.row(sql, args![self.room.uuid()]).await?;
        let row = row.ok_or(Error::Missing(Missing::Room))?;
        let kind: i16 = row.get(0)?;
        let slow_mode: i32 = row.get(6)?;
        Ok(RoomRow {
            id: self.room,
            kind: Kind::of(kind).ok_or_else(|| Error::Broken(format!("room kind {kind}")))?,
            name: row.get(1)?,
            topic: row.get(2)?,
            head: row.unsigned(3)?,
            trimmed: row.unsigned(4)?,
            members: row.unsigned(5)?,
            slow_mode: u64::try_from(slow_mode).unwrap_or(0),
            retention: row.get::<Option<i64>>(7)?.map(i64::cast_unsigned),
            archived_at: row.get::<Option<i64>>(8)?.map(i64::cast_unsigned),
            created_at: row.unsigned(9)?,
            created_by: row.get(10)?,
        })
    }

    /// The next people behind this one, by their ids; none at the end.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn members(&mut self, after: &str) -> Result<Vec<MemberRow>, Error> {
        let sql = "SELECT user_id, role, joined_at, muted_until, banned_until FROM members \
            WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";
        let rows = self.tx.rows(sql, args![self.room.uuid(), after, PAGE]).await?;
        let member = |row: &Row| {
            let role: Option<i16> = row.get(1)?;
            let (muted, banned) = (row.unsigned(3)?, row.unsigned(4)?);
            Ok(MemberRow {
                user: row.get(0)?,
                role: role.and_then(Role::of),
                joined_at: row.unsigned(2)?,
                muted: muted > 0,
                muted_until: told_until(muted).filter(|_| muted > 0),
                banned: banned > 0,
                banned_until: told_until(banned).filter(|_| banned > 0),
            })
        };
        rows.iter().map(member).collect()
    }

    /// The next events behind this offset; none at the end.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn events(&mut self, after: u64) -> Result<Vec<EventRow>, Error> {
        let sql = "SELECT off, created_at, id, kind, payload FROM messages \
            WHERE room_id = $1 AND off > $2 ORDER BY off LIMIT $3";
        let rows = self.tx.rows(sql, args![self.room.uuid(), after, PAGE]).await?;
        let event = |row: &Row| {
            let (kind, payload): (i16, Vec<u8>) = (row.get(3)?, row.get(4)?);
            Ok(EventRow {
                offset: row.unsigned(0)?,
                time: row.unsigned(1)?,
                id: row.get(2)?,
                kind: EventKind::of(kind).map_or("unknown", EventKind::word),
                data: raw(&payload)?,
            })
        };
        rows.iter().map(event).collect()
    }
}

/// The payload as one line.
fn raw(payload: &[u8]) -> Result<Box<RawValue>, Error> {
    let broken = |error: &dyn std::fmt::Display| Error::Broken(error.to_string());
    let json = Json::parse(payload).map_err(|error| broken(&error))?;
    let text = String::from_utf8(json.as_bytes().to_vec()).map_err(|error| broken(&error))?;
    RawValue::from_string(text).map_err(|error| broken(&error))
}
