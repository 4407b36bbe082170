//! Rooms: what they are, and what somebody is in them.

use uuid::Uuid;

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

/// All there is to say about a room to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What decisions are made from.
    pub standing: Standing,
    /// What it is called; direct conversations have no name.
    pub name: String,
    /// What it is about; empty is nothing.
    pub topic: String,
    /// How long events are kept, in seconds; `None` = as long as the server keeps any.
    pub retention_seconds: Option<u64>,
    /// How many are in it.
    pub members: u64,
    /// The newest offset.
    pub head: u64,
    /// When it was made, in Unix milliseconds, and
    pub created_at: u64,
    /// by whom.
    pub created_by: String,
}

/// Which rooms somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Those they are in.
    Joined,
    /// All that are public, but those they are banned from.
    Public,
}

/// What stands in front of every query here: the room and the membership of one person, which is
/// what every decision is made from; `view` has all there is to say.
macro_rules! select {
    (view $membership:literal $from:literal) => {
        concat!(
            "SELECT r.kind, r.archived_at, r.slow_mode_seconds, ",
            $membership,
            ", r.id, r.name, r.topic, r.retention_seconds, r.member_count, r.head, ",
            "r.created_at, r.created_by ",
            $from
        )
    };
    ($from:literal) => {
        concat!(
            "SELECT r.kind, r.archived_at, r.slow_mode_seconds, ",
            "m.role, m.muted_until, m.banned_until ",
            $from
        )
    };
}

const STANDING: &str = select!(
    "FROM rooms r LEFT JOIN members m ON m.room_id = r.id AND m.user_id = $2 \
    WHERE r.id = $1 AND r.kind < 4"
);

const VIEW: &str = select!(
    view "m.role, m.muted_until, m.banned_until"
    "FROM rooms r LEFT JOIN members m ON m.room_id = r.id AND m.user_id = $2 \
    WHERE r.id = $1 AND r.kind < 4"
);

/// A page of the person's own rows first: joined as a whole, a planner may walk through all rooms.
const JOINED: &str = select!(
    view "m.role, m.muted_until, m.banned_until"
    "FROM (SELECT room_id, role, muted_until, banned_until FROM members \
        WHERE user_id = $1 AND role IS NOT NULL AND room_id > $2 \
        ORDER BY room_id LIMIT $3) m \
    JOIN rooms r ON r.id = m.room_id ORDER BY m.room_id"
);

/// The person's row is looked up for each room: joined, a planner may walk through all members.
const PUBLIC: &str = select!(
    view "(SELECT m.role FROM members m WHERE m.room_id = r.id AND m.user_id = $1), \
        (SELECT m.muted_until FROM members m WHERE m.room_id = r.id AND m.user_id = $1), \
        (SELECT m.banned_until FROM members m WHERE m.room_id = r.id AND m.user_id = $1)"
    "FROM rooms r WHERE r.kind = 1 AND r.id > $2 AND $4 >= COALESCE( \
        (SELECT m.banned_until FROM members m WHERE m.room_id = r.id AND m.user_id = $1), 0) \
    ORDER BY r.id LIMIT $3"
);

impl Store {
    /// All there is to say about a room to one person, whether they may see it or not.
    ///
    /// # Errors
    /// [`Missing::Room`], or when the store cannot be asked.
    pub async fn view(&self, room: RoomId, user: &str) -> Result<View, Error> {
        let row = self.read_one(VIEW, args![room.uuid(), user]).await?;
        view(&row.ok_or(Error::Missing(Missing::Room))?)
    }

    /// At most `limit` rooms behind one of them, in the order of their making.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn rooms(
        &self,
        listed: Listed,
        user: &str,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<Vec<View>, Error> {
        let (after, limit) = (after.map_or(Uuid::nil(), RoomId::uuid), limit as u64);
        let rows = match listed {
            Listed::Joined => self.read(JOINED, args![user, after, limit]).await?,
            Listed::Public => {
                let now = crate::command::unix_millis();
                self.read(PUBLIC, args![user, after, limit, now]).await?
            }
        };
        rows.iter().map(view).collect()
    }
}

impl Tx {
    /// The same as [`Store::view`] within a transaction.
    pub(super) async fn view(&mut self, room: RoomId, user: &str) -> Result<View, Error> {
        let row = self.row(VIEW, args![room.uuid(), user]).await?;
        view(&row.ok_or(Error::Missing(Missing::Room))?)
    }

    /// What a person is in a room; after [`Tx::lock`] it stays true.
    pub(super) async fn standing(&mut self, room: RoomId, user: &str) -> Result<Standing, Error> {
        let row = self.row(STANDING, args![room.uuid(), user]).await?;
        standing(room, &row.ok_or(Error::Missing(Missing::Room))?)
    }
}

fn view(row: &Row) -> Result<View, Error> {
    let retention: Option<i64> = row.get(9)?;
    Ok(View {
        standing: standing(RoomId::from_uuid(row.get(6)?), row)?,
        name: row.get(7)?,
        topic: row.get(8)?,
        retention_seconds: retention.and_then(|seconds| u64::try_from(seconds).ok()),
        members: row.unsigned(10)?,
        head: row.unsigned(11)?,
        created_at: row.unsigned(12)?,
        created_by: row.get(13)?,
    })
}

pub(super) fn standing(id: RoomId, row: &Row) -> Result<Standing, Error> {
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
