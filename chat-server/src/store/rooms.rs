//! Rooms: what they are, and what somebody is in them.

use crate::room::{Kind, Membership, Role, Room, RoomId};

use super::sql::{Row, Tx, args};
use super::{Error, Missing, Store};

/// A room and what one person is in it, read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The room.
    pub room: Room,
    /// The person; nobody in particular is in no room.
    pub membership: Membership,
}

/// Room and membership of one person: what every decision is made from.
const STANDING: &str = "SELECT r.kind, r.archived_at, r.slow_mode_seconds, \
        m.role, m.muted_until, m.banned_until \
    FROM rooms r LEFT JOIN members m ON m.room_id = r.id AND m.user_id = $2 \
    WHERE r.id = $1 AND r.kind < 4";

impl Store {
    /// A room and what a person is in it.
    ///
    /// # Errors
    /// [`Missing::Room`], or when the store cannot be asked.
    pub async fn standing(&self, room: RoomId, user: &str) -> Result<Standing, Error> {
        let row = self.read_one(STANDING, args![room.uuid(), user]).await?;
        standing(room, &row.ok_or(Error::Missing(Missing::Room))?)
    }
}

impl Tx {
    /// The same within a transaction; after [`Tx::lock`] it stays true.
    pub(super) async fn standing(&mut self, room: RoomId, user: &str) -> Result<Standing, Error> {
        let row = self.row(STANDING, args![room.uuid(), user]).await?;
        standing(room, &row.ok_or(Error::Missing(Missing::Room))?)
    }
}

fn standing(id: RoomId, row: &Row) -> Result<Standing, Error> {
    let kind: i16 = row.get(0)?;
    let kind = Kind::of(kind).ok_or_else(|| Error::Broken(format!("room kind {kind}")))?;
    let archived_at: Option<i64> = row.get(1)?;
    let slow_mode: i32 = row.get(2)?;
    let role: Option<i16> = row.get(3)?;
    let until = |column| -> Result<u64, Error> {
        let until: Option<i64> = row.get(column)?;
        Ok(until.map_or(0, |until| u64::try_from(until).unwrap_or(0)))
    };
    let room = Room {
        id,
        kind,
        archived: archived_at.is_some(),
        slow_mode_seconds: u32::try_from(slow_mode).unwrap_or(0),
    };
    let role = role.and_then(Role::of);
    let membership = Membership { role, muted_until: until(4)?, banned_until: until(5)? };
    Ok(Standing { room, membership })
}
