//! New rooms: the row, the people who are in it from the start, and the first events.

use std::sync::Arc;

use crate::room::happening::MemberChange;
use crate::room::{Kind, LogId, Role, RoomId, RoomName, Topic};

use super::members::Happening;
use super::sql::{Tx, args};
use super::{Change, Error, Published, Store};

/// A room that somebody wants.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// Who wants it: its owner.
    pub by: Arc<str>,
    /// What it is called.
    pub name: RoomName,
    /// What it is about.
    pub topic: Option<Topic>,
    /// Public or private.
    pub kind: Kind,
    /// Who else is in it from the start.
    pub members: Vec<Arc<str>>,
}

/// A new room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founded {
    /// Which one.
    pub id: RoomId,
    /// Where its log stands.
    pub offset: u64,
}

/// What a new log of people needs.
#[derive(Debug)]
pub(super) struct Founding<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
    /// The hash of who is in it, where there may be only one room of these people.
    pub(super) people: Option<Vec<u8>>,
    /// Who makes it.
    pub(super) by: &'a str,
    /// Who is in it from the start, each once.
    pub(super) members: Vec<(&'a str, Role)>,
}

impl Store {
    /// Makes a room; whoever wants it owns it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn create_room(&self, new: NewRoom) -> Result<Change<Founded>, Error> {
        let mut members = vec![(&*new.by, Role::Owner)];
        for user in &new.members {
            if members.iter().all(|(known, _)| **known != **user) {
                members.push((user, Role::Member));
            }
        }
        let topic = new.topic.as_ref().map_or("", Topic::as_str);
        let (kind, name, by) = (new.kind, new.name.as_str(), &*new.by);
        let founding = Founding { kind, name, topic, people: None, by, members };
        let mut tx = self.begin().await?;
        let founded = tx.found(&founding).await?;
        let (id, published) = founded.ok_or_else(|| Error::Broken("no room".to_owned()))?;
        tx.commit().await?;
        let offset = founding.members.len() as u64;
        Ok(Change { value: Founded { id, offset }, published })
    }
}

impl Tx {
    /// Writes everything; nothing when there is a room of these people already. The first thing
    /// a transaction does: whoever makes the same room at the same time waits here, and holds no
    /// lock that somebody else waits for.
    pub(super) async fn found(
        &mut self,
        founding: &Founding<'_>,
    ) -> Result<Option<(RoomId, Vec<Published>)>, Error> {
        let Founding { kind, name, topic, people, by, members } = founding;
        let id = RoomId::new();
        let sql = "INSERT INTO rooms \
            (id, kind, name, topic, people, member_count, created_at, created_by) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (people) DO NOTHING";
        let (count, now) = (members.len() as u64, crate::command::unix_millis());
        let (people, kind) = (people.clone(), kind.number());
        let args = args![id.uuid(), kind, *name, *topic, people, count, now, *by];
        if self.execute(sql, args).await? == 0 {
            return Ok(None);
        }
        let feeds: Vec<_> = members.iter().map(|(user, _)| LogId::of_feed(user)).collect();
        self.ensure_feeds(&feeds).await?;
        let now = self.lock(&feeds).await?;
        let mut published = Vec::with_capacity(2 * members.len());
        for &(user, role) in members {
            let sql = "INSERT INTO members (room_id, user_id, role, joined_at) \
                VALUES ($1, $2, $3, $4)";
            self.execute(sql, args![id.uuid(), user, role.number(), now]).await?;
            let (change, role, until) = (MemberChange::Joined, Some(role), None);
            let happening = Happening { room: id, user, change, role, until, by };
            published.extend(self.tell(&happening, now).await?);
        }
        Ok(Some((id, published)))
    }
}
