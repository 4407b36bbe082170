//! How the database goes about the statements that are run most.
//!
//! A log of a million rows is as quick as one of ten only as long as every row is found by an
//! index. What the planner makes of that depends on the tables, so it is asked of the real ones.
//! `append_batch` of PostgreSQL cannot be asked: it forbids itself everything else.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::append::sqlite as append;
use super::monitor::Need;
use super::sql::Database;
use super::{Error, Store, heads, page, standings};
use crate::room::LogId;

/// The statements over a log by what they do.
const POSTGRES: [(&str, &str); 2] =
    [("page after", page::POSTGRES_AFTER), ("page before", page::POSTGRES_BEFORE)];

const SQLITE: [(&str, &str); 8] = [
    ("page after", page::SQLITE_AFTER),
    ("page before", page::SQLITE_BEFORE),
    ("heads", heads::SQLITE),
    ("standings", standings::SQLITE),
    ("append: feeds", append::FEEDS),
    ("append: exceptions", append::EXCEPTIONS),
    ("append: heads", append::HEADS),
    ("append: rows", append::ROWS),
];

/// What stands for a table that is read by an index (a bitmap is made by one) or not at all: arrays,
/// and parts of the statement.
const HARMLESS: [&str; 6] = [
    "Index Scan",
    "Index Only Scan",
    "Bitmap Heap Scan",
    "Function Scan",
    "Subquery Scan",
    "VIRTUAL TABLE",
];

/// The plan of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which statement.
    pub name: &'static str,
    /// Its steps, as the database words them.
    pub steps: Vec<String>,
}

impl Store {
    /// The plans of what is read and written most, for a page in the middle of this log.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn plans(&self, log: LogId) -> Result<Vec<Plan>, Error> {
        let middle = self.head(log).await?.offset.cast_signed() / 2;
        self.monitor.guard(Need::Read, self.explain(log, middle)).await
    }

    async fn explain(&self, log: LogId, middle: i64) -> Result<Vec<Plan>, sqlx::Error> {
        let mut plans = Vec::new();
        match &self.database {
            Database::Postgres(pool) => {
                let pool = pool.get();
                let lines = |rows: Vec<sqlx::postgres::PgRow>| {
                    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()
                };
                for (name, sql) in POSTGRES {
                    let query = sqlx::query(AssertSqlSafe(format!("EXPLAIN {sql}")));
                    let query = query.bind(log.uuid()).bind(middle).bind(256_i64);
                    let steps = lines(query.bind(i64::MAX).fetch_all(&pool).await?)?;
                    plans.push(Plan { name, steps });
                }
                let logs: Vec<Uuid> = (0..16).map(|_| Uuid::new_v4()).collect();
                let query = sqlx::query(AssertSqlSafe(format!("EXPLAIN {}", heads::POSTGRES)));
                let steps = lines(query.bind(logs).fetch_all(&pool).await?)?;
                plans.push(Plan { name: "heads", steps });
            }
            Database::Sqlite { readers, .. } => {
                for (name, sql) in SQLITE {
                    // Values make no difference to its planner.
                    let query = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
                    let rows = query.fetch_all(readers).await?;
                    let step = |row: &SqliteRow| row.try_get("detail");
                    let steps = rows.iter().map(step).collect::<Result<_, _>>()?;
                    plans.push(Plan { name, steps });
                }
            }
        }
        Ok(plans)
    }
}

impl Plan {
    /// The steps that read a table from end to end, or put rows in order that an index has in
    /// order.
    pub fn full_scans(&self) -> impl Iterator<Item = &str> {
        let is_bad = |step: &&str| {
            let reads = step.contains(" Scan") || step.starts_with("SCAN ");
            let sorts = step.contains("Sort") || step.contains("TEMP B-TREE");
            sorts || (reads && !HARMLESS.iter().any(|harmless| step.contains(harmless)))
        };
        self.steps.iter().map(String::as_str).filter(is_bad)
    }
}
