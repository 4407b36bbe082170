//! What people are in rooms: one query for many people, and one for a room with everybody in it.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::monitor::Need;
use super::rooms::standing;
use super::sql::{Database, Row, args};
use super::{Error, Missing, Query, Standing, Store};
use crate::room::{Membership, Room, RoomId};

/// People in one query.
const QUERY_MAX: usize = 1024;

/// The planner may not choose: it knows nothing about arrays. Every row is found by its key.
pub(super) const POSTGRES: &str = "SELECT r.kind, r.archived_at, r.slow_mode_seconds, \
        m.role, m.muted_until, m.banned_until, a.place - 1 \
    FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS a (room, person, place) \
    CROSS JOIN LATERAL (SELECT kind, archived_at, slow_mode_seconds FROM rooms \
        WHERE id = a.room AND kind < 4 OFFSET 0) r \
    LEFT JOIN LATERAL (SELECT role, muted_until, banned_until FROM members \
        WHERE room_id = a.room AND user_id = a.person OFFSET 0) m ON true";

pub(super) const SQLITE: &str = "SELECT r.kind, r.archived_at, r.slow_mode_seconds, \
        m.role, m.muted_until, m.banned_until, a.key \
    FROM json_each($1) a \
    CROSS JOIN rooms r INDEXED BY sqlite_autoindex_rooms_1 \
        ON r.id = unhex(a.value ->> 0) AND r.kind < 4 \
    LEFT JOIN members m INDEXED BY sqlite_autoindex_members_1 \
        ON m.room_id = r.id AND m.user_id = a.value ->> 1";

/// One statement, so that everything in it is of the same moment.
const ROSTER: &str = "SELECT r.kind, r.archived_at, r.slow_mode_seconds, \
        m.role, m.muted_until, m.banned_until, m.user_id, r.head \
    FROM rooms r LEFT JOIN members m ON m.room_id = r.id \
    WHERE r.id = $1 AND r.kind < 4 LIMIT $2";

/// A room with everybody who is something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The room.
    pub room: Room,
    /// The newest offset: what happened up to there is in here, and nothing else.
    pub head: u64,
    /// Who is in it, muted or banned.
    pub people: Vec<(Arc<str>, Membership)>,
}

/// Somebody in a room.
pub(super) type Seat = (RoomId, Arc<str>);

impl Store {
    /// A room and what a person is in it. Cheap to ask from many tasks at once.
    ///
    /// # Errors
    /// [`Missing::Room`], or when the store cannot be asked.
    pub async fn standing(&self, room: RoomId, user: &Arc<str>) -> Result<Standing, Error> {
        let asked = self.standings_asked.ask((room, user.clone()), |seats| async move {
            let mut standings = Vec::with_capacity(seats.len());
            for seats in seats.chunks(QUERY_MAX) {
                standings.extend(self.standings(seats).await?);
            }
            Ok(standings)
        });
        asked.await?.ok_or(Error::Missing(Missing::Room))
    }

    /// What these people are, in their order; `None` where there is no such room.
    async fn standings(&self, seats: &[Seat]) -> Result<Vec<Option<Standing>>, Error> {
        let rows = self.monitor.guard(Need::Read, self.query_standings(seats)).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let place = usize::try_from(row.unsigned(6)?).unwrap_or(usize::MAX);
            if let Some((room, _)) = seats.get(place) {
                found.insert(place, standing(*room, row)?);
            }
        }
        Ok((0..seats.len()).map(|place| found.remove(&place)).collect())
    }

    async fn query_standings(&self, seats: &[Seat]) -> Result<Vec<Row>, sqlx::Error> {
        self.count(Query::Standing);
        match &self.database {
            Database::Postgres(pool) => {
                let rooms: Vec<Uuid> = seats.iter().map(|(room, _)| room.uuid()).collect();
                let people: Vec<&str> = seats.iter().map(|(_, user)| &**user).collect();
                let query = sqlx::query(POSTGRES).bind(rooms).bind(people);
                let rows = query.fetch_all(&pool.get()).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Database::Sqlite { readers, .. } => {
                let seat =
                    |(room, user): &Seat| (room.uuid().simple().to_string(), user.to_string());
                let seats: Vec<_> = seats.iter().map(seat).collect();
                let seats = serde_json::to_string(&seats).expect("texts are JSON");
                let rows = sqlx::query(SQLITE).bind(seats).fetch_all(readers).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// A room with everybody in it; `None` when those are more than `most`.
    ///
    /// # Errors
    /// [`Missing::Room`], or when the store cannot be asked.
    pub async fn roster(&self, room: RoomId, most: usize) -> Result<Option<Roster>, Error> {
        let limit = most as u64 + 1;
        let rows = self.read_as(Query::Room, ROSTER, args![room.uuid(), limit]).await?;
        let first = rows.first().ok_or(Error::Missing(Missing::Room))?;
        if rows.len() > most {
            return Ok(None);
        }
        let (known, head) = (standing(room, first)?.room, first.unsigned(7)?);
        let mut people = Vec::with_capacity(rows.len());
        for row in &rows {
            // A room without anybody is one row.
            let Some(user) = row.get::<Option<String>>(6)? else { continue };
            people.push((user.into(), standing(room, row)?.membership));
        }
        Ok(Some(Roster { room: known, head, people }))
    }
}
