//! Erasure of a person: what they said and who they were goes, the sequence of every log stays.
//!
//! ```text
//! traces    the logs in which there is something of them
//! each log  an heir if they were the last owner, then their membership, then in batches their
//!           events, the events about them, their reactions
//! the rest  read marks, the audit, their own feed
//! ```
//! Each batch is one short transaction under the lock of its log; between two of them it rests as
//! long as the batch took. A batch leaves nothing half done, so an erasure that was interrupted is
//! finished by another one. Membership goes first: after that nothing new of them is written.
//!
//! Not here: what others wrote about them, which is others'; their tokens and open connections,
//! which whoever asks for this ends before.

mod rows;

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::sql::args;
use super::{Change, Conflict, Deed, Error, Published, Store};
use crate::room::happening::MemberChange;
use crate::room::say::ERASED;
use crate::room::{LogId, Membership, Reason, Role, RoomId};

/// Logs that are looked at by one statement.
const PAGE: u64 = 500;

/// Of a page of logs, those in which somebody wrote, is or was a member, or which they made.
const TRACES: &str = "SELECT r.id, CAST(CASE WHEN r.created_by = $1 \
        OR EXISTS (SELECT 1 FROM messages m WHERE m.room_id = r.id AND m.sender = $1) \
        OR EXISTS (SELECT 1 FROM members p WHERE p.room_id = r.id AND p.user_id = $1) \
        THEN 1 ELSE 0 END AS bigint) \
    FROM (SELECT id, created_by FROM rooms WHERE id > $2 ORDER BY id LIMIT $3) r ORDER BY r.id";

/// Who owns a room after its last owner: the highest role, the longest time. Nobody when there is
/// another owner, nobody else, or no owner at all, as in a direct conversation.
const HEIR: &str = "SELECT m.user_id FROM members m \
    WHERE m.room_id = $1 AND m.user_id <> $2 AND m.role IS NOT NULL \
    AND EXISTS (SELECT 1 FROM members o WHERE o.room_id = $1 AND o.role = 5 AND o.user_id = $2) \
    AND NOT EXISTS \
        (SELECT 1 FROM members o WHERE o.room_id = $1 AND o.role = 5 AND o.user_id <> $2) \
    ORDER BY m.role DESC, m.joined_at, m.user_id LIMIT 1";

/// What an erasure did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// The logs that are different now, each with its revision.
    pub revised: Vec<(LogId, u64)>,
    /// Events that stand differently now, or were removed from the person's feed.
    pub events: u64,
    /// Rooms that have another owner.
    pub inherited: u64,
}

impl Store {
    /// The logs in which there is something of a person, their own feed among them.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn traces(&self, person: &str) -> Result<BTreeSet<LogId>, Error> {
        let mut found = BTreeSet::new();
        let mut after = Uuid::nil();
        loop {
            let rows = self.read(TRACES, args![person, after, PAGE]).await?;
            for row in &rows {
                after = row.get(0)?;
                if row.unsigned(1)? > 0 {
                    found.insert(LogId::from_uuid(after));
                }
            }
            if (rows.len() as u64) < PAGE {
                break;
            }
        }
        for sql in [
            "SELECT DISTINCT room_id FROM messages WHERE subject = $1",
            "SELECT DISTINCT room_id FROM reactions WHERE user_id = $1",
            "SELECT DISTINCT room_id FROM read_marks WHERE user_id = $1",
        ] {
            for row in self.read(sql, args![person]).await? {
                found.insert(LogId::from_uuid(row.get(0)?));
            }
        }
        let feed = LogId::of_feed(person);
        let sql = "SELECT 1 FROM messages WHERE room_id = $1 LIMIT 1";
        if self.read_one(sql, args![feed.uuid()]).await?.is_some() {
            found.insert(feed);
        }
        Ok(found)
    }

    /// Erases a person. What is published is that rooms have another owner; everything else is
    /// found by the revisions.
    ///
    /// # Errors
    /// When the store cannot be written: then some of it is done, and doing it again does the rest.
    pub async fn erase(&self, person: &str) -> Result<Change<Erased>, Error> {
        if person == ERASED {
            return Err(Error::Conflict(Conflict::Placeholder));
        }
        let mut change = Change::nothing(Erased::default());
        let feed = LogId::of_feed(person);
        let mut traces = self.traces(person).await?;
        traces.remove(&feed);
        for log in traces {
            let heir = self.give_an_heir(log, person).await?;
            change.value.inherited += u64::from(!heir.is_empty());
            change.published.extend(heir);
            let erased = self.erase_in(log, person).await?;
            change.value.events += erased.events;
            change.value.revised.extend(erased.revised);
        }
        self.erase_from_audit(person).await?;
        let erased = self.empty(feed).await?;
        change.value.events += erased.events;
        change.value.revised.extend(erased.revised);
        Ok(change)
    }

    /// A room whose last owner is erased gets another one first; it is never without.
    async fn give_an_heir(&self, log: LogId, person: &str) -> Result<Vec<Published>, Error> {
        let room = RoomId::from_uuid(log.uuid());
        let by: std::sync::Arc<str> = ERASED.into();
        loop {
            let Some(row) = self.read_one(HEIR, args![log.uuid(), person]).await? else {
                return Ok(Vec::new());
            };
            let heir: String = row.get(0)?;
            let reason = Reason::parse("the last owner was erased").ok();
            let deed = Deed { room, by: by.clone(), user: heir.as_str().into(), reason };
            let mut case = self.case(deed).await?;
            // Somebody may have come, gone or been given a role before the lock was had.
            let now = case.tx.row(HEIR, args![log.uuid(), person]).await?;
            if now.map(|row| row.get::<String>(0)).transpose()? != Some(heir) {
                continue;
            }
            let after = Membership { role: Some(Role::Owner), ..case.subject };
            return Ok(case.settle(MemberChange::Role, after).await?.published);
        }
    }

    /// Everything in one log that is not the person's own feed.
    async fn erase_in(&self, log: LogId, person: &str) -> Result<Erased, Error> {
        let mut erased = Erased::default();
        let mut revision = self.forget_member(log, person).await?;
        loop {
            let begun = Instant::now();
            let batch = self.erase_batch(log, person).await?;
            let Some(batch) = batch else { break };
            erased.events += batch.events;
            revision = batch.revision;
            sleep(begun.elapsed()).await;
        }
        erased.revised.push((log, revision));
        Ok(erased)
    }

    /// Removes everything from a person's feed, as retention does.
    async fn empty(&self, feed: LogId) -> Result<Erased, Error> {
        let mut erased = Erased::default();
        let mut revision = None;
        loop {
            let begun = Instant::now();
            let mut tx = self.begin().await?;
            tx.lock(&[feed]).await?;
            let rows = tx.oldest(feed).await?;
            if rows.is_empty() {
                break;
            }
            revision = Some(tx.remove(self, feed, &rows).await?);
            tx.commit().await?;
            erased.events += rows.len() as u64;
            sleep(begun.elapsed()).await;
        }
        erased.revised.extend(revision.map(|revision| (feed, revision)));
        Ok(erased)
    }
}
