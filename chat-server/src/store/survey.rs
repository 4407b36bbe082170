//! What can be said of a database without opening it as a store: nothing is made or changed.

use std::path::Path;

use secrecy::SecretString;
use sqlx::migrate::Migrate;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use super::migrate::{self, TABLE};
use super::open::{OpenError, Problem, Settings, Target, is_writable};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Migrations that the next start applies.
    pub waiting: usize,
    /// What a server says of itself; a file says nothing.
    pub server: Option<Server>,
}

/// A PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, such as 150018 for 15.18.
    pub version: u32,
    /// Connections that users who are no superusers may have, of all programs together.
    pub connections_max: u32,
}

const SERVER: &str = "SELECT current_setting('server_version_num')::int, \
    current_setting('max_connections')::int \
        - current_setting('superuser_reserved_connections')::int, \
    to_regclass($1) IS NOT NULL";

const HAS_TABLE: &str = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = $1";

impl Settings {
    /// Looks at the database.
    ///
    /// # Errors
    /// Why it could not be opened as a store.
    pub async fn survey(&self) -> Result<Survey, OpenError> {
        let survey = match &self.target {
            Target::Postgres(url) => self.survey_postgres(url).await,
            Target::Sqlite(path) => self.survey_sqlite(path).await,
        };
        survey.map_err(|problem| self.target.problem(problem))
    }

    async fn survey_postgres(&self, url: &SecretString) -> Result<Survey, Problem> {
        let mut connection: PgConnection = self.pool(url)?.connect().await?;
        if !is_writable(&mut connection).await? {
            return Err(Problem::ReadOnly);
        }
        let row = sqlx::query(SERVER).bind(TABLE).fetch_one(&mut connection).await?;
        let count = |column| {
            let count: i32 = row.try_get(column)?;
            Ok::<u32, sqlx::Error>(u32::try_from(count).unwrap_or(0))
        };
        let server = Server { version: count(0)?, connections_max: count(1)? };
        let waiting = match row.try_get(2)? {
            true => waiting(&mut connection, migrate::POSTGRES).await?,
            false => migrate::POSTGRES.len(),
        };
        connection.close().await?;
        Ok(Survey { waiting, server: Some(server) })
    }

    async fn survey_sqlite(&self, path: &Path) -> Result<Survey, Problem> {
        let fresh = Survey { waiting: migrate::SQLITE.len(), server: None };
        if !path.exists() {
            return Ok(fresh);
        }
        let mut connection = SqliteConnection::connect_with(&self.sqlite(path)).await?;
        // Taken back: what cannot be written to says so before.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        tx.execute("CREATE TABLE survey (id INTEGER)").await?;
        tx.rollback().await?;
        let has_table = sqlx::query_scalar(HAS_TABLE).bind(TABLE).fetch_one(&mut connection);
        if !has_table.await? {
            return Ok(fresh);
        }
        let waiting = waiting(&mut connection, migrate::SQLITE).await?;
        connection.close().await?;
        Ok(Survey { waiting, server: None })
    }
}

async fn waiting<C: Migrate>(
    connection: &mut C,
    files: &'static [migrate::File],
) -> Result<usize, Problem> {
    let applied = connection.list_applied_migrations(TABLE).await;
    let applied = applied.map_err(migrate::unexpected)?;
    Ok(migrate::missing(&applied, files)?.len())
}
