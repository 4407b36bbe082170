//! The state as calls and the probe change it, and what the probe does to connections.

use std::io;

use chassis::postgres::Pool;
use chassis::testing::{Schema, deadline};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::*;
use crate::store::sql::{Database, args};
use crate::store::{Settings, Target};

const AWAY_MAX: Duration = Duration::from_secs(10);

fn lost() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())
}

fn monitor() -> Monitor {
    Monitor::new(Duration::from_secs(60))
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Err(Error::Unavailable { reason, retry_after }) => {
            assert_eq!(retry_after, crate::store::error::RETRY_AFTER);
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_unready_only_when_the_store_was_away_for_a_while() {
    let monitor = monitor();
    let status = || monitor.state().status(Instant::now(), AWAY_MAX);
    assert_eq!(status(), Status::Ok);
    monitor.failed("store_down", &"gone");
    assert_eq!(status(), Status::Degraded("store_down for 0 s".to_owned()));
    tokio::time::advance(AWAY_MAX - Duration::from_millis(1)).await;
    assert_eq!(status(), Status::Degraded("store_down for 9 s".to_owned()));
    tokio::time::advance(Duration::from_millis(1)).await;
    // Another reason is not another beginning.
    monitor.failed("store_read_only", &"a standby");
    assert_eq!(status(), Status::Failing("store_read_only for 10 s".to_owned()));
    monitor.recovered();
    assert_eq!(status(), Status::Ok);
    monitor.failed("store_down", &"gone again");
    assert_eq!(status(), Status::Degraded("store_down for 0 s".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_wakes_the_probe_and_refuses_nobody_else() {
    let monitor = monitor();
    assert_eq!(
        reason(monitor.guard(Need::Write, async { Err::<(), _>(lost()) }).await),
        "store_down"
    );
    assert_eq!(monitor.state(), State::Up);
    assert!(monitor.suspects_connections.load(Ordering::Relaxed));
    monitor.suspicion.notified().await;
    assert_eq!(monitor.guard(Need::Write, async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_store_goes_down() {
    let monitor = monitor();
    let never = monitor.guard(Need::Read, std::future::pending::<Result<(), sqlx::Error>>());
    let told = async {
        tokio::task::yield_now().await;
        monitor.failed("store_down", &"no answer");
    };
    let (outcome, ()) = tokio::join!(never, told);
    assert_eq!(reason(outcome), "store_down");
    // And who comes afterwards is not even tried.
    let untried = async { panic!("it was tried") };
    assert_eq!(reason(monitor.guard::<()>(Need::Read, untried).await), "store_down");
    assert_eq!(reason(monitor.check()), "store_down");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_within_three_seconds() {
    let monitor = monitor();
    let began = Instant::now();
    let never = monitor.guard(Need::Write, std::future::pending::<Result<(), sqlx::Error>>());
    assert_eq!(reason(never.await), "store_timeout");
    assert_eq!(began.elapsed(), PATIENCE_MAX);
    assert_eq!(monitor.state(), State::Up, "one slow call says nothing of the others");
}

#[tokio::test]
async fn what_cannot_be_written_can_be_read() {
    let monitor = monitor();
    for word in ["store_read_only", "store_full", "store_locked"] {
        monitor.failed(word, &"as it is");
        assert_eq!(monitor.guard(Need::Read, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(reason(monitor.guard(Need::Write, async { Ok(1) }).await), word);
    }
    monitor.failed("store_down", &"gone");
    assert_eq!(reason(monitor.guard(Need::Read, async { Ok(1) }).await), "store_down");
}

#[tokio::test]
async fn an_error_of_a_statement_says_nothing_of_the_store() {
    let monitor = monitor();
    let wrong = async { Err::<(), _>(sqlx::Error::RowNotFound) };
    let outcome = monitor.guard(Need::Write, wrong).await;
    assert!(matches!(outcome, Err(Error::Database(_))), "{outcome:?}");
    assert_eq!(monitor.state(), State::Up);
}

/// A store with connections, and its probe.
struct Watched {
    store: Arc<Store>,
    /// What its connections are called, and nobody else's.
    application: String,
    schema: Schema,
    _stop: DropGuard,
}

impl Watched {
    /// Four connections are open, and idle.
    async fn start() -> Self {
        let schema = Schema::create().await;
        let application = format!("probe-{}", uuid::Uuid::new_v4());
        let url = format!("{}&application_name={application}", schema.url());
        let store = Store::open(&Settings::new(Target::Postgres(url.into()))).await.unwrap();
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(store.clone().watch(stop.clone()));
        let watched = Self { store, application, schema, _stop: stop.drop_guard() };
        let pool = watched.pool().get();
        let mut four = Vec::new();
        while four.len() < 4 {
            four.push(deadline(pool.acquire()).await.unwrap());
        }
        drop(four);
        watched.until(|pool| pool.get().num_idle() == 4).await;
        watched
    }

    fn pool(&self) -> &Pool {
        let Database::Postgres(pool) = &self.store.database else { unreachable!("it is one") };
        pool
    }

    async fn until(&self, holds: impl Fn(&Pool) -> bool) {
        let wait = async {
            while !holds(self.pool()) {
                tokio::task::yield_now().await;
            }
        };
        deadline(wait).await;
    }

    /// A transaction that nothing is the matter with.
    async fn works(&self) {
        let mut tx = self.store.begin().await.unwrap();
        tx.execute("DELETE FROM meta WHERE key = $1", args!["nothing"]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(self.store.state(), State::Up);
    }
}

#[tokio::test]
async fn one_lost_connection_renews_all_of_them_and_the_store_stays_up() {
    let watched = Watched::start().await;
    assert_eq!(reason::<()>(Err(watched.store.monitor.judge(lost()))), "store_down");
    watched.until(|pool| pool.get().size() == 0).await;
    watched.works().await;
    assert_eq!(watched.pool().get().size(), 1);
}

#[tokio::test]
async fn connections_that_died_while_nobody_used_them_cost_nobody_a_call() {
    let watched = Watched::start().await;
    let mut other = PgConnection::connect(watched.schema.url()).await.unwrap();
    // The probe has one as well, as soon as it has looked once.
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let five = async { while count_of(&mut other, count, &watched.application).await != 5 {} };
    deadline(five).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE application_name = $1";
    assert_eq!(count_of(&mut other, end, &watched.application).await, 5);
    watched.until(|pool| pool.get().size() == 0).await;
    watched.works().await;
}

async fn count_of(connection: &mut PgConnection, sql: &'static str, application: &str) -> i64 {
    sqlx::query_scalar(sql).bind(application).fetch_one(connection).await.unwrap()
}
