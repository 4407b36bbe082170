//! Reactions: one row for each emoji of each person on a message.
//!
//! Counts are counted under the lock of the room, so the last event of an emoji has the count that
//! is true. Repeating a reaction writes nothing.

use std::sync::Arc;

use crate::room::say::Saying;
use crate::room::{Act, Emoji, MessageId, RoomId};

use super::messages::{Found, about, broken};
use super::sql::{Tx, args};
use super::{Change, Conflict, Error, EventKind, Standing, Store};

/// Different emojis of one person on one message.
const PER_USER_MAX: u64 = 10;

/// Different emojis on one message: more is a wall and no answer.
const PER_MESSAGE_MAX: u64 = 100;

/// Somebody's emoji on a message.
#[derive(Debug, Clone)]
pub struct Reaction {
    /// Where.
    pub room: RoomId,
    /// On what.
    pub id: MessageId,
    /// Who.
    pub by: Arc<str>,
    /// Which.
    pub emoji: Emoji,
}

/// What is true after a reaction was put or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reacted {
    /// The event's, or the newest of the room when nothing changed.
    pub offset: u64,
    /// How many of this emoji there are.
    pub count: u64,
}

/// One emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reactions {
    /// Which.
    pub emoji: String,
    /// How many people.
    pub count: u64,
    /// The reader is one of them.
    pub me: bool,
}

/// A transaction in which somebody may react to a message.
struct Reacting<'a> {
    tx: Tx,
    reaction: &'a Reaction,
    /// The offset of the message.
    target: u64,
    now: u64,
}

impl Store {
    /// Puts a reaction.
    ///
    /// # Errors
    /// A deleted message, too many reactions, and what the room says.
    pub async fn react(&self, reaction: &Reaction) -> Result<Change<Reacted>, Error> {
        self.check_insistence(reaction).await?;
        let mut reacting = self.reacting(reaction).await?;
        let (all, of_this) = reacting.mine().await?;
        if of_this > 0 {
            return reacting.unchanged().await;
        }
        check_mine(all, of_this)?;
        reacting.check_wall().await?;
        let sql = "INSERT INTO reactions (room_id, target, user_id, emoji, created_at) \
            VALUES ($1, $2, $3, $4, $5)";
        let Reaction { room, by, emoji, .. } = reaction;
        let args = args![room.uuid(), reacting.target, by, emoji.as_str(), reacting.now];
        reacting.tx.execute(sql, args).await?;
        reacting.record(On::Yes).await
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    /// A deleted message, and what the room says.
    pub async fn unreact(&self, reaction: &Reaction) -> Result<Change<Reacted>, Error> {
        let mut reacting = self.reacting(reaction).await?;
        let sql = "DELETE FROM reactions \
            WHERE room_id = $1 AND target = $2 AND user_id = $3 AND emoji = $4";
        let Reaction { room, by, emoji, .. } = reaction;
        let args = args![room.uuid(), reacting.target, by, emoji.as_str()];
        if reacting.tx.execute(sql, args).await? == 0 {
            return reacting.unchanged().await;
        }
        reacting.record(On::No).await
    }

    /// Who goes on when there is no room for more holds up nobody: that is seen without the lock.
    async fn check_insistence(&self, reaction: &Reaction) -> Result<(), Error> {
        let Reaction { room, id, by, emoji } = reaction;
        let sql = "SELECT count(*), \
                CAST(coalesce(sum(CASE WHEN r.emoji = $4 THEN 1 ELSE 0 END), 0) AS bigint) \
            FROM messages m JOIN reactions r ON r.room_id = m.room_id AND r.target = m.off \
            WHERE m.id = $1 AND m.room_id = $2 AND r.user_id = $3";
        let row = self.read_one(sql, args![id.uuid(), room.uuid(), by, emoji.as_str()]).await?;
        let row = row.ok_or_else(uncounted)?;
        check_mine(row.unsigned(0)?, row.unsigned(1)?)
    }

    async fn reacting<'a>(&self, reaction: &'a Reaction) -> Result<Reacting<'a>, Error> {
        let Reaction { room, id, by, .. } = reaction;
        let mut tx = self.begin().await?;
        let now = tx.lock(&[room.log()]).await?;
        let Standing { room: state, membership } = tx.standing(*room, by).await?;
        state.authorize(&membership, Act::React, now)?;
        let Found { event, is_deleted, .. } = tx.message(*room, *id).await?;
        if is_deleted {
            return Err(Error::Conflict(Conflict::Deleted));
        }
        Ok(Reacting { tx, reaction, target: event.offset, now })
    }

    /// The reactions to a message, as this reader sees them.
    pub(super) async fn reactions(
        &self,
        room: RoomId,
        target: u64,
        reader: &str,
    ) -> Result<Vec<Reactions>, Error> {
        let sql = "SELECT emoji, count(*), \
                CAST(sum(CASE WHEN user_id = $3 THEN 1 ELSE 0 END) AS bigint) \
            FROM reactions WHERE room_id = $1 AND target = $2 \
            GROUP BY emoji ORDER BY min(created_at), emoji";
        let rows = self.read(sql, args![room.uuid(), target, reader]).await?;
        let reactions = rows.iter().map(|row| {
            Ok(Reactions { emoji: row.get(0)?, count: row.unsigned(1)?, me: row.unsigned(2)? > 0 })
        });
        reactions.collect()
    }
}

/// Whether the emoji is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Yes,
    No,
}

impl Reacting<'_> {
    /// What this person has on the message already, all of it and of this emoji.
    async fn mine(&mut self) -> Result<(u64, u64), Error> {
        let sql = "SELECT count(*), \
                CAST(coalesce(sum(CASE WHEN emoji = $4 THEN 1 ELSE 0 END), 0) AS bigint) \
            FROM reactions WHERE room_id = $1 AND target = $2 AND user_id = $3";
        let Reaction { room, by, emoji, .. } = self.reaction;
        let args = args![room.uuid(), self.target, by, emoji.as_str()];
        let row = self.tx.row(sql, args).await?.ok_or_else(uncounted)?;
        Ok((row.unsigned(0)?, row.unsigned(1)?))
    }

    /// Whether the message bears this emoji, or one more.
    async fn check_wall(&mut self) -> Result<(), Error> {
        if self.count().await? > 0 {
            return Ok(());
        }
        let sql = "SELECT count(DISTINCT emoji) FROM reactions WHERE room_id = $1 AND target = $2";
        let room = self.reaction.room.uuid();
        match self.number(sql, args![room, self.target]).await? {
            PER_MESSAGE_MAX.. => {
                Err(Error::Limit { what: "reactions_per_message", limit: PER_MESSAGE_MAX })
            }
            _ => Ok(()),
        }
    }

    /// How many of this emoji there are.
    async fn count(&mut self) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM reactions \
            WHERE room_id = $1 AND target = $2 AND emoji = $3";
        let Reaction { room, emoji, .. } = self.reaction;
        self.number(sql, args![room.uuid(), self.target, emoji.as_str()]).await
    }

    async fn number(
        &mut self,
        sql: &'static str,
        args: Vec<super::sql::Value>,
    ) -> Result<u64, Error> {
        let row = self.tx.row(sql, args).await?;
        row.ok_or_else(uncounted)?.unsigned(0)
    }

    async fn unchanged(mut self) -> Result<Change<Reacted>, Error> {
        let offset = self.tx.head(self.reaction.room).await?;
        Ok(Change::nothing(Reacted { offset, count: self.count().await? }))
    }

    async fn record(mut self, on: On) -> Result<Change<Reacted>, Error> {
        let count = self.count().await?;
        let Self { mut tx, reaction: Reaction { room, id, by, emoji }, target, now } = self;
        let (id, emoji, on) = (*id, *emoji, on == On::Yes);
        let data = Saying::Reaction { id, emoji, by, on, count }.event().map_err(broken)?;
        let entry = about(*room, EventKind::Reaction, by, target, data);
        let published = tx.record(entry, now).await?;
        tx.commit().await?;
        let value = Reacted { offset: published.event.offset, count };
        Ok(Change { value, published: vec![published] })
    }
}

impl Tx {
    /// Removes the reactions of a message that is deleted.
    pub(super) async fn forget_reactions(
        &mut self,
        room: RoomId,
        message: u64,
    ) -> Result<(), Error> {
        let sql = "DELETE FROM reactions WHERE room_id = $1 AND target = $2";
        self.execute(sql, args![room.uuid(), message]).await?;
        Ok(())
    }
}

/// Whether somebody may have one more, or has it already.
const fn check_mine(all: u64, of_this: u64) -> Result<(), Error> {
    match of_this == 0 && all >= PER_USER_MAX {
        true => Err(Error::Limit { what: "reactions_per_user", limit: PER_USER_MAX }),
        false => Ok(()),
    }
}

fn uncounted() -> Error {
    Error::Broken("a count without a row".to_owned())
}
