//! Who is in a room: coming, going, being brought in; and the one way in which anything happens to
//! a person.
//!
//! A [`Case`] is a room locked together with a person's feed, and how both people concerned stand
//! in it. Everything is decided on it, and [`Case::settle`] writes the row, the count, the event in
//! the room's log and in the person's feed, and the audit.
//!
//! Invariants: but for new rooms and erasure, rows of members change nowhere else; whoever changes
//! them keeps `rooms.member_count` their number. A person who is not in a room has a row only
//! while they are muted or banned there.

use std::sync::Arc;

use crate::channel::ChannelName;
use crate::protocol::{Json, NotJson};
use crate::room::happening::{Detail, MemberChange, MemberEvent, told_until};
use crate::room::{Act, LogId, Membership, Reason, Role, Room, RoomId};

use super::log::Entry;
use super::sql::{Row, Tx, args};
use super::{Change, Conflict, Error, EventKind, Published, Standing, Store, audit};

/// Somebody does something to somebody, who may be themselves.
#[derive(Debug, Clone)]
pub struct Deed {
    /// Where.
    pub room: RoomId,
    /// Who does it.
    pub by: Arc<str>,
    /// To whom.
    pub user: Arc<str>,
    /// Why; kept in the audit.
    pub reason: Option<Reason>,
}

/// How somebody stands in a room after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// What they are; `None` = not in it.
    pub role: Option<Role>,
    /// The offset of the event; where the log stands when nothing changed.
    pub offset: u64,
}

/// A person in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: String,
    /// What they are.
    pub role: Role,
    /// Since when, in Unix milliseconds.
    pub joined_at: u64,
    /// Muted until then, as in [`Membership`].
    pub muted_until: u64,
}

/// A locked room, and the people concerned.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) tx: Tx,
    pub(super) deed: Deed,
    pub(super) now: u64,
    pub(super) room: Room,
    /// Whoever does it, and
    pub(super) actor: Membership,
    /// to whom.
    pub(super) subject: Membership,
}

/// What happens to somebody.
#[derive(Debug)]
pub(super) struct Happening<'a> {
    pub(super) room: RoomId,
    pub(super) user: &'a str,
    pub(super) change: MemberChange,
    /// What they are now, where that changed.
    pub(super) role: Option<Role>,
    pub(super) until: Option<u64>,
    pub(super) by: &'a str,
}

impl Store {
    /// Comes in by oneself; once more changes nothing.
    ///
    /// # Errors
    /// Not a public room, banned, archived; or when the store cannot be written.
    pub async fn join(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Join)?;
        match case.subject.role {
            Some(_) => case.unchanged().await,
            None => case.come_in().await,
        }
    }

    /// Goes.
    ///
    /// # Errors
    /// Not in it, the last owner; or when the store cannot be written.
    pub async fn leave(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let mut case = self.case(deed).await?;
        case.authorize(Act::Leave)?;
        case.keep_an_owner().await?;
        let gone = Membership { role: None, ..case.subject };
        case.settle(MemberChange::Left, gone).await
    }

    /// Brings somebody in.
    ///
    /// # Errors
    /// Not allowed to, in it already, banned; or when the store cannot be written.
    pub async fn invite(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Invite)?;
        if case.subject.role.is_some() {
            return Err(Error::Conflict(Conflict::AlreadyMember));
        }
        if case.subject.banned_until > case.now {
            return Err(Error::Conflict(Conflict::Banned));
        }
        case.come_in().await
    }

    /// At most `limit` people of a room behind one of them, by their ids.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn members(
        &self,
        room: RoomId,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Member>, Error> {
        let sql = "SELECT user_id, role, joined_at, muted_until FROM members \
            WHERE room_id = $1 AND role IS NOT NULL AND user_id > $2 ORDER BY user_id LIMIT $3";
        let rows = self.read(sql, args![room.uuid(), after, limit as u64]).await?;
        let member = |row: &Row| {
            let role: i16 = row.get(1)?;
            let role = Role::of(role).ok_or_else(|| Error::Broken(format!("role {role}")))?;
            let (joined_at, muted_until) = (row.unsigned(2)?, row.unsigned(3)?);
            Ok(Member { user: row.get(0)?, role, joined_at, muted_until })
        };
        rows.iter().map(member).collect()
    }

    /// Locks a room and a person's feed, and reads how both people stand.
    pub(super) async fn case(&self, deed: Deed) -> Result<Case, Error> {
        let mut tx = self.begin().await?;
        let feed = LogId::of_feed(&deed.user);
        tx.ensure_feeds(&[feed]).await?;
        let now = tx.lock(&[deed.room.log(), feed]).await?;
        let Standing { room, membership: actor } = tx.standing(deed.room, &deed.by).await?;
        let subject = match deed.by == deed.user {
            true => actor,
            false => tx.standing(deed.room, &deed.user).await?.membership,
        };
        Ok(Case { tx, deed, now, room, actor, subject })
    }
}

impl Case {
    /// May whoever wants to?
    pub(super) fn authorize(&self, act: Act) -> Result<(), Error> {
        self.room.authorize(&self.actor, act, self.now)?;
        Ok(())
    }

    /// A room is never without an owner: whoever is the last one stays that.
    pub(super) async fn keep_an_owner(&mut self) -> Result<(), Error> {
        if self.subject.role != Some(Role::Owner) {
            return Ok(());
        }
        let sql = "SELECT 1 FROM members WHERE room_id = $1 AND role = 5 AND user_id <> $2 LIMIT 1";
        let other = self.tx.row(sql, args![self.room.id.uuid(), &self.deed.user]).await?;
        other.map(drop).ok_or(Error::Conflict(Conflict::LastOwner))
    }

    async fn come_in(self) -> Result<Change<Settled>, Error> {
        let inside = Membership { role: Some(Role::Member), ..self.subject };
        self.settle(MemberChange::Joined, inside).await
    }

    /// Everything is as it should be already.
    pub(super) async fn unchanged(mut self) -> Result<Change<Settled>, Error> {
        let offset = self.tx.head(self.room.id).await?;
        Ok(Change::nothing(Settled { role: self.subject.role, offset }))
    }

    /// The person stands differently from now on.
    pub(super) async fn settle(
        mut self,
        change: MemberChange,
        after: Membership,
    ) -> Result<Change<Settled>, Error> {
        self.seat(after).await?;
        let role = after.role.filter(|_| after.role != self.subject.role);
        let until = match change {
            MemberChange::Muted => told_until(after.muted_until),
            MemberChange::Banned => told_until(after.banned_until),
            _ => None,
        };
        let Deed { room, by, user, .. } = &self.deed;
        let happening = Happening { room: *room, user, change, role, until, by };
        let published = self.tx.tell(&happening, self.now).await?;
        if let Some(action) = change.audited() {
            let before = self.subject.role.filter(|_| after.role != self.subject.role);
            let reason = self.deed.reason.as_ref().filter(|reason| !reason.as_str().is_empty());
            let detail = Detail { role, before, until, reason };
            let detail = Json::from_value(&detail).map_err(unwritable)?;
            let (room, actor, subject) = (self.room.id, &*self.deed.by, &*self.deed.user);
            self.tx.audit(audit::Act { room, actor, action, subject, detail }, self.now).await?;
        }
        let offset = published.first().map_or(0, |published| published.event.offset);
        let value = Settled { role: after.role, offset };
        self.tx.commit().await?;
        Ok(Change { value, published })
    }

    /// Writes the row, or removes one that says nothing any more, and counts.
    async fn seat(&mut self, after: Membership) -> Result<(), Error> {
        let (room, user) = (self.room.id.uuid(), &self.deed.user);
        let Membership { role, muted_until, banned_until } = after;
        if role.is_none() && muted_until <= self.now && banned_until <= self.now {
            let sql = "DELETE FROM members WHERE room_id = $1 AND user_id = $2";
            self.tx.execute(sql, args![room, user]).await?;
        } else {
            let sql = "INSERT INTO members \
                (room_id, user_id, role, muted_until, banned_until, joined_at) \
                VALUES ($1, $2, $3, $4, $5, $6) \
                ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role, \
                muted_until = excluded.muted_until, banned_until = excluded.banned_until, \
                joined_at = CASE WHEN members.role IS NULL THEN excluded.joined_at \
                    ELSE members.joined_at END";
            let role = role.map(Role::number);
            let args = args![room, user, role, muted_until, banned_until, self.now];
            self.tx.execute(sql, args).await?;
        }
        let came = i64::from(role.is_some()) - i64::from(self.subject.role.is_some());
        if came != 0 {
            let sql = "UPDATE rooms SET member_count = member_count + $2 WHERE id = $1";
            self.tx.execute(sql, args![room, came]).await?;
        }
        Ok(())
    }
}

impl Tx {
    /// Writes what happened to somebody into the room's log and into their feed; both are locked.
    pub(super) async fn tell(
        &mut self,
        happening: &Happening<'_>,
        now: u64,
    ) -> Result<Vec<Published>, Error> {
        let Happening { room, user, change, role, until, by } = *happening;
        let event = MemberEvent { room: None, user, change, role, until, by };
        let feed = MemberEvent { room: Some(room), ..event };
        let of_user = ChannelName::of_user(user).shared().clone();
        let places = [(room.log(), room.channel(), event), (LogId::of_feed(user), of_user, feed)];
        let mut published = Vec::with_capacity(places.len());
        for (log, channel, event) in places {
            let data = event.json().map_err(unwritable)?;
            let (kind, subject) = (EventKind::Member, Some(user));
            let entry = Entry { log, channel, kind, sender: by, target: None, subject, data };
            published.push(self.record(entry, now).await?);
        }
        Ok(published)
    }

    /// The newest offset of a locked room.
    pub(super) async fn head(&mut self, room: RoomId) -> Result<u64, Error> {
        let row = self.row("SELECT head FROM rooms WHERE id = $1", args![room.uuid()]).await?;
        row.ok_or(Error::Missing(super::Missing::Room))?.unsigned(0)
    }
}

/// An event of ours is always JSON: it is made of texts, words and numbers.
pub(super) fn unwritable(error: NotJson) -> Error {
    Error::Broken(error.to_string())
}
