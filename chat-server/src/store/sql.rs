//! One way to speak to both databases: values, rows, and transactions that fit either.
//!
//! Placeholders are `$1`, `$2` .. in both. [`Tx::lock`] is the only difference:
//! PostgreSQL locks rows, a SQLite writer holds the whole database from its first statement.
//! The hot path (`append`, `log::page`) goes around this and speaks to each database natively.

use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{Decode, Postgres, Row as _, Sqlite, Transaction, Type};
use uuid::Uuid;

use super::monitor::Need;
use super::{Error, Monitor, Query, Store};
use crate::room::LogId;

/// The two databases.
#[derive(Debug)]
pub(super) enum Database {
    /// Many connections, any of which reads and writes.
    Postgres(chassis::postgres::Pool),
    /// One writer, several readers.
    Sqlite {
        /// One connection: writers wait for each other here, in order.
        writer: SqlitePool,
        /// What readers share.
        readers: SqlitePool,
    },
}

/// A transaction; dropped without [`Tx::commit`] it is rolled back.
#[derive(Debug)]
pub(super) struct Tx {
    inner: Inner,
    monitor: Arc<Monitor>,
    /// What it was begun for.
    need: Need,
}

#[derive(Debug)]
enum Inner {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// One row of either.
#[derive(Debug)]
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Uuid(Uuid),
    MaybeUuid(Option<Uuid>),
    Int(i64),
    MaybeInt(Option<i64>),
    Small(i16),
    MaybeSmall(Option<i16>),
    Text(String),
    MaybeText(Option<String>),
    Bytes(Vec<u8>),
    MaybeBytes(Option<Vec<u8>>),
}

/// The parameters of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use args;

macro_rules! from {
    ($($type:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

from! {
    Uuid => Uuid, Option<Uuid> => MaybeUuid, i64 => Int, Option<i64> => MaybeInt,
    i16 => Small, Option<i16> => MaybeSmall, &str => Text, String => Text,
    Option<String> => MaybeText, Vec<u8> => Bytes, &[u8] => Bytes, Option<Vec<u8>> => MaybeBytes,
}

impl From<&Arc<str>> for Value {
    fn from(value: &Arc<str>) -> Self {
        Self::Text(value.to_string())
    }
}

/// Offsets, times and counts: far below 2^63, for JSON numbers stay below 2^53.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

macro_rules! bind {
    ($query:expr, $args:expr) => {
        $args.into_iter().fold($query, |query, value| match value {
            Value::Uuid(value) => query.bind(value),
            Value::MaybeUuid(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::MaybeInt(value) => query.bind(value),
            Value::Small(value) => query.bind(value),
            Value::MaybeSmall(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::MaybeText(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::MaybeBytes(value) => query.bind(value),
        })
    };
}

type PgQuery = sqlx::query::Query<'static, Postgres, PgArguments>;
type SqliteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

fn postgres(sql: &'static str, args: Vec<Value>) -> PgQuery {
    bind!(sqlx::query(sql), args)
}

fn sqlite(sql: &'static str, args: Vec<Value>) -> SqliteQuery {
    bind!(sqlx::query(sql), args)
}

impl Store {
    /// Begins a transaction that may write.
    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        let begin = async {
            match &self.database {
                Database::Postgres(pool) => pool.get().begin().await.map(Inner::Postgres),
                Database::Sqlite { writer, .. } => {
                    writer.begin_with("BEGIN IMMEDIATE").await.map(Inner::Sqlite)
                }
            }
        };
        self.count(Query::Change);
        let inner = self.monitor.guard(Need::Write, begin).await?;
        Ok(Tx { inner, monitor: self.monitor.clone(), need: Need::Write })
    }

    /// Begins a transaction that only reads, and sees the database as it is at its first statement
    /// whatever is committed meanwhile; nobody waits for it, so it may rest as long as it likes.
    pub(super) async fn begin_snapshot(&self) -> Result<Tx, Error> {
        const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        const MAY_REST: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";
        let begin = async {
            match &self.database {
                Database::Postgres(pool) => {
                    pool.get().begin_with(SNAPSHOT).await.map(Inner::Postgres)
                }
                Database::Sqlite { readers, .. } => readers.begin().await.map(Inner::Sqlite),
            }
        };
        self.count(Query::Other);
        let inner = self.monitor.guard(Need::Read, begin).await?;
        let mut tx = Tx { inner, monitor: self.monitor.clone(), need: Need::Read };
        if matches!(tx.inner, Inner::Postgres(_)) {
            tx.execute(MAY_REST, args![]).await?;
        }
        Ok(tx)
    }

    /// Every row of one statement that only reads, outside of any transaction.
    pub(super) async fn read(
        &self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, Error> {
        self.read_as(Query::Other, sql, args).await
    }

    /// The same, counted as what it is for.
    pub(super) async fn read_as(
        &self,
        query: Query,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, Error> {
        self.count(query);
        let rows = async {
            match &self.database {
                Database::Postgres(pool) => {
                    let pool: PgPool = pool.get();
                    let rows = postgres(sql, args).fetch_all(&pool).await;
                    rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
                }
                Database::Sqlite { readers, .. } => {
                    let rows = sqlite(sql, args).fetch_all(readers).await;
                    rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        };
        self.monitor.guard(Need::Read, rows).await
    }

    /// The only row of one statement that only reads, if there is one.
    pub(super) async fn read_one(
        &self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, Error> {
        Ok(self.read(sql, args).await?.into_iter().next())
    }
}

impl Tx {
    /// Locks the rooms of these logs until the end of the transaction, in one order for everyone,
    /// and tells the time: what is read afterwards stays true.
    pub(super) async fn lock(&mut self, logs: &[LogId]) -> Result<u64, Error> {
        let Inner::Postgres(tx) = &mut self.inner else {
            // The transaction began with the lock of the whole database.
            return Ok(crate::command::unix_millis());
        };
        let ids: Vec<Uuid> = logs.iter().map(|log| log.uuid()).collect();
        let lock = "SELECT id FROM rooms WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
        let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let locked = sqlx::query(lock).bind(ids).fetch_all(&mut **tx);
        self.monitor.guard(self.need, locked).await?;
        let now = self.row(clock, args![]).await?;
        now.ok_or_else(|| Error::Broken("no clock".to_owned()))?.unsigned(0)
    }

    /// Every row.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, Error> {
        let rows = async {
            match &mut self.inner {
                Inner::Postgres(tx) => {
                    let rows = postgres(sql, args).fetch_all(&mut **tx).await;
                    rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
                }
                Inner::Sqlite(tx) => {
                    let rows = sqlite(sql, args).fetch_all(&mut **tx).await;
                    rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        };
        self.monitor.guard(self.need, rows).await
    }

    /// The only row, if there is one.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Changes rows and says how many.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<u64, Error> {
        let done = async {
            match &mut self.inner {
                Inner::Postgres(tx) => {
                    let done = postgres(sql, args).execute(&mut **tx).await;
                    done.map(|done| done.rows_affected())
                }
                Inner::Sqlite(tx) => {
                    let done = sqlite(sql, args).execute(&mut **tx).await;
                    done.map(|done| done.rows_affected())
                }
            }
        };
        self.monitor.guard(self.need, done).await
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<(), Error> {
        let done = async {
            match self.inner {
                Inner::Postgres(tx) => tx.commit().await,
                Inner::Sqlite(tx) => tx.commit().await,
            }
        };
        self.monitor.guard(self.need, done).await
    }
}

impl Row {
    /// A column by its place.
    pub(super) fn get<T>(&self, column: usize) -> Result<T, Error>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
    {
        let value = match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        };
        value.map_err(|error| Error::Broken(error.to_string()))
    }

    /// A column that is an offset, a time or a count.
    pub(super) fn unsigned(&self, column: usize) -> Result<u64, Error> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|_negative| Error::Broken(format!("{value} is below 0")))
    }
}
