//! The transactions of an erasure: what becomes of the rows.

use serde_json::Value as Words;
use uuid::Uuid;

use crate::protocol::Json;
use crate::room::say::{self, ERASED};
use crate::room::{LogId, RoomId};
use crate::store::messages::broken;
use crate::store::sql::{Row, Tx, args};
use crate::store::{Error, EventKind, Store};

/// Rows that one transaction changes: a few statements each, some tens of milliseconds.
const BATCH: u64 = 100;

/// Acts that one statement of the audit reads.
const PAGE: u64 = 500;

/// What one batch did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) events: u64,
    /// The log's new revision.
    pub(super) revision: u64,
}

impl Store {
    /// Takes a person out of a room and gives its new revision.
    pub(super) async fn forget_member(&self, log: LogId, person: &str) -> Result<u64, Error> {
        let room = log.uuid();
        let mut tx = self.begin().await?;
        tx.lock(&[log]).await?;
        let sql = "SELECT role FROM members WHERE room_id = $1 AND user_id = $2";
        let row = tx.row(sql, args![room, person]).await?;
        let role: Option<i16> = row.map(|row| row.get(0)).transpose()?.flatten();
        if role.is_some() {
            // The hash of its people names who is in a direct conversation to whoever guesses.
            let sql = "UPDATE rooms SET member_count = member_count - 1, people = NULL \
                WHERE id = $1";
            tx.execute(sql, args![room]).await?;
        }
        let sql = "DELETE FROM members WHERE room_id = $1 AND user_id = $2";
        tx.execute(sql, args![room, person]).await?;
        let sql = "DELETE FROM read_marks WHERE user_id = $1 AND room_id = $2";
        tx.execute(sql, args![person, room]).await?;
        let sql = "UPDATE rooms SET created_by = $3 WHERE id = $1 AND created_by = $2";
        tx.execute(sql, args![room, person, ERASED]).await?;
        let revision = tx.revise(log).await?;
        tx.commit().await?;
        Ok(revision)
    }

    /// Erases some of what there is of a person in a log; `None` when there is nothing any more.
    pub(super) async fn erase_batch(
        &self,
        log: LogId,
        person: &str,
    ) -> Result<Option<Batch>, Error> {
        let mut tx = self.begin().await?;
        let now = tx.lock(&[log]).await?;
        // Each in the order of the index that leads to them: without one, planners may read the
        // whole table for a few rows of somebody who wrote much.
        let sql = "SELECT off, kind, target, payload, idem FROM messages \
            WHERE room_id = $1 AND sender = $2 ORDER BY idem LIMIT $3";
        let own = tx.rows(sql, args![log.uuid(), person, BATCH]).await?;
        for row in &own {
            tx.erase_event(self, log, person, (row, now)).await?;
        }
        let sql = "SELECT off, payload FROM messages \
            WHERE subject = $2 AND room_id = $1 ORDER BY off LIMIT $3";
        let about = tx.rows(sql, args![log.uuid(), person, BATCH]).await?;
        for row in &about {
            tx.erase_subject(log, person, row).await?;
        }
        let sql = "SELECT target, emoji FROM reactions \
            WHERE user_id = $2 AND room_id = $1 ORDER BY target LIMIT $3";
        let reactions = tx.rows(sql, args![log.uuid(), person, BATCH]).await?;
        for row in &reactions {
            let sql = "DELETE FROM reactions \
                WHERE room_id = $1 AND target = $2 AND user_id = $3 AND emoji = $4";
            let (target, emoji): (i64, String) = (row.get(0)?, row.get(1)?);
            tx.execute(sql, args![log.uuid(), target, person, emoji]).await?;
        }
        if own.is_empty() && about.is_empty() && reactions.is_empty() {
            return Ok(None);
        }
        let revision = tx.revise(log).await?;
        tx.commit().await?;
        Ok(Some(Batch { events: (own.len() + about.len()) as u64, revision }))
    }

    /// Puts the placeholder in the place of a person in what is kept of acts, and takes out the
    /// reasons they gave.
    pub(super) async fn erase_from_audit(&self, person: &str) -> Result<(), Error> {
        let mut after = Uuid::nil();
        loop {
            let sql = "SELECT id, actor, subject, detail FROM audit \
                WHERE id > $1 ORDER BY id LIMIT $2";
            let rows = self.read(sql, args![after, PAGE]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.get(0)?;
            let mut tx = None;
            for row in &rows {
                let Some(act) = Act::without(row, person)? else { continue };
                let tx = match &mut tx {
                    Some(tx) => tx,
                    none => none.insert(self.begin().await?),
                };
                let sql = "UPDATE audit SET actor = $2, subject = $3, detail = $4 WHERE id = $1";
                tx.execute(sql, args![act.id, act.actor, act.subject, act.detail]).await?;
            }
            if let Some(tx) = tx {
                tx.commit().await?;
            }
        }
    }
}

impl Tx {
    /// An event of the person: its key is kept, its content, its sender and what others answered
    /// with emojis go.
    async fn erase_event(
        &mut self,
        store: &Store,
        log: LogId,
        person: &str,
        (row, now): (&Row, u64),
    ) -> Result<(), Error> {
        let (offset, kind) = (row.unsigned(0)?, row.get::<i16>(1)?);
        let target: Option<i64> = row.get(2)?;
        if row.get::<Option<Uuid>>(4)?.is_some() {
            self.keep_keys(log, (offset, offset), person, store.sender_hash(person)).await?;
        }
        if let Some(target) = target.filter(|_| kind == EventKind::Delete.number()) {
            self.erase_deleter(log, person, target).await?;
        }
        if kind == EventKind::Message.number() {
            self.forget_reactions(RoomId::from_uuid(log.uuid()), offset).await?;
        }
        let payload = say::erased(&json(row, 3)?, person, now).map_err(broken)?;
        // What says how the room is and who is in it goes on, the rest is gone as if deleted.
        let goes_on = [EventKind::Member, EventKind::Room, EventKind::Read, EventKind::Delete];
        let goes_on = goes_on.map(EventKind::number).contains(&kind);
        let deleted_at = (!goes_on).then_some(now.cast_signed());
        let sql = "UPDATE messages SET sender = $3, idem = NULL, digest = 0, payload = $4, \
            deleted_at = COALESCE(deleted_at, $5), \
            subject = CASE WHEN subject = $6 THEN $3 ELSE subject END \
            WHERE room_id = $1 AND off = $2";
        let payload = payload.as_bytes();
        let args = args![log.uuid(), offset, ERASED, payload, deleted_at, person];
        self.execute(sql, args).await?;
        Ok(())
    }

    /// The message of somebody else that this person deleted, and its edits, no longer say by
    /// whom.
    async fn erase_deleter(&mut self, log: LogId, person: &str, target: i64) -> Result<(), Error> {
        for sql in [
            "SELECT off, payload FROM messages WHERE room_id = $1 AND off = $2",
            "SELECT off, payload FROM messages WHERE room_id = $1 AND target = $2 AND kind = 2 \
                AND deleted_at IS NOT NULL",
        ] {
            for row in self.rows(sql, args![log.uuid(), target]).await? {
                let payload = say::without(&json(&row, 1)?, person).map_err(broken)?;
                let sql = "UPDATE messages SET payload = $3 WHERE room_id = $1 AND off = $2";
                let args = args![log.uuid(), row.unsigned(0)?, payload.as_bytes()];
                self.execute(sql, args).await?;
            }
        }
        Ok(())
    }

    /// An event about the person.
    async fn erase_subject(&mut self, log: LogId, person: &str, row: &Row) -> Result<(), Error> {
        let payload = say::without(&json(row, 1)?, person).map_err(broken)?;
        let sql = "UPDATE messages SET subject = $3, payload = $4 WHERE room_id = $1 AND off = $2";
        let args = args![log.uuid(), row.unsigned(0)?, ERASED, payload.as_bytes()];
        self.execute(sql, args).await?;
        Ok(())
    }

    /// Raises the revision of a locked log: what is kept in memory is to be forgotten.
    async fn revise(&mut self, log: LogId) -> Result<u64, Error> {
        let sql = "UPDATE rooms SET revision = revision + 1 WHERE id = $1 RETURNING revision";
        let row = self.row(sql, args![log.uuid()]).await?;
        row.ok_or_else(|| Error::Broken("a log of rows without a room".to_owned()))?.unsigned(0)
    }
}

/// An act of the audit as it is kept from now on.
#[derive(Debug)]
struct Act {
    id: Uuid,
    actor: String,
    subject: String,
    detail: Vec<u8>,
}

impl Act {
    /// The act without this person; `None` when they are not in it.
    fn without(row: &Row, person: &str) -> Result<Option<Self>, Error> {
        let (mut actor, mut subject): (String, String) = (row.get(1)?, row.get(2)?);
        let mut detail = row.get::<Vec<u8>>(3)?;
        let mut words: Words = serde_json::from_slice(&detail)
            .map_err(|error| Error::Broken(format!("an act of the audit: {error}")))?;
        let mut is_in_it = replace(&mut words, person);
        if actor == person {
            is_in_it = true;
            ERASED.clone_into(&mut actor);
            if let Some(fields) = words.as_object_mut() {
                fields.remove("reason");
            }
        }
        if subject == person {
            is_in_it = true;
            ERASED.clone_into(&mut subject);
        }
        if !is_in_it {
            return Ok(None);
        }
        detail = Json::from_value(&words).map_err(broken)?.as_bytes().to_vec();
        Ok(Some(Self { id: row.get(0)?, actor, subject, detail }))
    }
}

/// Puts the placeholder wherever a text is the person's id; says whether it was there.
fn replace(words: &mut Words, person: &str) -> bool {
    match words {
        Words::String(text) if text == person => {
            ERASED.clone_into(text);
            true
        }
        Words::Array(list) => list.iter_mut().fold(false, |any, item| replace(item, person) | any),
        Words::Object(fields) => {
            fields.values_mut().fold(false, |any, value| replace(value, person) | any)
        }
        _ => false,
    }
}

fn json(row: &Row, column: usize) -> Result<Json, Error> {
    let payload: Vec<u8> = row.get(column)?;
    Json::parse(&payload).map_err(broken)
}
