//! Bringing a database to this version: once, by whoever comes first, or not at all.

use std::sync::Arc;

use chassis::testing::{Schema, deadline};
use chat_server::store::{Error, Problem, Settings, Store, Target};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Backend, Begin, Stage, http, on_both_stores};

/// A database that nobody has opened yet.
struct Fresh {
    settings: Settings,
    _data: tempfile::TempDir,
    _schema: Option<Schema>,
}

impl Begin for Fresh {
    async fn on(backend: Backend) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (target, schema) = match backend {
            Backend::Sqlite => (Target::Sqlite(data.path().join("made/here/veza.db")), None),
            Backend::Postgres => {
                let schema = Schema::create().await;
                (Target::Postgres(schema.url().into()), Some(schema))
            }
        };
        Self { settings: Settings::new(target), _data: data, _schema: schema }
    }
}

impl Fresh {
    async fn open(&self) -> Result<Arc<Store>, Problem> {
        deadline(Store::open(&self.settings)).await.map_err(|error| error.problem)
    }

    /// Changes the database behind the program's back.
    async fn run(&self, sql: &'static str) {
        match &self.settings.target {
            Target::Postgres(_) => {
                let url = self._schema.as_ref().unwrap().url();
                PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap();
            }
            Target::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut file = SqliteConnection::connect_with(&options).await.unwrap();
                file.execute(sql).await.unwrap();
            }
        }
    }
}

on_both_stores! {
    async fn a_server_starts_again_on_what_it_made(stage: Stage) {
        let mut stage = stage;
        for _ in 0..2 {
            stage = stage.restart().await;
            let ready = http::get(stage.addresses.http, "/health/ready", &[]).await;
            assert_eq!(ready.status, 200, "{}", ready.body);
        }
    }

    async fn many_that_open_a_fresh_database_at_once_all_succeed(fresh: Fresh) {
        let all = tokio::join!(fresh.open(), fresh.open(), fresh.open(), fresh.open());
        let stores = [all.0, all.1, all.2, all.3].map(Result::unwrap);
        let mut epochs = Vec::new();
        for store in &stores {
            epochs.push(store.epoch().await.unwrap());
        }
        assert!(epochs.iter().all(|epoch| epoch == &epochs[0]), "one made it: {epochs:?}");
    }

    async fn a_database_of_a_later_version_is_refused(fresh: Fresh) {
        drop(fresh.open().await.unwrap());
        fresh.run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9000, 'from the future', true, checksum, 0 FROM _sqlx_migrations \
             WHERE version = 1",
        ).await;
        let refused = fresh.open().await.unwrap_err();
        assert!(matches!(refused, Problem::Newer { found: 9000, .. }), "{refused}");
        assert!(refused.to_string().contains("start a later version"), "{refused}");
    }

    async fn a_migration_that_was_changed_after_it_was_applied_is_refused(fresh: Fresh) {
        drop(fresh.open().await.unwrap());
        fresh.run(
            "UPDATE _sqlx_migrations SET checksum = \
             (SELECT checksum FROM _sqlx_migrations WHERE version = 1) WHERE version = 2",
        ).await;
        let refused = fresh.open().await.unwrap_err();
        assert_eq!(refused, Problem::Changed { file: "0002_messages" });
    }

    async fn a_database_that_only_reads_is_refused_fresh_or_not(fresh: Fresh) {
        let mut read_only = Fresh { settings: fresh.settings.clone(), ..fresh };
        drop(read_only.open().await.unwrap());
        read_only.settings.hazards.read_only = true;
        if let Some(schema) = &read_only._schema {
            let url = format!("{}%20-cdefault_transaction_read_only%3Don", schema.url());
            read_only.settings.target = Target::Postgres(url.into());
        }
        assert_eq!(read_only.open().await.unwrap_err(), Problem::ReadOnly);
        read_only.run("DROP TABLE _sqlx_migrations").await;
        assert_eq!(read_only.open().await.unwrap_err(), Problem::ReadOnly);
    }
}

#[tokio::test]
async fn a_file_that_somebody_else_locks_is_refused() {
    let fresh = Fresh::on(Backend::Sqlite).await;
    drop(fresh.open().await.unwrap());
    let Target::Sqlite(path) = &fresh.settings.target else { unreachable!("it is a file") };
    let options = SqliteConnectOptions::new().filename(path);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let _lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(fresh.open().await.unwrap_err(), Problem::Busy);
}

#[tokio::test]
async fn what_people_write_is_readable_for_nobody_else_on_the_machine() {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = Fresh::on(Backend::Sqlite).await;
    let _store = fresh.open().await.unwrap();
    let Target::Sqlite(path) = &fresh.settings.target else { unreachable!("it is a file") };
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        // The lock has nothing in it.
        let is_lock = file.path().extension().is_some_and(|extension| extension == "lock");
        assert!(is_lock || mode == 0o600, "{}: {mode:o}", file.path().display());
    }
}

#[tokio::test]
async fn a_store_that_was_closed_is_one_whole_file_and_refuses_calls() {
    let fresh = Fresh::on(Backend::Sqlite).await;
    let store = fresh.open().await.unwrap();
    let Target::Sqlite(path) = &fresh.settings.target else { unreachable!("it is a file") };
    let log = path.with_extension("db-wal");
    assert!(log.exists());
    deadline(store.close()).await;
    assert!(!log.exists());
    let refused = store.epoch().await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
}
