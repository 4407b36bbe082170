//! The way one would write it first: a transaction for each message, a statement for each step.

use std::time::Duration;

use chat_server::store::Draft;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;

use crate::bed::Source;
use crate::load::Outcome;

const LOCK: &str = "SELECT head FROM rooms WHERE id = $1 FOR NO KEY UPDATE";

const REPEAT: &str =
    "SELECT off, id FROM messages WHERE room_id = $1 AND sender = $2 AND idem = $3";

const HEAD: &str = "UPDATE rooms SET head = head + 1 WHERE id = $1 RETURNING head";

const ROW: &str = "INSERT INTO messages \
    (room_id, off, id, kind, sender, idem, digest, created_at, payload) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, (extract(epoch FROM now()) * 1000)::bigint, $8)";

/// One message after the other on one connection: BEGIN, lock, look for a repeat, advance the
/// head, insert, COMMIT. It does less than the store: nobody's right to write is checked.
pub(crate) async fn six_statements(
    pool: &PgPool,
    source: &Source,
    time: Duration,
) -> Result<Outcome, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let sent = Instant::now();
        append(&mut connection, &source.message()).await?;
        latencies.push(sent.elapsed());
    }
    let outcome = Outcome::of(latencies, 0, begun.elapsed());
    connection.close().await?;
    Ok(outcome)
}

async fn append(connection: &mut PgConnection, draft: &Draft) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    let (log, sender) = (draft.log.uuid(), &*draft.sender);
    sqlx::query(LOCK).bind(log).fetch_one(&mut *tx).await?;
    let repeat = sqlx::query(REPEAT).bind(log).bind(sender).bind(draft.idem);
    if repeat.fetch_optional(&mut *tx).await?.is_some() {
        return Ok(());
    }
    let head: i64 = sqlx::query_scalar(HEAD).bind(log).fetch_one(&mut *tx).await?;
    sqlx::query(ROW)
        .bind(log)
        .bind(head)
        .bind(draft.id.uuid())
        .bind(draft.kind.number())
        .bind(sender)
        .bind(draft.idem)
        .bind(draft.digest)
        .bind(draft.data.as_bytes())
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
