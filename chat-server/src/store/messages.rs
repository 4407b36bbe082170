//! Messages that are there: found, changed, deleted.
//!
//! Each change is decided and written under the lock of the room, with everything it changes in
//! earlier events of the message: the message itself, and the edit that was in force. Edits before
//! that have lost their text already.

use std::sync::Arc;

use serde_json::json;

use crate::protocol::{Json, NotJson};
use crate::room::{Act, Body, Denied, MessageId, Reason, Role, RoomId, say, say::Saying};

use super::log::Entry;
use super::reactions::Reactions;
use super::sql::{Row, Tx, args};
use super::{Amend, Change, Conflict, Error, Event, EventKind, Missing, Standing, Store, audit};

/// A message that somebody changes.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Where.
    pub room: RoomId,
    /// Which one.
    pub id: MessageId,
    /// Who.
    pub editor: Arc<str>,
    /// What it says from now on.
    pub body: Body,
}

/// A message that somebody deletes.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Where.
    pub room: RoomId,
    /// Which one.
    pub id: MessageId,
    /// Who.
    pub by: Arc<str>,
    /// Why, in their words.
    pub reason: Option<Reason>,
}

/// A message as it stands now, and the reactions to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The message.
    pub event: Event,
    /// In the order in which the emojis came.
    pub reactions: Vec<Reactions>,
}

/// A message's row.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) event: Event,
    pub(super) sender: String,
    pub(super) is_deleted: bool,
}

const FOUND: &str = "SELECT off, created_at, payload, sender, deleted_at FROM messages \
    WHERE id = $1 AND room_id = $2 AND kind = 1";

impl Store {
    /// Where a message of a room stands, deleted or not.
    ///
    /// # Errors
    /// [`Missing::Message`], also for a message of another room; or when the store cannot be asked.
    pub async fn message_offset(&self, room: RoomId, id: MessageId) -> Result<u64, Error> {
        let sql = "SELECT off FROM messages WHERE id = $1 AND room_id = $2 AND kind = 1";
        let row = self.read_one(sql, args![id.uuid(), room.uuid()]).await?;
        row.ok_or(Error::Missing(Missing::Message))?.unsigned(0)
    }

    /// A message as it stands now, for this reader; a deleted one is a tombstone.
    ///
    /// # Errors
    /// As [`Store::message_offset`].
    pub async fn message(
        &self,
        room: RoomId,
        id: MessageId,
        reader: &str,
    ) -> Result<Message, Error> {
        let row = self.read_one(FOUND, args![id.uuid(), room.uuid()]).await?;
        let Found { event, .. } = Found::from_row(row.as_ref())?;
        let reactions = self.reactions(room, event.offset, reader).await?;
        Ok(Message { event, reactions })
    }

    /// Changes what a message says, and answers the offset of the event that says so. The text it
    /// has already is no change: the answer is where it got it.
    ///
    /// # Errors
    /// Who is not the author, a deleted message, and what the room says.
    pub async fn edit(&self, edit: &Edit) -> Result<Change<u64>, Error> {
        let Edit { room, id, editor, body } = edit;
        let mut tx = self.begin().await?;
        let now = tx.lock(&[room.log()]).await?;
        let Standing { room: state, membership } = tx.standing(*room, editor).await?;
        state.authorize(&membership, Act::Edit, now)?;
        let Found { event: message, sender, is_deleted } = tx.message(*room, *id).await?;
        if sender != **editor {
            return Err(Denied::NotTheAuthor.into());
        }
        if is_deleted {
            return Err(Error::Conflict(Conflict::Deleted));
        }
        let last = tx.last_about(*room, message.offset, EventKind::Edit).await?;
        let data = say::edited(&message.data, body, now).map_err(broken)?;
        if say::text(&message.data).map_err(broken)? == body.as_str() {
            return Ok(Change::nothing(last.map_or(message.offset, |edit| edit.offset)));
        }
        let mut amends = vec![Amend { offset: message.offset, data }];
        if let Some(last) = last {
            let data = say::superseded(&last.data).map_err(broken)?;
            amends.push(Amend { offset: last.offset, data });
        }
        tx.amend(*room, &amends).await?;
        let data = Saying::Edit { id: *id, body, editor }.event().map_err(broken)?;
        let mut published =
            tx.record(about(*room, EventKind::Edit, editor, message.offset, data), now).await?;
        published.amends = amends;
        tx.commit().await?;
        Ok(Change { value: published.event.offset, published: vec![published] })
    }

    /// Deletes a message, its edits' texts and its reactions, and answers the offset of the event
    /// that says so: that of the first when it was deleted before.
    ///
    /// # Errors
    /// Who may not, and what the room says.
    pub async fn delete(&self, deletion: &Deletion) -> Result<Change<u64>, Error> {
        let Deletion { room, id, by, reason } = deletion;
        let mut tx = self.begin().await?;
        let now = tx.lock(&[room.log()]).await?;
        let Standing { room: state, membership } = tx.standing(*room, by).await?;
        state.authorize(&membership, Act::Read, now)?;
        let Found { event: message, sender, is_deleted } = tx.message(*room, *id).await?;
        let is_own = sender == **by;
        let act = match is_own {
            true => Act::DeleteOwn,
            false => Act::DeleteOf(tx.rank(*room, &sender).await?),
        };
        state.authorize(&membership, act, now)?;
        if is_deleted {
            let first = tx.last_about(*room, message.offset, EventKind::Delete).await?;
            // What was erased with its author has no event of its own.
            return Ok(Change::nothing(first.map_or(message.offset, |event| event.offset)));
        }
        let reason = reason.as_ref().filter(|reason| !reason.as_str().is_empty());
        let last = tx.last_about(*room, message.offset, EventKind::Edit).await?;
        let mut amends = Vec::new();
        for Event { offset, data, .. } in std::iter::once(&message).chain(&last) {
            let data = say::deleted(data, by, reason, now).map_err(broken)?;
            amends.push(Amend { offset: *offset, data });
        }
        tx.amend(*room, &amends).await?;
        for Amend { offset, .. } in &amends {
            let sql = "UPDATE messages SET deleted_at = $3 WHERE room_id = $1 AND off = $2";
            tx.execute(sql, args![room.uuid(), *offset, now]).await?;
        }
        tx.forget_reactions(*room, message.offset).await?;
        if !is_own {
            tx.audit_deletion(deletion, now).await?;
        }
        let data = Saying::Delete { id: *id, by, reason }.event().map_err(broken)?;
        let mut published =
            tx.record(about(*room, EventKind::Delete, by, message.offset, data), now).await?;
        published.amends = amends;
        tx.commit().await?;
        Ok(Change { value: published.event.offset, published: vec![published] })
    }
}

impl Tx {
    /// A message of a locked room.
    pub(super) async fn message(&mut self, room: RoomId, id: MessageId) -> Result<Found, Error> {
        Found::from_row(self.row(FOUND, args![id.uuid(), room.uuid()]).await?.as_ref())
    }

    /// The last event of one kind about a message.
    async fn last_about(
        &mut self,
        room: RoomId,
        message: u64,
        kind: EventKind,
    ) -> Result<Option<Event>, Error> {
        let sql = "SELECT off, created_at, payload FROM messages \
            WHERE room_id = $1 AND target = $2 AND kind = $3 ORDER BY off DESC LIMIT 1";
        let row = self.row(sql, args![room.uuid(), message, kind.number()]).await?;
        row.as_ref().map(event).transpose()
    }

    /// Events stand differently now.
    async fn amend(&mut self, room: RoomId, amends: &[Amend]) -> Result<(), Error> {
        for Amend { offset, data } in amends {
            let sql = "UPDATE messages SET payload = $3 WHERE room_id = $1 AND off = $2";
            self.execute(sql, args![room.uuid(), *offset, data.as_bytes()]).await?;
        }
        Ok(())
    }

    /// What somebody is in a room; who left is nothing.
    async fn rank(&mut self, room: RoomId, user: &str) -> Result<Option<Role>, Error> {
        let sql = "SELECT role FROM members WHERE room_id = $1 AND user_id = $2";
        let row = self.row(sql, args![room.uuid(), user]).await?;
        let role: Option<i16> = row.map(|row| row.get(0)).transpose()?.flatten();
        Ok(role.and_then(Role::of))
    }

    async fn audit_deletion(&mut self, deletion: &Deletion, now: u64) -> Result<(), Error> {
        let Deletion { room, id, by, reason } = deletion;
        let detail = match reason {
            Some(reason) => Json::from_value(&json!({ "reason": reason })),
            None => Json::from_value(&json!({})),
        };
        let (detail, subject) = (detail.map_err(broken)?, id.to_string());
        let action = "message.delete";
        let act = audit::Act { room: *room, actor: by, action, subject: &subject, detail };
        self.audit(act, now).await
    }
}

impl Found {
    fn from_row(row: Option<&Row>) -> Result<Self, Error> {
        let row = row.ok_or(Error::Missing(Missing::Message))?;
        let deleted_at: Option<i64> = row.get(4)?;
        Ok(Self { event: event(row)?, sender: row.get(3)?, is_deleted: deleted_at.is_some() })
    }
}

/// An event of a room about one of its messages.
pub(super) fn about<'a>(
    room: RoomId,
    kind: EventKind,
    sender: &'a str,
    message: u64,
    data: Json,
) -> Entry<'a> {
    let (log, channel) = (room.log(), room.channel());
    Entry { log, channel, kind, sender, target: Some(message), subject: None, data }
}

/// The row's offset, time and payload.
fn event(row: &Row) -> Result<Event, Error> {
    let payload: Vec<u8> = row.get(2)?;
    let data = Json::parse(&payload).map_err(broken)?;
    Ok(Event { offset: row.unsigned(0)?, time_ms: row.get(1)?, data })
}

pub(super) fn broken(error: NotJson) -> Error {
    Error::Broken(error.to_string())
}
