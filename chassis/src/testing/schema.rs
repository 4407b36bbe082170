//! A schema of one's own in the PostgreSQL of the test environment.
//!
//! Everything a program under test makes through [`Schema::url`] lies in that schema, so tests run
//! at the same time in one database. The schema goes with the value. What a killed test left behind
//! is dropped by a later one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

/// What the names begin with; the Unix second of their making follows.
const PREFIX: &str = "test_";

/// A schema older than this was left behind: no test takes as long.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Longest the end of a test waits for its schema to be dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends whoever still uses a schema: a program under test that nobody stopped may hold a lock, and
/// dropping would wait for it.
const END_USERS: &str = "SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT l.pid \
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND l.pid <> pg_backend_pid()) AS users";

const OLD: &str = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE $1 \
    AND split_part(nspname, '_', 2)::bigint < $2 ORDER BY random() LIMIT 3";

/// An empty schema.
#[derive(Debug)]
pub struct Schema {
    name: String,
    /// The database, and
    server: String,
    /// the same with this schema in front of all others.
    url: String,
}

impl Schema {
    /// Makes one in the database that `DATABASE_URL` names.
    ///
    /// # Panics
    /// When there is no such database: a test that needs one cannot go on.
    pub async fn create() -> Self {
        let server = database_url();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        let name = format!("{PREFIX}{}_{}", now.as_secs(), Uuid::new_v4().simple());
        let mut connection = match PgConnection::connect(&server).await {
            Ok(connection) => connection,
            Err(error) => panic!("the PostgreSQL of the tests does not answer: {error}. {HINT}"),
        };
        let made = connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).await;
        made.expect("the user of DATABASE_URL may create schemas");
        let old = now.saturating_sub(LEFT_BEHIND).as_secs().cast_signed();
        let old = sqlx::query_scalar(OLD).bind(format!("{PREFIX}%")).bind(old);
        let old: Vec<String> = old.fetch_all(&mut connection).await.expect("schemas are listed");
        for name in old {
            // Another test may be dropping it too: then it is gone either way.
            drop(remove(&mut connection, &name).await);
        }
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options=-csearch_path%3D{name}");
        Self { name, server, url }
    }

    /// What a program under test is given as `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: that of the test cannot wait here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                let removed = async {
                    let mut connection = PgConnection::connect(&server).await?;
                    remove(&mut connection, &name).await?;
                    connection.close().await
                };
                // What cannot be dropped now is dropped by a later test.
                drop(tokio::time::timeout(DROP_TIMEOUT, removed).await);
            });
        });
        drop(dropped.join());
    }
}

/// Where a PostgreSQL can be had.
const HINT: &str = "eval \"$(ops/dev/services.sh)\" starts one and exports DATABASE_URL";

/// The PostgreSQL of the test environment.
///
/// # Panics
/// When there is none.
fn database_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration of their own")]
    let url = std::env::var("DATABASE_URL");
    url.unwrap_or_else(|_| panic!("DATABASE_URL is not set. {HINT}"))
}

async fn remove(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query(END_USERS).bind(name).fetch_all(&mut *connection).await?;
    let drop = format!("DROP SCHEMA IF EXISTS {name} CASCADE");
    connection.execute(AssertSqlSafe(drop)).await?;
    Ok(())
}
