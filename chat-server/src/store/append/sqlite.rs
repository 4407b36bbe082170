//! A batch in SQLite: a few statements over JSON arrays, whatever the size of the batch.
//!
//! Every statement is a round trip to the thread of the connection, which costs more than a row:
//! one statement a row is what would make a batch slow. Payloads go as one piece, cut by place.
//! The indexes are named because the planner may not choose: where somebody has run ANALYZE, a
//! room in which nobody uses keys makes it read all messages for each key. They are those of the
//! constraints, in the order of the table's definition.

use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite, Transaction};
use uuid::Uuid;

use super::{Appended, Batch, Status, Verdict, time_of};
use crate::command::unix_millis;
use crate::room::MessageId;
use crate::store::{Access, Error};

pub(in crate::store) const FEEDS: &str = "INSERT INTO rooms (id, kind, created_at) \
    SELECT unhex(value), 4, $2 FROM json_each($1) WHERE true ON CONFLICT (id) DO NOTHING";

/// What is not simply written: repeats, and what is refused. The numbers are those of
/// `append_batch` in PostgreSQL, and so are the rules.
pub(in crate::store) const EXCEPTIONS: &str = "SELECT place, status, off, id, at, digest, until FROM (\
    SELECT d.key AS place, \
        CASE WHEN x.off IS NOT NULL OR k.off IS NOT NULL THEN 1 \
            WHEN r.id IS NULL THEN 2 \
            WHEN NOT d.value ->> 2 THEN 0 \
            WHEN r.kind = 4 THEN 2 \
            WHEN m.banned_until > $2 THEN 3 \
            WHEN m.role IS NULL THEN 4 \
            WHEN r.archived_at IS NOT NULL THEN 5 \
            WHEN m.muted_until > $2 THEN 6 \
            WHEN m.role < 2 THEN 7 \
            ELSE 0 END AS status, \
        coalesce(x.off, k.off) AS off, coalesce(x.id, k.id) AS id, x.created_at AS at, \
        coalesce(x.digest, k.digest) AS digest, \
        CASE WHEN m.banned_until > $2 THEN m.banned_until ELSE m.muted_until END AS until \
    FROM json_each($1) d \
    LEFT JOIN rooms r INDEXED BY sqlite_autoindex_rooms_1 ON r.id = unhex(d.value ->> 0) \
    LEFT JOIN members m INDEXED BY sqlite_autoindex_members_1 \
        ON m.room_id = unhex(d.value ->> 0) AND m.user_id = d.value ->> 1 \
    LEFT JOIN messages x INDEXED BY sqlite_autoindex_messages_3 \
        ON x.room_id = unhex(d.value ->> 0) AND x.sender = d.value ->> 1 \
            AND x.idem = unhex(d.value ->> 3) \
    LEFT JOIN publish_keys k INDEXED BY sqlite_autoindex_publish_keys_1 \
        ON x.off IS NULL AND k.room_id = unhex(d.value ->> 0) \
            AND k.sender_hash = unhex(d.value ->> 4) AND k.idem = unhex(d.value ->> 3)\
    ) WHERE status <> 0";

pub(in crate::store) const HEADS: &str = "UPDATE rooms INDEXED BY sqlite_autoindex_rooms_1 \
    SET head = rooms.head + c.count \
    FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS count FROM json_each($1)) AS c \
    WHERE rooms.id = c.id RETURNING rooms.id, rooms.head";

pub(in crate::store) const ROWS: &str = "INSERT INTO messages \
        (room_id, off, id, kind, sender, idem, digest, created_at, payload) \
    SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, \
        unhex(value ->> 5), value ->> 6, $3, substr($2, value ->> 7, value ->> 8) \
    FROM json_each($1)";

/// Bytes as JSON text.
#[derive(Debug, Clone, Copy)]
struct Hex<'a>(&'a [u8]);

/// Writes what may be written.
pub(super) async fn append(
    pool: &SqlitePool,
    batch: &Batch<'_>,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let now = unix_millis().cast_signed();
    if !batch.feeds.is_empty() {
        let feeds: Vec<_> = batch.feeds.iter().map(|feed| Hex(feed.as_bytes())).collect();
        sqlx::query(FEEDS).bind(json(&feeds)).bind(now).execute(&mut *tx).await?;
    }
    let mut verdicts: Vec<Option<Verdict>> = vec![None; batch.drafts.len()];
    for (place, verdict) in exceptions(&mut tx, batch, now).await? {
        verdicts[place] = Some(verdict);
    }
    let new = verdicts.iter().enumerate().filter_map(|(place, known)| match known {
        Some(_) => None,
        None => Some(place),
    });
    let new: Vec<usize> = new.collect();
    if !new.is_empty() {
        for (place, offset) in write(&mut tx, batch, &new, now).await? {
            let draft = batch.drafts[place];
            let offset = offset.cast_unsigned();
            let appended = Appended { offset, id: draft.id, time_ms: now, duplicate: false };
            verdicts[place] = Some(Verdict::Stands { appended, digest: draft.digest });
        }
    }
    tx.commit().await?;
    let missing = || Verdict::Refused(Error::Broken("a draft was passed over".to_owned()));
    Ok(verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(missing)).collect())
}

async fn exceptions(
    tx: &mut Transaction<'_, Sqlite>,
    batch: &Batch<'_>,
    now: i64,
) -> Result<Vec<(usize, Verdict)>, sqlx::Error> {
    let asked = batch.drafts.iter().zip(&batch.hashes).map(|(draft, hash)| {
        (
            Hex(draft.log.as_bytes()),
            &*draft.sender,
            draft.access == Access::Member,
            draft.idem.as_ref().map(|idem| Hex(idem.as_bytes())),
            hash.as_ref().map(|hash| Hex(hash)),
        )
    });
    let asked: Vec<_> = asked.collect();
    let query = sqlx::query(EXCEPTIONS).bind(json(&asked)).bind(now);
    let rows = query.fetch_all(&mut **tx).await?;
    rows.iter().map(exception).collect()
}

fn exception(row: &SqliteRow) -> Result<(usize, Verdict), sqlx::Error> {
    let place: i64 = row.try_get(0)?;
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let number: i16 = row.try_get(1)?;
    if number != Status::DUPLICATE {
        let until: Option<i64> = row.try_get(6)?;
        let status = Status { number, until: until.unwrap_or(0) };
        return Ok((place, Verdict::Refused(status.refusal())));
    }
    let offset: i64 = row.try_get(2)?;
    let id: Uuid = row.try_get(3)?;
    let id = MessageId::from_uuid(id);
    let time: Option<i64> = row.try_get(4)?;
    let time_ms = time.unwrap_or_else(|| time_of(id));
    let appended = Appended { offset: offset.cast_unsigned(), id, time_ms, duplicate: true };
    Ok((place, Verdict::Stands { appended, digest: row.try_get(5)? }))
}

/// Writes the drafts at these places and says at which offsets.
async fn write(
    tx: &mut Transaction<'_, Sqlite>,
    batch: &Batch<'_>,
    places: &[usize],
    now: i64,
) -> Result<Vec<(usize, i64)>, sqlx::Error> {
    let mut counts: HashMap<Uuid, i64> = HashMap::new();
    for &place in places {
        *counts.entry(batch.drafts[place].log.uuid()).or_default() += 1;
    }
    let asked: Vec<_> = counts.iter().map(|(log, count)| (Hex(log.as_bytes()), count)).collect();
    let rows = sqlx::query(HEADS).bind(json(&asked)).fetch_all(&mut **tx).await?;
    // The offset that was given last in each log.
    let mut heads: HashMap<Uuid, i64> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (log, head): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
        heads.insert(log, head - counts[&log]);
    }
    let mut payloads: Vec<u8> = Vec::new();
    let mut written = Vec::with_capacity(places.len());
    let mut entries = Vec::with_capacity(places.len());
    for &place in places {
        let draft = batch.drafts[place];
        let head = heads.get_mut(&draft.log.uuid()).ok_or(sqlx::Error::RowNotFound)?;
        *head += 1;
        written.push((place, *head));
        let data = draft.data.as_bytes();
        entries.push((
            Hex(draft.log.as_bytes()),
            *head,
            Hex(draft.id.as_bytes()),
            draft.kind.number(),
            &*draft.sender,
            draft.idem.as_ref().map(|idem| Hex(idem.as_bytes())),
            draft.digest,
            payloads.len() + 1,
            data.len(),
        ));
        payloads.extend_from_slice(data);
    }
    sqlx::query(ROWS).bind(json(&entries)).bind(payloads).bind(now).execute(&mut **tx).await?;
    Ok(written)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
