//! A batch in PostgreSQL: one call of `append_batch`, which is a transaction by itself.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{Appended, Batch, Status, Verdict, time_of};
use crate::room::MessageId;
use crate::store::Access;

const APPEND: &str = "SELECT statuses, offs, ids, times, digests, untils \
     FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Writes what may be written.
pub(super) async fn append(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let drafts = &batch.drafts;
    let logs: Vec<Uuid> = drafts.iter().map(|draft| draft.log.uuid()).collect();
    let senders: Vec<&str> = drafts.iter().map(|draft| &*draft.sender).collect();
    let member: Vec<bool> = drafts.iter().map(|draft| draft.access == Access::Member).collect();
    let idems: Vec<Option<Uuid>> = drafts.iter().map(|draft| draft.idem).collect();
    let hashes: Vec<Option<&[u8]>> = batch.hashes.iter().map(Option::as_deref).collect();
    let digests: Vec<i64> = drafts.iter().map(|draft| draft.digest).collect();
    let ids: Vec<Uuid> = drafts.iter().map(|draft| draft.id.uuid()).collect();
    let kinds: Vec<i16> = drafts.iter().map(|draft| draft.kind.number()).collect();
    let payloads: Vec<&[u8]> = drafts.iter().map(|draft| draft.data.as_bytes()).collect();
    let row = sqlx::query(APPEND)
        .bind(&batch.feeds)
        .bind(logs)
        .bind(senders)
        .bind(member)
        .bind(idems)
        .bind(hashes)
        .bind(digests)
        .bind(ids)
        .bind(kinds)
        .bind(payloads)
        .fetch_one(connection)
        .await?;
    verdicts(&row)
}

fn verdicts(row: &PgRow) -> Result<Vec<Verdict>, sqlx::Error> {
    let statuses: Vec<i16> = row.try_get(0)?;
    let offsets: Vec<Option<i64>> = row.try_get(1)?;
    let ids: Vec<Uuid> = row.try_get(2)?;
    let times: Vec<Option<i64>> = row.try_get(3)?;
    let digests: Vec<i64> = row.try_get(4)?;
    let untils: Vec<Option<i64>> = row.try_get(5)?;
    let verdict = |place: usize| {
        let status = Status { number: statuses[place], until: untils[place].unwrap_or(0) };
        let id = MessageId::from_uuid(ids[place]);
        match offsets[place].and_then(|offset| u64::try_from(offset).ok()) {
            Some(offset) if status.number <= Status::DUPLICATE => Verdict::Stands {
                appended: Appended {
                    offset,
                    id,
                    time_ms: times[place].unwrap_or_else(|| time_of(id)),
                    duplicate: status.number == Status::DUPLICATE,
                },
                digest: digests[place],
            },
            _ => Verdict::Refused(status.refusal()),
        }
    };
    Ok((0..statuses.len()).map(verdict).collect())
}
