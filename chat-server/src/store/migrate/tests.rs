//! Migrations that go wrong, against both databases, and the list of the real ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chassis::testing::{Schema, deadline};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

use super::*;
use crate::store::{Settings, Store, Target};

const FIRST: File = File {
    name: "0001_first",
    sql: "CREATE TABLE meta (key text, value bytea);\n\
        INSERT INTO meta VALUES ('secret', decode(repeat('00', 32), 'hex'))",
};
const FIRST_SQLITE: File = File {
    name: "0001_first",
    sql: "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB);\n\
        INSERT INTO meta VALUES ('secret', zeroblob(32))",
};
const SECOND: File = File { name: "0002_second", sql: "CREATE TABLE second (id integer)" };
/// Its first statement is fine, and there are rows by the time it fails.
const HALF: File = File {
    name: "0002_half",
    sql: "CREATE TABLE half (id integer);\n\
        INSERT INTO half VALUES (1);\n\
        INSERT INTO nowhere VALUES (1)",
};
const INDEX: File = File {
    name: "0002_index",
    sql: "-- no-transaction\nCREATE INDEX CONCURRENTLY meta_key ON meta (key)",
};

/// A database of each kind, with the first migration for it.
struct Ground {
    settings: Settings,
    first: File,
    _data: tempfile::TempDir,
    _schema: Option<Schema>,
}

impl Ground {
    fn sqlite() -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings::new(Target::Sqlite(data.path().join("veza.db")));
        Self { settings, first: FIRST_SQLITE, _data: data, _schema: None }
    }

    async fn postgres() -> Self {
        let schema = Schema::create().await;
        let settings = Settings::new(Target::Postgres(schema.url().into()));
        let data = tempfile::tempdir().unwrap();
        Self { settings, first: FIRST, _data: data, _schema: Some(schema) }
    }

    /// Opens it with the first migration and these.
    async fn open(&self, others: &[File]) -> Result<(), Problem> {
        let files = [&[self.first], others].concat().leak();
        let opened = deadline(Store::open_with(&self.settings, files)).await;
        opened.map(drop).map_err(|error| error.problem)
    }

    /// The tables that are there, but for those of the bookkeeping.
    async fn tables(&self) -> Vec<String> {
        match &self.settings.target {
            Target::Postgres(url) => {
                let pool = self.settings.pool(url).unwrap().get();
                let sql = "SELECT tablename::text FROM pg_tables \
                    WHERE schemaname = current_schema() AND tablename <> $1 ORDER BY 1";
                sqlx::query_scalar(sql).bind(TABLE).fetch_all(&pool).await.unwrap()
            }
            Target::Sqlite(path) => {
                let options = self.settings.sqlite(path);
                let mut file = SqliteConnection::connect_with(&options).await.unwrap();
                let sql = "SELECT name FROM sqlite_schema \
                    WHERE type = 'table' AND name <> $1 ORDER BY 1";
                sqlx::query_scalar(sql).bind(TABLE).fetch_all(&mut file).await.unwrap()
            }
        }
    }

    async fn a_migration_that_fails_halfway_leaves_nothing_behind(self) {
        let failed = self.open(&[HALF]).await.unwrap_err();
        let Problem::Failed { file: "0002_half", reason } = failed else { panic!("{failed}") };
        assert!(reason.contains("nowhere"), "what the database said: {reason}");
        assert_eq!(self.tables().await, ["meta"]);
        // What was applied before stays, and a right one takes its place.
        self.open(&[SECOND]).await.unwrap();
        assert_eq!(self.tables().await, ["meta", "second"]);
    }

    async fn a_database_knows_what_was_applied_to_it(self) {
        self.open(&[SECOND]).await.unwrap();
        self.open(&[SECOND]).await.unwrap();
        let newer = self.open(&[]).await.unwrap_err();
        assert_eq!(newer, Problem::Newer { found: 2, known: 1 });
        let other = File { sql: "CREATE TABLE second (id integer, more integer)", ..SECOND };
        let changed = self.open(&[other]).await.unwrap_err();
        assert_eq!(changed, Problem::Changed { file: "0002_second" });
        let third = File { name: "0003_third", ..SECOND };
        assert_eq!(self.open(&[third]).await.unwrap_err(), Problem::Foreign { version: 2 });
        assert_eq!(self.tables().await, ["meta", "second"]);
    }
}

#[tokio::test]
async fn a_migration_that_fails_halfway_leaves_nothing_behind_in_sqlite() {
    Ground::sqlite().a_migration_that_fails_halfway_leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_migration_that_fails_halfway_leaves_nothing_behind_in_postgresql() {
    Ground::postgres().await.a_migration_that_fails_halfway_leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_sqlite_file_knows_what_was_applied_to_it() {
    Ground::sqlite().a_database_knows_what_was_applied_to_it().await;
}

#[tokio::test]
async fn a_postgresql_knows_what_was_applied_to_it() {
    Ground::postgres().await.a_database_knows_what_was_applied_to_it().await;
}

#[tokio::test]
async fn an_index_is_built_beside_writers_while_another_process_waits_to_migrate() {
    let ground = Ground::postgres().await;
    ground.open(&[]).await.unwrap();
    let all = tokio::join!(
        ground.open(&[INDEX]),
        ground.open(&[INDEX]),
        ground.open(&[INDEX]),
        ground.open(&[INDEX]),
    );
    assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
    let Target::Postgres(url) = &ground.settings.target else { unreachable!("it is one") };
    let pool = ground.settings.pool(url).unwrap().get();
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'meta_key'::regclass";
    assert!(sqlx::query_scalar::<_, bool>(valid).fetch_one(&pool).await.unwrap());
}

#[tokio::test]
async fn an_index_that_could_not_be_built_is_dropped_by_hand_and_built_again() {
    let unique = File {
        name: "0002_index",
        sql: "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY meta_key ON meta (key)",
    };
    let ground = Ground::postgres().await;
    ground.open(&[]).await.unwrap();
    let Target::Postgres(url) = &ground.settings.target else { unreachable!("it is one") };
    let pool = ground.settings.pool(url).unwrap().get();
    pool.execute("INSERT INTO meta VALUES ('twice', ''), ('twice', '')").await.unwrap();
    let reason = async || match ground.open(&[unique]).await {
        Err(Problem::Failed { file: "0002_index", reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason().await.contains("could not create unique index"));
    assert!(reason().await.contains("already exists"));
    pool.execute("DELETE FROM meta WHERE key = 'twice'").await.unwrap();
    pool.execute("DROP INDEX CONCURRENTLY meta_key").await.unwrap();
    ground.open(&[unique]).await.unwrap();
}

#[tokio::test]
async fn a_database_of_nobody_else_is_not_migrated() {
    let ground = Ground::postgres().await;
    let Target::Postgres(url) = &ground.settings.target else { unreachable!("it is one") };
    let pool = ground.settings.pool(url).unwrap().get();
    pool.execute("CREATE TABLE meta (mine integer)").await.unwrap();
    let failed = ground.open(&[]).await.unwrap_err();
    assert!(matches!(failed, Problem::Failed { file: "0001_first", .. }), "{failed}");
    assert_eq!(ground.tables().await, ["meta"]);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(name)
}

#[test]
fn every_file_of_the_repository_is_built_in_and_in_order() {
    for (name, files) in [("postgres", POSTGRES), ("sqlite", SQLITE)] {
        let found = std::fs::read_dir(folder(name)).unwrap();
        let found: BTreeSet<String> =
            found.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let built_in: Vec<String> = files.iter().map(|file| format!("{}.sql", file.name)).collect();
        assert_eq!(built_in, Vec::from_iter(found), "{name}");
        for (place, file) in files.iter().enumerate() {
            let (digits, idea) = file.name.split_once('_').unwrap();
            assert_eq!(digits.len(), 4, "{}", file.name);
            assert_eq!(file.version(), place as i64 + 1, "{}: without a gap", file.name);
            assert!(idea.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", file.name);
            assert!(file.sql.starts_with("-- "), "{}: says what it is for", file.name);
        }
    }
}
