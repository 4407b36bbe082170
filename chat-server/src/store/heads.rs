//! Where logs stand: one query for many.

use std::collections::HashMap;

use sqlx::Row as _;
use uuid::Uuid;

use super::monitor::Need;
use super::sql::{Database, args};
use super::{Error, Query, Store};
use crate::room::LogId;

/// Logs in one query.
const QUERY_MAX: usize = 4096;

pub(super) const POSTGRES: &str =
    "SELECT id, head, trimmed, revision FROM rooms WHERE id = ANY ($1)";

pub(super) const SQLITE: &str = "SELECT r.id, r.head, r.trimmed, r.revision \
    FROM json_each($1) asked CROSS JOIN rooms r INDEXED BY sqlite_autoindex_rooms_1 \
        ON r.id = unhex(asked.value)";

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The newest offset; 0 for a log in which nothing was ever written.
    pub offset: u64,
    /// Retention removed the offsets up to this one.
    pub trimmed: u64,
    /// Another number means that kept events changed without a new one: what is kept in memory
    /// is to be forgotten.
    pub revision: u64,
}

impl Store {
    /// Gives all offsets a new life: what clients know of their positions no longer counts.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn begin_epoch(&self) -> Result<(), Error> {
        let epoch = Uuid::new_v4().simple().to_string();
        let epoch = epoch.as_bytes().get(..8).unwrap_or_default();
        let mut tx = self.begin().await?;
        tx.execute("UPDATE meta SET value = $1 WHERE key = 'epoch'", args![epoch]).await?;
        tx.commit().await
    }

    /// Where a log stands; one that does not exist stands at 0. Cheap to ask from many tasks at
    /// once.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn head(&self, log: LogId) -> Result<Head, Error> {
        self.heads_asked.ask(log, |logs| async move { self.heads(Query::Head, &logs).await }).await
    }

    /// Where these logs stand, in their order; one that does not exist stands at 0.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn heads(&self, why: Query, logs: &[LogId]) -> Result<Vec<Head>, Error> {
        let mut found = HashMap::with_capacity(logs.len());
        for logs in logs.chunks(QUERY_MAX) {
            found.extend(self.monitor.guard(Need::Read, self.query_heads(why, logs)).await?);
        }
        Ok(logs.iter().map(|log| found.get(log).copied().unwrap_or_default()).collect())
    }

    async fn query_heads(
        &self,
        why: Query,
        logs: &[LogId],
    ) -> Result<Vec<(LogId, Head)>, sqlx::Error> {
        self.count(why);
        macro_rules! head {
            ($row:expr) => {{
                let (id, offset, trimmed, revision): (Uuid, i64, i64, i64) =
                    ($row.try_get(0)?, $row.try_get(1)?, $row.try_get(2)?, $row.try_get(3)?);
                let (offset, trimmed) = (offset.cast_unsigned(), trimmed.cast_unsigned());
                let head = Head { offset, trimmed, revision: revision.cast_unsigned() };
                Ok((LogId::from_uuid(id), head))
            }};
        }
        match &self.database {
            Database::Postgres(pool) => {
                let ids: Vec<Uuid> = logs.iter().map(|log| log.uuid()).collect();
                let rows = sqlx::query(POSTGRES).bind(ids).fetch_all(&pool.get()).await?;
                rows.iter().map(|row| head!(row)).collect()
            }
            Database::Sqlite { readers, .. } => {
                let ids: Vec<String> =
                    logs.iter().map(|log| log.uuid().simple().to_string()).collect();
                let ids = serde_json::to_string(&ids).expect("texts are JSON");
                let rows = sqlx::query(SQLITE).bind(ids).fetch_all(readers).await?;
                rows.iter().map(|row| head!(row)).collect()
            }
        }
    }
}
